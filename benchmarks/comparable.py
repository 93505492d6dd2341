"""Which collections can be compared for which question: docs/pictures/comparable.png, and its counts as a table.

    python benchmarks/comparable.py

For each task of TASKS, a collection has the classes of the findings that it reports (Collection.findings). A network
that is to be tested on a collection that it was not trained on needs at least two classes that both have:
with one or none, class and source coincide in part or wholly, and what tells the sources apart tells the classes.
"""

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from tables import table

from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.sources import SOURCES
from cxrflow.task import Task

_PROJECT = Path(__file__).parents[1]
PICTURE = _PROJECT / "docs" / "pictures" / "comparable.png"
#: Title of a task -> names of its override files.
TASKS = {
    "COVID-19, normal, other pneumonia (the default)": [],
    "Pneumonia of any kind": ["pneumonia"],
    "Tuberculosis": ["tuberculosis"],
    "Effusion or infiltration": ["effusion"],
    "Bacterial, viral, no pneumonia": ["children"],
}
#: Colour of none, one, and two or more classes in common.
_SHADES, _INK = ("#E9ECEF", "#C9DAE8", "#2C6496"), "#2B2F33"
_NOTE = """On the diagonal, in bold: the classes of one collection.
kermany shows children, and so do some images of radiography
and padchest: beside adults, age tells the class."""


def classes_of(task: Task) -> dict[str, frozenset[str]]:
    """Public collection -> the classes of a task that it has; without those that have none."""
    of = {
        name: frozenset(label for finding in source.findings if (label := task.label_of((finding,))[0]))
        for name, source in SOURCES.items()
    }
    return {name: classes for name, classes in of.items() if classes}


def draw(canvas: Figure, place: tuple[int, int, int], title: str, task: Task) -> None:
    """A matrix: number of classes that two collections have in common; on the diagonal, those of one alone."""
    of = classes_of(task)
    names, n = list(of), len(of)
    shared = np.array([[len(of[a] & of[b]) for b in names] for a in names])
    axes = canvas.add_subplot(*place)
    seen = np.ma.masked_where(np.triu(np.ones((n, n)), 1) > 0, np.minimum(shared, 2))
    axes.imshow(seen, cmap=ListedColormap(_SHADES), vmin=0, vmax=2)
    for row in range(n):
        for column in range(row + 1):
            count = shared[row, column]
            colour = "white" if count > 1 else _INK
            weight = "bold" if row == column else "normal"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, weight=weight, fontsize=9)
    axes.set_xticks(range(n), names, rotation=90)
    axes.set_yticks(range(n), names)
    axes.set_xticks(np.arange(0.5, n - 1), minor=True)
    axes.set_yticks(np.arange(0.5, n - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{title}\n{', '.join(task.names.values())}", loc="left", fontsize=11)


def main() -> None:
    """Write the picture, and print for each task how many pairs of collections have how many classes in common."""
    canvas, rows = Figure(figsize=(13, 17), layout="constrained", facecolor="white"), []
    for number, (title, overrides) in enumerate(TASKS.items(), 1):
        task = load_params(DEFAULTS, overrides).task
        draw(canvas, (3, 2, number), title, task)
        of = list(classes_of(task).values())
        common = [min(len(a & b), 2) for k, a in enumerate(of) for b in of[:k]]
        alone = sum(len(classes) > 1 for classes in of)
        rows.append((title, len(of), alone, *(common.count(k) for k in (2, 1, 0))))
    key = canvas.add_subplot(3, 2, len(TASKS) + 1)
    key.axis("off")
    meanings = ("none: class and source coincide", "one: only that class has two sources", "two or more: comparable")
    for k, (shade, meaning) in enumerate(zip(_SHADES, meanings, strict=True)):
        key.add_patch(Rectangle((0.02, 0.78 - 0.14 * k), 0.07, 0.08, color=shade))
        key.text(0.12, 0.82 - 0.14 * k, meaning, va="center", fontsize=12)
    key.text(0.02, 0.98, "Classes that two collections have in common", fontsize=12, weight="bold", va="center")
    key.text(0.02, 0.36, _NOTE, fontsize=11, va="top")
    key.set_xlim(0, 1)
    key.set_ylim(0, 1.05)
    canvas.savefig(PICTURE, dpi=75, metadata={"Software": None})
    table(("question", "collections", "with two classes", "pairs: two or more in common", "one", "none"), rows)


if __name__ == "__main__":
    main()
