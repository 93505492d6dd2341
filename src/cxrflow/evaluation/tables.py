"""The figures as tables on a terminal."""

from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from cxrflow.evaluation.learned import called_one_class
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task
from cxrflow.terminal import INTERVAL, console, print_fitting

#: Figures of each class against the rest.
PER_CLASS = ("sensitivity", "specificity", "ppv", "auroc")
_SHOWN_AT_A_POINT = ("sensitivity", "specificity", "ppv_at_prevalence", "npv_at_prevalence")


def print_figures(figures: dict[str, Any], task: Task) -> None:
    """Print the figures of an evaluation or a cross-validation: pooled and per class, the baseline, operating points,
    and within each source."""
    screen = console()
    test = figures["test"]
    rows = [((task.names[name],), [_words(test[name][figure]) for figure in PER_CLASS]) for name in task.order]
    shown = ("sensitivity", "specificity", "PPV", "AUROC")
    print_fitting("Test set, 95 % intervals by group", ("class",), shown, rows)
    screen.print(f"Macro AUROC {_said(test['macro_auroc'])}, accuracy {_said(test['accuracy'])}")
    baseline = figures["baseline"]["macro_auroc"]
    screen.print(f"Without a pixel (source, view, age, sex): macro AUROC {_said(baseline)}")
    if called := called_one_class(figures["confusion"]["counts"], task):
        screen.print(f"[bold]Note: {escape(called)}.[/bold]")
    if points := figures.get("operating_points"):
        _print_operating_points(points, figures["prevalence"], task)
    if read := figures.get("at_specificity"):
        screen.print(
            f"{escape(task.positive_name)} at the threshold that gives a specificity of {read['wanted']:g} on images "
            f"left out of training: sensitivity {_said(read['sensitivity'])}, specificity "
            f"{_said(read['specificity'])}; read off the ROC curve of these images at that specificity: sensitivity "
            f"{_said(read['roc'])}"
        )
    if (power := figures.get("sharpness")) and power["fits"] is not None:
        screen.print(
            f"Mean of the networks, on images that are not of the split test: a sharpness of {power['fits']:.2f} "
            f"calibrates it; training.sharpness is {power['in_use']:g}"
        )
    titles = {"by_source": "Within each source", "within_folds": "Within each source and fold"}
    for key in (key for key in titles if key in figures):
        within = Table("source", "pair", Column("AUROC", min_width=INTERVAL), "images", title=titles[key])
        for source, pairs in figures[key].items():
            for pair, figure in pairs.items():
                images = str(figure.n) if figure.known else ""
                within.add_row(escape(source), escape(pair_in_words(pair, task)), _said(figure), images)
        screen.print(within)
    if overlap := figures["test_set"]["overlap"]:
        screen.print(f"[bold]Overlap with training:[/bold] {escape(overlap)}")


def pair_in_words(pair: str, task: Task) -> str:
    """The key ``<a>_vs_<b>`` of a pair of classes as ``COVID-19 vs normal``."""
    return " vs ".join(task.names[name] for name in pair.split("_vs_"))


def _print_operating_points(points: dict[str, dict[str, Any]], prevalence: float, task: Task) -> None:
    title = f"Operating points chosen on images left out of training; PPV and NPV at a prevalence of {prevalence:g}"
    rows = []
    for name, point in points.items():
        threshold = "" if point["threshold"] is None else f"{point['threshold']:.3f}"
        wanted = "" if point["wanted"] is None else f" {point['wanted']:g}"
        rows.append(((f"{name}{wanted}", threshold), [_words(point[figure]) for figure in _SHOWN_AT_A_POINT]))
    shown = ("sensitivity", "specificity", "PPV", "NPV")
    print_fitting(title, (f"{task.positive_name} called at", "from"), shown, rows)


def _words(figure: Figure) -> str:
    return in_words(figure, digits=3, counts=True)


def _said(figure: Figure) -> str:
    return escape(_words(figure))
