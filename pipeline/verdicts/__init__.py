"""What people say of clips and of who is who: written down at once, made a table, and honoured by the decisions."""
