"""The networks of the zoo, by the package that they come from."""
