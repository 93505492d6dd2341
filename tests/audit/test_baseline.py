"""The verdict on the baseline without a pixel."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrflow.audit import baseline
from cxrflow.audit.context import Audited
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD
from cxrflow.evaluation.baseline import baseline_probabilities, fit_baseline
from cxrflow.statistics.figure import Figure, missing


def figure(value: float, half: float) -> Figure:
    return Figure(value, value - half, value + half, 90, 60)


@pytest.mark.parametrize(
    ("table", "network", "difference", "added", "verdict"),
    [
        (figure(0.84, 0.03), figure(0.84, 0.03), figure(0, 0.03), figure(0.01, 0.06), FOUND),
        (figure(0.84, 0.03), figure(0.84, 0.03), figure(0, 0.03), figure(0.3, 0.06), UNTOLD),  # honest, no better
        (
            figure(0.84, 0.03),
            figure(0.52, 0.06),
            figure(-0.32, 0.1),
            figure(0.01, 0.06),
            UNTOLD,
        ),  # knows nothing
        (figure(0.84, 0.03), figure(0.84, 0.03), figure(0, 0.03), missing("no pairs"), UNTOLD),
        (figure(0.75, 0.14), figure(0.95, 0.05), figure(0.21, 0.15), figure(0.4, 0.06), CLEAR),
        (figure(0.75, 0.14), figure(0.9, 0.05), figure(0.15, 0.12), figure(0.4, 0.06), UNTOLD),
        (figure(0.5, 0.04), figure(0.53, 0.05), figure(0.03, 0.01), figure(0, 0.1), CLEAR),  # tells nothing
        (figure(0.6, 0.1), figure(0.6, 0.1), missing("fewer than two classes in the set"), figure(0, 0.1), UNTOLD),
    ],
)
def test_a_network_that_knows_what_the_table_says_alone_has_a_shortcut(
    table: Figure, network: Figure, difference: Figure, added: Figure, verdict: str
) -> None:
    assert baseline.judge(table, network, difference, added) == verdict


@pytest.mark.parametrize("classes", ["two_classes", "task", "four_classes"])
@pytest.mark.parametrize(("sees", "verdict"), [(False, FOUND), (True, CLEAR)])
def test_network_and_table_are_compared_on_the_same_patients(
    hospital: Callable[..., Audited], request: pytest.FixtureRequest, classes: str, sees: bool, verdict: str
) -> None:
    """Patients of one class are older than those of the one before; a network that says what the table says, and one
    that sees the disease. Where the two say almost the same of every patient they do not differ, however wide either's
    interval."""
    task = request.getfixturevalue(classes)
    rng, n = np.random.default_rng(5), 120 * len(task.order)
    labels = rng.integers(0, len(task.order), n)
    context = hospital(labels, task=task, split=np.where(np.arange(n) % 4 < 2, "train", "test"))
    context.dataset.records["age"] = 30 + 10 * labels + rng.normal(0, 10, n)
    test = context.dataset.split("test")
    table = baseline_probabilities(fit_baseline(context.dataset.split("train").records), test.records, task)
    if not sees:
        noisy = table * np.exp(rng.normal(0, 0.01, table.shape))
        context.predictions[list(task.order)] = noisy / noisy.sum(axis=1, keepdims=True)
    found = baseline.run(context)
    assert found.verdict == verdict
    seen = context.predictions[list(task.order)].to_numpy()
    auroc = [np.mean([roc_auc_score(test.truth == c, p[:, c]) for c in range(len(task.order))]) for p in (table, seen)]
    figures = found.figures
    assert figures["added"].high < 0.05 if not sees else figures["added"].low > 0.1
    assert figures["without_a_pixel"].value == pytest.approx(auroc[0])
    assert figures["difference"].value == pytest.approx(auroc[1] - auroc[0])
    assert figures["without_a_pixel"].high - figures["without_a_pixel"].low > 0.05
    if not sees:
        assert figures["difference"].high - figures["difference"].low < 0.02
