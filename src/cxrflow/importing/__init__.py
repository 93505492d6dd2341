"""Imports networks trained elsewhere as bundles."""
