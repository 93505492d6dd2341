"""Results as files: a table, JSON lines, pictures; each written from the one typed ``Result``."""
