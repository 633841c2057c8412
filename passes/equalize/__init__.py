"""Float → float, exact, with data: channels are brought to a common range."""
