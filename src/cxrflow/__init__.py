"""cxrflow: from the raw files of chest-radiograph collections to a classifier one can believe.

Research software, not a diagnostic device.
"""

__version__ = "0.1.0"
