"""The figures of an evaluation as Markdown, for the model card."""

from typing import Any

from cxrflow.evaluation.tables import PER_CLASS, pair_in_words
from cxrflow.model_card import inline, markdown_table
from cxrflow.statistics.figure import Figure, in_percent, in_words
from cxrflow.task import Task
from cxrflow.text import number_of

_OF_A_PART = ("accuracy", "sensitivity", "specificity", "auroc")
_AT = ("sensitivity", "specificity", "ppv_at_prevalence", "npv_at_prevalence")


def card_section(figures: dict[str, Any], task: Task, test_set: str) -> str:
    """The model card's section on an evaluation.

    figures   as returned by ``evaluate_split`` or ``evaluate_collections``
    test_set  the test set in words, such as ``the split *test*``
    """
    test, blind = figures["test"], figures["baseline"]["macro_auroc"]
    rows = [[task.names[name], *(_said(test[name][figure]) for figure in PER_CLASS)] for name in task.order]
    within = [
        [source, pair_in_words(pair, task), _said(figure)]
        for source, pairs in figures["by_source"].items()
        for pair, figure in pairs.items()
    ]
    parts = [
        f"On {test_set}: {number_of(figures['n'], 'image')} of {number_of(figures['groups'], 'group')} of patients, "
        "95 % intervals.",
        markdown_table(["class", "sensitivity", "specificity", "PPV", "AUROC"], rows),
        f"- Macro AUROC {_said(test['macro_auroc'])}, accuracy {_said(test['accuracy'])}.\n"
        f"- Without a pixel (source, view, age, sex): macro AUROC {_said(blind)}.",
        markdown_table(["source", "pair within it", "AUROC"], within) if within else "No source has two classes.",
        _subgroups(figures, task),
        _operating_points(figures, task),
        _calibration(figures, task),
        _far(figures["far"]),
    ]
    if unanswerable := figures["cannot_tell"]["unanswerable"]:
        said = "\n".join(f"- {inline(question)}" for question in unanswerable)
        parts.append(f"What more images of these collections cannot tell:\n\n{said}")
    if leaks := figures["cannot_tell"]["unknown_patients"]:
        parts.append("**Patients not known:** " + inline(" ".join(leaks)))
    if overlap := figures["test_set"]["overlap"]:
        parts.append(f"**Overlap with training:** {inline(overlap)}")
    return "\n\n".join(parts)


def _subgroups(figures: dict[str, Any], task: Task) -> str:
    name = task.positive_name
    titles = {"by_collection": "collection", "by_view": "view", "by_sex": "sex", "by_age": "age"}
    rows = [
        [f"{said}: {part}", f["n"], f["images"][task.positive], *(_said(f[key]) for key in _OF_A_PART)]
        for key, said in (titles | {"by_day": f"{name}, day"}).items()
        for part, f in figures[key].items()
    ]
    heads = ["part", "images", name, "accuracy", f"{name} sensitivity", "specificity", "AUROC"]
    return markdown_table(heads, rows)


def _operating_points(figures: dict[str, Any], task: Task) -> str:
    rows = []
    for name, point in figures["operating_points"].items():
        wanted = "" if point["wanted"] is None else f" {point['wanted']:g}"
        chosen_for = "" if point["prevalence"] is None else f", for a prevalence of {point['prevalence']:g}"
        threshold = "" if point["threshold"] is None else f"{point['threshold']:.3f}"
        rows.append([f"{name}{wanted}{chosen_for}", threshold, *(_said(point[key]) for key in _AT)])
    heads = [
        f"{task.positive_name} called at (chosen on images left out of training)",
        "from",
        "sensitivity",
        "specificity",
    ]
    return markdown_table([*heads, *(f"{name} at {figures['prevalence']:g}" for name in ("PPV", "NPV"))], rows)


def _calibration(figures: dict[str, Any], task: Task) -> str:
    found, sets = figures["calibration"], figures["prediction_sets"]
    perfect = found["ece_if_calibrated"]
    wanted = "" if sets["wanted"] is None else f", {sets['wanted']:g} wanted in each class"
    covered = ", ".join(f"{task.names[name]} {_said(sets['coverage'][name])}" for name in task.order)
    return (
        f"- Calibration: expected calibration error {found['ece']:.3f} (if calibrated, {perfect['mean']:.3f} on "
        f"average and up to {perfect['p95']:.3f} 19 times in 20); Brier score "
        f"{_said(found['brier'])}.\n"
        f"- Prediction sets hold the class of a new patient's image{wanted}: {covered}."
    )


def _far(far: dict[str, Any]) -> str:
    if far["share"] is None:
        return f"- Flagged as far from the training images: {_said(far['all'])}."
    of_source = ", ".join(f"{inline(source)} {in_percent(flagged)}" for source, flagged in far["by_source"].items())
    return (
        f"- Flagged as far from the training images (at most {100 * far['share']:.2g} % of images of patients such as "
        f"those of val): {in_percent(far['all'])}; by source: {of_source}."
    )


def _said(figure: Figure) -> str:
    return in_words(figure, digits=3, counts=True)
