"""Figures of a classifier on a test set, with intervals and calibration, and the baseline without a pixel."""
