"""QDQ → QDQ, exact: the form that a target takes."""
