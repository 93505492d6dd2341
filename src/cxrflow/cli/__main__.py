"""``python -m cxrflow.cli``, the same as ``cxrflow``."""

from cxrflow.cli import main

main()
