"""Lung segmentation: by OpenCV, as in the paper, or by learned networks."""
