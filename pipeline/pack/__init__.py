"""Shards and manifest from decisions: the same committed rows give the same bytes."""
