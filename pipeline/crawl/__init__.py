"""Fetching what inputs name: files, lists, web addresses, object stores. Knows nothing of the store or of tables."""
