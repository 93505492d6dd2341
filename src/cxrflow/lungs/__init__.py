"""Lung masks."""
