"""What each choice of zqc is worth: the tables of docs/results."""
