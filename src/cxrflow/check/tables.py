"""What ``cxrflow check`` prints: the fingerprint, what the data cannot answer, the plan and its cost."""

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from cxrflow.check.facts import Span
from cxrflow.check.plan import Plan
from cxrflow.statistics.figure import Figure, in_percent, in_words
from cxrflow.task import Task
from cxrflow.terminal import console, say
from cxrflow.text import number_of

if TYPE_CHECKING:
    from cxrflow.check.check import Estimate


def print_fingerprint(found: dict[str, Any], task: Task) -> None:
    """Print the contents of ``fingerprint.fingerprint``: what each source holds, and class against source."""
    heads = [head for head, _ in rows_of_source(next(iter(found["sources"].values()), {}))] if found["sources"] else []
    table = Table("", *(escape(name) for name in found["sources"]), title="What the data are")
    cells = [[cell for _, cell in rows_of_source(source)] for source in found["sources"].values()]
    for place, head in enumerate(heads):
        table.add_row(head, *(escape(column[place]) for column in cells))
    console().print(table)
    counts = by_class(found)
    both = Table("source", *(escape(task.names[name]) for name in task.order), title="Class against source: images")
    for source in found["sources"]:
        both.add_row(escape(source), *(f"{counts.get((source, name), 0):,}" for name in task.order))
    console().print(both)
    for sentence in how_close(found):
        say(sentence)


def print_unanswered(cannot: list[str]) -> None:
    """Print the sentences of ``unanswered.unanswered``."""
    say("What the data cannot tell:" if cannot else "Nothing is known that these data cannot tell.")
    for sentence in cannot:
        say(f"- {sentence}")


def print_plan(plan: Plan, estimate: "Estimate") -> None:
    """Print the choices of a plan, each with its reason, and what it takes."""
    table = Table("key", "planned", "why", title="Plan")
    for choice in plan.choices:
        table.add_row(choice.key, escape(value_text(choice.value)), escape(choice.reason))
    console().print(table)
    cost = Table("", "about", "of", title=f"What it takes on this machine ({escape(estimate.device)})")
    for row in costs_of(plan, estimate):
        cost.add_row(*map(escape, row))
    console().print(cost)
    if plan.warning:
        say(plan.warning)


def rows_of_source(source: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows of a source in the table of the fingerprint: heading and text."""
    repeated, unknown = source["repeated"], source["unknown"]
    return [
        ("images kept, of rows", f"{source['images']:,} of {source['rows']:,}"),
        ("people", f"{source['people']:,}" + (f"; unknown of {number_of(unknown, 'image')}" if unknown else "")),
        ("children", number_of(source["children"], "image")),
        ("age", _median(source["age"], "years")),
        ("sex", _counts(source["sexes"])),
        ("view", _counts(source["views"])),
        ("width", _median(source["width"], "pixels")),
        ("height", _median(source["height"], "pixels")),
        ("bits a pixel", _counts(source["bits"])),
        ("format", _counts(source["formats"])),
        ("occur again in it", number_of(repeated["here"], "image")),
        ("occur in others", number_of(repeated["elsewhere"], "image")),
        ("text burned in", in_percent(source["text"]) if source["text"].known else source["text"].reason),
    ]


def how_close(found: dict[str, Any]) -> list[str]:
    """Sentences on how closely class and source coincide."""
    said = []
    if found["cramers_v"] is not None:
        said.append(
            f"Cramér's V of class and source: {found['cramers_v']:.2f} (0: the source says nothing of the class; 1: it "
            "gives the class away)."
        )
    baseline: Figure = found["baseline"]
    said.append(
        "Macro AUROC of source, view, age and sex alone, without a pixel, outside the test split: "
        f"{in_words(baseline)}. A network has to beat it."
    )
    return said


def by_class(found: dict[str, Any]) -> dict[tuple[str, str], int]:
    """Images by source and class."""
    return {(row["source"], row["label"]): int(row["images"]) for row in found["classes"]}


def costs_of(plan: Plan, estimate: "Estimate") -> list[tuple[str, str, str]]:
    """What a plan takes, row by row: what, about how much, and of what."""
    networks = len(plan.networks)
    return [
        ("metadata", f"{in_time(estimate.metadata)} at most", "as long as it took here; no image is read again"),
        ("images", ranged(estimate.images), "measured on a sample of the images"),
        ("training", ranged(estimate.training), f"{number_of(networks, 'network')}, if none stops early"),
        ("memory", f"{estimate.memory_gb:.1f} GB", f"{estimate.free_memory_gb:.1f} GB free"),
        ("disk", f"{estimate.disk_gb:.1f} GB", f"{estimate.free_disk_gb:.0f} GB free"),
    ]


def ranged(span: Span) -> str:
    """Seconds with their range in words: ``12 minutes (10 to 15)``."""
    for unit, length, most in (("seconds", 1, 100), ("minutes", 60, 120), ("hours", 3600, float("inf"))):
        if span.mid < most * length:
            low, mid, high = (each / length for each in (span.low, span.mid, span.high))
            digits = 1 if unit == "hours" or mid < 3 else 0
            return f"{mid:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"
    raise AssertionError


def in_time(seconds: float) -> str:
    """Seconds in words, without a range."""
    return ranged(Span(seconds, seconds, seconds)).partition(" (")[0]


def value_text(value: Any) -> str:
    """A planned value as people write it in YAML."""
    if isinstance(value, list):
        return "; ".join(", ".join(f"{key}: {each}" for key, each in entry.items()) or "as above" for entry in value)
    return "none" if value is None else str(value)


def _median(quantiles: list[float] | None, unit: str) -> str:
    if quantiles is None:
        return "unknown"
    low, middle, high = (f"{value:,.0f}" for value in quantiles[1:4])
    return f"{middle} {unit}" if low == high else f"{middle} {unit} ({low} to {high})"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{word} {count:,}" for word, count in counts.items())
