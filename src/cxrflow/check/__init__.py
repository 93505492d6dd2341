"""Before any work: the fingerprint of the data, what they cannot answer, and a plan with its cost on this machine."""
