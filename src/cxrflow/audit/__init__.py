"""Does the network see the disease or the hospital? Tests, each with a verdict in words (registry.py lists them)."""
