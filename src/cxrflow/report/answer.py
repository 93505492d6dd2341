"""The answer at the top of the page, made from the figures: what the network tells apart, how well, where that may be
trusted, and what forbids trust."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cxrflow.audit.words import CLEAR
from cxrflow.audit.words import UNTOLD as NOT_KNOWN
from cxrflow.evaluation.learned import CHANCE, called_one_class, not_learned
from cxrflow.evaluation.tables import pair_in_words
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task

NO, IN_PART, YES, UNTOLD = "No.", "In part.", "Yes, on images like these.", "It cannot be told."


@dataclass(frozen=True)
class Answer:
    """The answer to "Can this classifier be believed?".

    word     NO, IN_PART, YES or UNTOLD
    told     one sentence: what it tells apart, how well, and within which sources
    against  clauses, each a reason not to trust it
    """

    word: str
    told: str
    against: list[str]


def answer(
    figures: dict[str, Any], task: Task, audit: dict[str, Any] | None, drawn: bool, trained_on_drawings: bool = False
) -> Answer:
    """The answer from the contents of ``metrics.json`` (with typed figures) and of ``audit.json``.

    audit  None if the network was not audited on these images
    drawn  whether the test images are synthetic; ``trained_on_drawings``, whether the training images were
    Yes: it beats chance and the table without a pixel, every pair of classes is told apart within a source, and nothing
    speaks against it. No: it does not beat chance or the table, or the audit found a shortcut.
    """
    network, baseline = figures["test"]["macro_auroc"], figures["baseline"]
    why = not_learned(network, baseline["difference"])
    called = called_one_class(figures["confusion"]["counts"], task)
    against = _against(figures, task, audit, drawn)
    if trained_on_drawings and not drawn:
        against.insert(0, "it was trained on drawings and has never seen a radiograph in training")
    alarm = audit is not None and audit["alarm"]
    names = _listed([task.names[name] for name in task.order])
    if why is not None:
        told = f"This test set does not show that it tells {names} apart by their pixels: "
        told += f"{'; '.join(filter(None, (called, why)))}."
        return Answer(NO if network.known or alarm else UNTOLD, told, against)
    if called:
        against.append(called)
    held, not_held = within_sources(figures["by_source"], task)
    told = f"It tells {names} apart with a macro AUROC of {in_words(network)} over all sources"
    if held:
        where = [f"{pair} (in {', '.join(sources)})" for pair, sources in held.items()]
        told += f"; within one source, where the hospital cannot be the answer, it tells {_listed(where)}"
        told += f", but this test set does not show it for {_listed(not_held)}." if not_held else "."
    else:
        told += ", but within no single source does this test set show that it tells any two classes apart."
    return Answer(NO if alarm else IN_PART if against or not_held else YES, told, against)


def within_sources(by_source: dict[str, dict[str, Figure]], task: Task) -> tuple[dict[str, list[str]], list[str]]:
    """The pairs of classes, in words, whose AUROC within some source lies above chance with its whole interval, each
    with these sources; and the other pairs."""
    held: dict[str, list[str]] = {}
    for a, b in task.pairs:
        key = f"{a}_vs_{b}"
        found = [source for source, pairs in by_source.items() if key in pairs]
        held[pair_in_words(key, task)] = [
            source for source in found if (figure := by_source[source][key]).known and figure.low > CHANCE
        ]
    return {pair: sources for pair, sources in held.items() if sources}, [pair for pair in held if not held[pair]]


def _against(figures: dict[str, Any], task: Task, audit: dict[str, Any] | None, drawn: bool) -> list[str]:
    """What forbids trust, whatever the network tells apart."""
    said = []
    if drawn:
        said.append("these pictures are drawings, and nothing is known of it on real ones")
    if audit is None:
        said.append("the audit was not run on these images")
    elif audit["alarm"]:
        said.append("the audit found a shortcut")
    elif not audit["verdicts"][CLEAR]:
        said.append("the audit could rule out no shortcut")
    elif untold := audit["verdicts"][NOT_KNOWN]:
        tests = len(audit["tests"])
        said.append(f"for {untold} of the audit's {tests} tests it cannot be told whether there is a shortcut")
    met = {pair for pairs in figures["by_source"].values() for pair in pairs}
    if apart := [f"{a}_vs_{b}" for a, b in task.pairs if f"{a}_vs_{b}" not in met]:
        pairs = _listed([pair_in_words(pair, task) for pair in apart])
        said.append(f"no source of the test set has both classes of {pairs}, so the hospital may be the answer")
    if not figures["baseline"]["difference"].known:
        reason = figures["baseline"]["difference"].reason
        said.append(f"it could not be compared with a table without a pixel ({reason})")
    found = figures["calibration"]
    if found["ece"] > found["ece_if_calibrated"]["p95"]:
        said.append(f"its probabilities are off (expected calibration error {found['ece']:.3f})")
    if figures["test_set"]["overlap"]:
        said.append("it may have seen some of these images in training")
    return said


def _listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
