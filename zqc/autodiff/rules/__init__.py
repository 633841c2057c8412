"""The gradient rules, a theme a file, and the table of them all."""
