"""The engine: what is missing, where it runs, and when it counts. Only `engine/ray_run.py` knows Ray."""
