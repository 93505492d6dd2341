"""Radiographs as training wants them: cropped, square, of one size, equalised, in one memory-mapped array."""
