"""Studies of several trainings or bundles: cross-validation, leave-one-source-out, comparison, mitigations, leaks."""
