"""Models that metrics ask, each behind a small protocol; none is loaded unless its weights are named."""
