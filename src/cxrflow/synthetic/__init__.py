"""Made-up people and their radiographs, for the demo: patient -> anatomy -> drawing; people -> layouts."""
