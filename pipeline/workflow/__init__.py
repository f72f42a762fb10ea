"""Workflows: commands in a row, done once, known by what they made."""
