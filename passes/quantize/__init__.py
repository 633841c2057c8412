"""Float → QDQ: the only passes that lose anything."""
