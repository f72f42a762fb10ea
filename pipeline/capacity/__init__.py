"""Capacity: what a curation of so many hours takes, from what a sample of it took."""
