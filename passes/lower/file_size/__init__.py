"""QDQ → QDQ, exact: a smaller file."""
