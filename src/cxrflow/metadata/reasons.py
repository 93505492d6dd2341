"""Reasons for leaving out children and repeats, and the parts in which URLs of one page may differ."""

PAEDIATRIC = "child, left out by metadata.paediatric"
LISTED_AGAIN = "listed again: an earlier row names the same file"
SAME_FILE = "repeat: the same bytes as an earlier image"
SAME_URL = "repeat: an earlier collection holds the image of this URL"
CONFLICT = "repeats with different labels"
#: Parts in which URLs of the same page may differ.
URL_ENDS = r"^https?://(www\.)?|/+$"
