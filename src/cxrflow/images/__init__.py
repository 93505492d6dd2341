"""The image steps, and the store: every radiograph cropped, square, of one size, equalised, in one array on disk."""
