"""The metadata stage: merge the collections, leave out duplicates, group by patient, split."""
