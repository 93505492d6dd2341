"""The image steps, and the store: all radiographs, cropped, resized and equalised, in one array on disk."""
