"""Bundles of networks that others trained."""
