"""The public collections: fetched from where they are published, and checked for completeness.

The only part of cxrflow that downloads images, and only when asked (``cxrflow fetch``).
"""
