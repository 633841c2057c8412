"""What the user asked for, as data."""
