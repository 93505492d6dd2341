"""The answer at the top of the page, made from the figures: what the network tells apart, how well, where that may be
trusted, and what forbids trust."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cxrflow.audit.verdicts import simultaneous
from cxrflow.audit.words import CLEAR
from cxrflow.audit.words import UNTOLD as NOT_KNOWN
from cxrflow.evaluation.learned import CHANCE, called_one_class, not_learned
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task

NO, IN_PART, YES, UNTOLD = "No.", "In part.", "Yes, on images like these.", "It cannot be told."
#: A macro AUROC below this is said to be low, whatever else speaks for the network.
LOW = 0.7


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
    speaks against it. No: it is no better than chance, worse than the table, calls nearly everything one class, or the
    audit found a shortcut. It cannot be told: these images do not show that it beats chance and the table.
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
        if not network.known and (pairs := _pairs_within(figures["by_source"], task)):
            told += f" What it can show: {pairs}."
        gain = baseline["difference"]
        no = alarm or called or (network.known and network.high <= CHANCE) or (gain.known and gain.high <= 0)
        return Answer(NO if no else UNTOLD, told, against)
    if called:
        against.append(called)
    if network.value < LOW:
        against.append(f"its macro AUROC is low, below {LOW}")
    held, turned, not_held = within_sources(figures["by_source"], task)
    against += [f"in {source} it ranks {pair} the wrong way round" for pair, source in turned]
    told = f"It tells {names} apart with a macro AUROC of {in_words(network)} over all sources"
    if held:
        where = [f"{pair} (in {', '.join(sources)})" for pair, sources in held.items()]
        told += f"; within one source, where the collection cannot give the class away, it tells {_listed(where)}"
        told += f", but this test set does not show it for {_listed(not_held)}." if not_held else "."
    else:
        told += ", but within no single source does this test set show that it tells any two classes apart."
    return Answer(NO if alarm else IN_PART if against or not_held else YES, told, against)


def _pairs_within(by_source: dict[str, dict[str, Figure]], task: Task) -> str:
    """The AUROC of each pair of classes within each source, in words; empty if none is known."""
    return "; ".join(
        f"within {source} {task.names[a]} against {task.names[b]}, AUROC {in_words(figure)}"
        for source, pairs in by_source.items()
        for a, b in task.pairs
        if (figure := pairs.get(f"{a}_vs_{b}")) is not None and figure.known
    )


def within_sources(
    by_source: dict[str, dict[str, Figure]], task: Task
) -> tuple[dict[str, list[str]], list[tuple[str, str]], list[str]]:
    """Which pairs of classes are told apart within a source, in words.

    Returns the pairs whose AUROC within some source lies above chance, each with these sources; the pairs and sources
    where it lies below; and the pairs that meet in a source and are told apart in none. Above and below are meant with
    the whole interval, so wide that those of all pairs and sources hold together.
    """
    known = [figure for pairs in by_source.values() for figure in pairs.values() if figure.known]
    held: dict[str, list[str]] = {}
    turned: list[tuple[str, str]] = []
    not_held = []
    for a, b in task.pairs:
        met = {source: pairs[f"{a}_vs_{b}"] for source, pairs in by_source.items() if f"{a}_vs_{b}" in pairs}
        wide = {source: simultaneous(figure, len(known), 0) for source, figure in met.items() if figure.known}
        pair = f"{task.names[a]} from {task.names[b]}"
        if above := [source for source, figure in wide.items() if figure.low > CHANCE]:
            held[pair] = above
        elif met:
            not_held.append(pair)
        turned += [(pair, source) for source, figure in wide.items() if figure.high < CHANCE]
    return held, turned, not_held


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
    there = {name for name in task.order if figures["test"][name]["sensitivity"].known}
    if apart := [(a, b) for a, b in task.pairs if {a, b} <= there and f"{a}_vs_{b}" not in met]:
        pairs = ", nor both ".join(f"{task.names[a]} and {task.names[b]}" for a, b in apart)
        said.append(f"no source of the test set has both {pairs}, so the collection may give the class away")
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
    """``a``, ``a and b``, ``a, b and c``; with semicolons where parts hold a comma or "and"."""
    if len(parts) > 1 and any("," in part or " and " in part for part in parts):
        return "; ".join(parts)
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
