"""Synthetic radiographs for the demo. Modules: patient -> anatomy -> drawing; people -> layouts -> demo."""
