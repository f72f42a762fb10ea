"""Footage from anywhere: what inputs name, and how it is fetched."""
