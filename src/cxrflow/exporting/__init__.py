"""A bundle as one ONNX file, with the image steps as a file of their own, for other programs."""
