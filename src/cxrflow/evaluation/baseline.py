"""The baseline without a pixel, which a pooled figure has to beat: prediction from source, view, age and sex alone.

If every COVID-19 image comes from one collection and every normal one from another, the collection's name gives the
class away, and a network can learn to recognise the collection (DeGrave et al., Nat Mach Intell 2021; 3:
610-619).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from cxrflow.errors import CxrflowError
from cxrflow.evaluation.differences import differences
from cxrflow.statistics.figure import missing
from cxrflow.statistics.resampling import too_few_groups
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

_NAMED = ["source", "view", "sex"]
_FOLDS = 5


@dataclass(frozen=True)
class Baseline:
    """Probabilities without a pixel, float (n, classes), or None with a reason; and the data they were learned from."""

    probabilities: NDArray[np.float64] | None
    reason: str
    learned_from: str


def fit_baseline(train: pd.DataFrame) -> Pipeline:
    """Class-balanced multinomial logistic regression of the label on source, view, sex and age.

    train: records with source, view, sex, age and label. An unknown view or sex is a category of its own; an unknown
    age is the median with a missing-value indicator. A source, view or sex not seen in training has no effect.

    The model is additive, so its figure is a lower bound on what these four variables give away. Raises CxrflowError if
    training has fewer than two classes.
    """
    if train["label"].nunique() < 2:
        raise CxrflowError("The baseline needs two classes to learn from; check the labels of train.")
    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    age = make_pipeline(imputer, StandardScaler())
    named = OneHotEncoder(handle_unknown="ignore")
    model: Pipeline = make_pipeline(
        FunctionTransformer(_features),
        make_column_transformer((named, _NAMED), (age, ["age"])),
        LogisticRegression(class_weight="balanced", max_iter=2000),
    )
    return model.fit(train, train["label"].to_numpy(str))


def baseline_probabilities(baseline: Pipeline, table: pd.DataFrame, task: Task) -> NDArray[np.float64]:
    """Probabilities, float64 (n, classes) in the order of the task; 0 for a class absent from training."""
    probabilities = np.zeros((len(table), len(task.order)))
    if len(table):
        probabilities[:, task.numbers(baseline.classes_)] = baseline.predict_proba(table)
    return probabilities


def cross_fitted_baseline(table: pd.DataFrame, task: Task, seed: int) -> tuple[NDArray[np.float64] | None, str]:
    """The baseline cross-fitted on a set without training images: each fifth is predicted from the other four.

    table: as for ``fit_baseline``, with group_id; folds do not share groups. Returns the out-of-fold probabilities,
    (n, classes), and "", or None and the reason. If nothing can be learned, out-of-fold scores fall slightly below
    chance: a fold with more images of a class leaves fewer in the other folds.
    """
    groups = table.groupby("label")["group_id"].nunique()
    if len(groups) < 2:
        return None, "fewer than two classes in the set"
    if groups.min() < _FOLDS:
        return None, too_few_groups(int(groups.min()), _FOLDS, task.names[str(groups.idxmin())])
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    labels = table["label"].to_numpy(str)
    probabilities = np.zeros((len(table), len(task.order)))
    for rest, fold in folds.split(table, labels, table["group_id"].to_numpy(str)):
        if absent := sorted(set(groups.index) - set(labels[rest])):
            return None, f"all {task.names[absent[0]]} images are in one of the {_FOLDS} folds"
        probabilities[fold] = baseline_probabilities(fit_baseline(table.iloc[rest]), table.iloc[fold], task)
    return probabilities, ""


def beside(scored: Scored, baseline: Baseline) -> dict[str, Any]:
    """The baseline's ``macro_auroc`` on the scored images, the network's minus that (``difference``), from the same
    resamples of groups, and ``learned_from``."""
    if baseline.probabilities is None:
        unknown = missing(baseline.reason)
        return {"macro_auroc": unknown, "difference": unknown, "learned_from": baseline.learned_from}
    table = replace(scored, probabilities=baseline.probabilities)
    compared = differences(table, scored, (None, None))["macro_auroc"]
    return {"macro_auroc": compared["a"], "difference": compared["difference"], "learned_from": baseline.learned_from}


def _features(table: pd.DataFrame) -> pd.DataFrame:
    named = table[_NAMED].astype(object).where(table[_NAMED].notna(), "unknown").astype(str)
    return named.assign(age=pd.to_numeric(table["age"]).astype(float))
