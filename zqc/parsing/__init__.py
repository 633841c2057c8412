"""Small files of users: what can be wrong with any of them, told in one line."""
