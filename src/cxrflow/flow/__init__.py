"""A study: the folder in which one question is asked of some collections, and what runs its stages."""
