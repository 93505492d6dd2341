"""The words of the verdicts, as audit.json, the terminal, the model card and the page say them."""

from typing import Literal

Verdict = Literal["shortcut found", "no shortcut found", "cannot be told", "does not apply", "yes"]
FOUND: Verdict = "shortcut found"
CLEAR: Verdict = "no shortcut found"
UNTOLD: Verdict = "cannot be told"
#: The test has no subject in this run: it compares sources and there is one, or surroundings and they are black.
MOOT: Verdict = "does not apply"
#: Of the test that asks whether the heat maps depend on what was learned, which can find no shortcut.
YES: Verdict = "yes"
#: A sign beside each verdict, so that colour is never alone.
SIGNS: dict[Verdict, str] = {FOUND: "✗", CLEAR: "✓", UNTOLD: "?", MOOT: "–", YES: "✓"}
