"""Benchmark sets: their form, and how one is made."""
