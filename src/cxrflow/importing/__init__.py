"""Networks that others trained, as bundles."""
