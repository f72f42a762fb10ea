"""Weights that backends load: what there is, where it lies, how it gets there."""
