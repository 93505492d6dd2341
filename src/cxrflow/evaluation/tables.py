"""The figures as tables on a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from cxrflow.records import CLASSES

#: Figures of each class against the rest.
PER_CLASS = ("sensitivity", "specificity", "ppv", "auroc")


def print_figures(figures: dict[str, Any]) -> None:
    """Print what ``evaluate`` gave: pooled and per class, the baseline, and within each source."""
    console = Console()
    test = figures["test"]
    table = Table("class", "sensitivity", "specificity", "PPV", "AUROC", title="Test set, 95 % intervals by group")
    for name in CLASSES:
        table.add_row(name, *(as_text(test[name][figure]) for figure in PER_CLASS))
    console.print(table)
    console.print(f"Macro AUROC {as_text(test['macro_auroc'])}, accuracy {as_text(test['accuracy'])}")
    console.print(
        f"Without a pixel (source, view, age, sex): macro AUROC {as_text(figures['baseline']['macro_auroc'])}"
    )
    if points := figures.get("operating_points"):
        at = Table("COVID-19 called at", "from", "sensitivity", "specificity", "PPV", "NPV")
        at.title = f"Operating points chosen on val; PPV and NPV at a prevalence of {figures['prevalence']:g}"
        for name, point in points.items():
            threshold = "" if point["threshold"] is None else f"{point['threshold']:.3f}"
            wanted = "" if point["wanted"] is None else f" {point['wanted']:g}"
            shown = ("sensitivity", "specificity", "ppv_at_prevalence", "npv_at_prevalence")
            at.add_row(f"{name}{wanted}", threshold, *(as_text(point[figure]) for figure in shown))
        console.print(at)
    if read := figures.get("covid_at_specificity"):
        console.print(
            f"COVID-19 at the threshold that gives a specificity of {read['wanted']:g} on val: sensitivity "
            f"{as_text(read['sensitivity'])}, specificity {as_text(read['specificity'])}; read off the ROC curve of "
            f"these images at that specificity: sensitivity {as_text(read['roc'])}"
        )
    titles = {"by_source": "Within each source", "within_folds": "Within each source and fold"}
    for key in (key for key in titles if key in figures):
        within = Table("source", "pair", "AUROC", "images", title=titles[key])
        for source, pairs in figures[key].items():
            for pair, figure in pairs.items():
                within.add_row(source, pair.replace("_", " "), as_text(figure), str(figure.get("n", "")))
        console.print(within)
    if overlap := figures["test_set"]["overlap"]:
        console.print(f"[bold]Overlap with training:[/bold] {overlap}")


def print_comparison(result: dict[str, Any]) -> None:
    """Print what ``compare`` gave."""
    table = Table("COVID-19 and macro", "A", "B", "B - A")
    table.title = f"{result['n']:,} images of {result['groups']:,} groups, 95 % intervals"
    names = {
        "macro_auroc": "macro AUROC",
        "covid_auroc": "COVID-19 AUROC",
        "sensitivity": "sensitivity at the wanted specificity",
        "specificity": "specificity there",
    }
    for name, said in names.items():
        table.add_row(said, *(as_text(result["figures"][name][which]) for which in ("a", "b", "difference")))
    console = Console()
    console.print(table)
    for name, bundle in result["bundles"].items():
        about = f" Overlap with training: {bundle['overlap']}" if bundle["overlap"] else ""
        console.print(f"{name.upper()}: {bundle['folder']}{about}", markup=False, soft_wrap=True)


def as_text(figure: dict[str, Any]) -> str:
    """``0.91 (0.88 to 0.94)``, with the counts where there are few groups; or the reason why there is no figure."""
    if figure["value"] is None:
        return f"none: {figure['reason']}"
    counts = f", {figure['counts']}" if "counts" in figure else ""
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f}{counts})"
