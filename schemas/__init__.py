"""Typed records shared by every part: tables, manifest, sample, errors. Imports nothing of ours."""
