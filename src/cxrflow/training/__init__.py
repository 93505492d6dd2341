"""Train a network on the prepared images; ends with a bundle chosen on val."""
