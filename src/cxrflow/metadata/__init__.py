"""Merge the collections, leave out repeats, group by patient, split."""
