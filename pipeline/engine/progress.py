"""How work says how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told of (stage, done, of all) as work goes on."""
