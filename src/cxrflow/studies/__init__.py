"""Many trainings, or many bundles: cross-validation, leaving one source out, comparisons, what leaks are worth."""
