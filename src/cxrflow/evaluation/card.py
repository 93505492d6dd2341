"""What an evaluation found, as the Markdown that a model card holds."""

from typing import Any

from cxrflow.evaluation.tables import PER_CLASS, as_text
from cxrflow.model_card import markdown_table
from cxrflow.records import CLASSES

_PARTS = {
    "by_collection": "collection",
    "by_view": "view",
    "by_sex": "sex",
    "by_age": "age",
    "by_day": "COVID-19, day",
}
_OF_A_PART = ("accuracy", "sensitivity", "specificity", "auroc")
_AT = ("sensitivity", "specificity", "ppv_at_prevalence", "npv_at_prevalence")


def card_section(figures: dict[str, Any], scored: str) -> str:
    """What ``evaluate_split`` or ``evaluate_collections`` gave; ``scored``: what test set that was."""
    test, blind = figures["test"], figures["baseline"]["macro_auroc"]
    rows = [[name, *(as_text(test[name][figure]) for figure in PER_CLASS)] for name in CLASSES]
    within = [
        [source, pair.replace("_", " "), as_text(figure)]
        for source, pairs in figures["by_source"].items()
        for pair, figure in pairs.items()
    ]
    parts = [
        f"On {scored}: {figures['n']:,} images of {figures['groups']:,} groups of patients, 95 % intervals.",
        markdown_table(["class", "sensitivity", "specificity", "PPV", "AUROC"], rows),
        f"- Macro AUROC {as_text(test['macro_auroc'])}, accuracy {as_text(test['accuracy'])}.\n"
        f"- Without a pixel (source, view, age, sex): macro AUROC {as_text(blind)}.",
        markdown_table(["source", "pair within it", "AUROC"], within) if within else "No source has two classes in it.",
        _subgroups(figures),
        _operating_points(figures),
        _calibration(figures),
    ]
    if unanswerable := figures["cannot_tell"]["unanswerable"]:
        said = "\n".join(f"- {question}" for question in unanswerable)
        parts.append(f"What more images of these collections cannot tell:\n\n{said}")
    if overlap := figures["test_set"]["overlap"]:
        parts.append(f"**Overlap with training:** {overlap}")
    return "\n\n".join(parts)


def _subgroups(figures: dict[str, Any]) -> str:
    rows = [
        [f"{said}: {part}", f["n"], f["images"]["covid"], *(as_text(f[key]) for key in _OF_A_PART)]
        for name, said in _PARTS.items()
        for part, f in figures[name].items()
    ]
    heads = ["part", "images", "COVID-19", "accuracy", "COVID-19 sensitivity", "specificity", "AUROC"]
    return markdown_table(heads, rows)


def _operating_points(figures: dict[str, Any]) -> str:
    rows = []
    for name, point in figures["operating_points"].items():
        wanted = "" if point["wanted"] is None else f" {point['wanted']:g}"
        chosen_for = "" if point["prevalence"] is None else f", for a prevalence of {point['prevalence']:g}"
        threshold = "" if point["threshold"] is None else f"{point['threshold']:.3f}"
        rows.append([f"{name}{wanted}{chosen_for}", threshold, *(as_text(point[key]) for key in _AT)])
    heads = ["COVID-19 called at (chosen on val)", "from", "sensitivity", "specificity"]
    return markdown_table([*heads, *(f"{name} at {figures['prevalence']:g}" for name in ("PPV", "NPV"))], rows)


def _calibration(figures: dict[str, Any]) -> str:
    found, sets = figures["calibration"], figures["prediction_sets"]
    perfect = found["ece_if_calibrated"]
    chance = "" if sets["wanted"] is None else f", {sets['wanted']:g} wanted in each class"
    covered = ", ".join(f"{name} {as_text(sets['coverage'][name])}" for name in CLASSES)
    return (
        f"- Calibration: expected calibration error {found['ece']:.3f} (if calibrated, {perfect['mean']:.3f} on "
        f"average and up to {perfect['p95']:.3f} 19 times in 20); Brier score "
        f"{as_text(found['brier'])}.\n"
        f"- Prediction sets hold the class of a new patient's image{chance}: {covered}."
    )
