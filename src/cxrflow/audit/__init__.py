"""Does it see the disease or the hospital? Seven tests, each with a verdict in words."""
