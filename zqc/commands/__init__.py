"""One module a command: what the user typed becomes a result."""
