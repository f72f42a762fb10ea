"""The metrics, one idea a file; `registry.py` lists them all."""
