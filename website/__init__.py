"""The site of ``docs/``: pages prepared from the repository, reference pages from the code, built by Zensical."""
