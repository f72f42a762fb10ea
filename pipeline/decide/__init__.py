"""Decisions: thresholds over measurements. The only place that knows what is good enough."""
