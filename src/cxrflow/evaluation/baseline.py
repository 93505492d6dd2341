"""How far source, view, age and sex alone go, without a pixel: what a pooled figure has to be read beside.

Where every COVID-19 image comes from one collection and every normal one from another, the name of the
collection tells the class; a network can learn to see that name (DeGrave et al., Nat Mach Intell 2021; 3:
610-619).
"""

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
from cxrflow.records import CLASSES

_NAMED = ["source", "view", "sex"]
_FOLDS = 5


def fit_baseline(train: pd.DataFrame) -> Pipeline:
    """Class-balanced multinomial logistic regression of the label on source, view, sex and age.

    train: records with source, view, sex, age and label. Not known is a category of its own (age: the median
    and a mark that it is missing); a source, view or sex first met after training counts for nothing.

    Additive, so what it reaches is the least that these four give away. Raises CxrflowError where training
    has fewer than two classes.
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


def baseline_probabilities(baseline: Pipeline, table: pd.DataFrame) -> NDArray[np.float64]:
    """Probabilities, float64 (n, 3) in the order of CLASSES; 0 for a class absent from training."""
    probabilities = np.zeros((len(table), len(CLASSES)))
    if len(table):
        probabilities[:, [CLASSES.index(name) for name in baseline.classes_]] = baseline.predict_proba(table)
    return probabilities


def cross_fitted_baseline(table: pd.DataFrame, seed: int) -> tuple[NDArray[np.float64] | None, str]:
    """The baseline on a set whose collections nobody trained on: each fifth predicted from the other four.

    table: as for ``fit_baseline``, with group_id; no group is on both sides. Returns the out-of-fold
    probabilities (n, 3) and "", or None and the reason. Out-of-fold scores err slightly below chance where
    nothing can be learned, since a fold rich in a class leaves the others poor in it.
    """
    groups = table.groupby("label")["group_id"].nunique()
    if len(groups) < 2:
        return None, "fewer than two classes in the set"
    if groups.min() < _FOLDS:
        return None, f"fewer than {_FOLDS} groups of {groups.idxmin()}"
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    labels = table["label"].to_numpy(str)
    probabilities = np.zeros((len(table), len(CLASSES)))
    for rest, fold in folds.split(table, labels, table["group_id"].to_numpy(str)):
        if len(set(labels[rest])) < len(groups):
            return None, "too few groups for every fold to learn every class"
        probabilities[fold] = baseline_probabilities(fit_baseline(table.iloc[rest]), table.iloc[fold])
    return probabilities, ""


def _features(table: pd.DataFrame) -> pd.DataFrame:
    named = table[_NAMED].astype(object).where(table[_NAMED].notna(), "unknown").astype(str)
    return named.assign(age=pd.to_numeric(table["age"]).astype(float))
