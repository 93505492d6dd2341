"""Numbers in, figures with intervals out: proportions, AUROCs, pairs of classes within sources."""
