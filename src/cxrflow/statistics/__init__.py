"""Estimates with 95 % intervals clustered by group: proportions, means, AUROCs, AUROCs within sources."""
