"""What stages call to measure: one file for each library or method."""
