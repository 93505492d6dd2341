"""The two exceptions: one stops a run, the other excludes one image or row."""


class CxrflowError(Exception):
    """Stops a run. The message is one sentence: what is wrong, where, and what to do."""


class LeftOut(Exception):
    """One image or row cannot be used; the message is the reason. Never stops a run."""
