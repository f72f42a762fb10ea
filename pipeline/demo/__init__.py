"""A miniature film with a known truth: two portraits that talk, synthetic speech, planted defects."""
