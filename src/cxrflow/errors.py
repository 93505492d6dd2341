"""The two ways in which something can be wrong."""


class CxrflowError(Exception):
    """Stops a run before or during work: one sentence that says what is wrong, where, and what to do."""


class LeftOut(Exception):
    """One image or row cannot be used; its text is the reason. Never stops a run."""
