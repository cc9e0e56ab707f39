"""How good a classifier is, how sure it is of that itself, and how sure one can be of it."""
