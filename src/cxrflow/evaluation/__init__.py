"""How good a classifier is, how sure of that one can be, and how good it would be without seeing a pixel."""
