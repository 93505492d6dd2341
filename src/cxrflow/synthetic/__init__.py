"""Synthetic patients and their radiographs, for the demo: patient -> anatomy -> drawing; people -> layouts -> demo."""
