"""Keys of former versions are answered with their new names, and a task in a file of overrides replaces the whole."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cxrflow.errors import CxrflowError
from cxrflow.params import load_params

PROJECT = Path(__file__).parents[1]
KINDS = {"classes": {"well": ["no finding"], "sick": ["pneumonia"]}, "positive": "sick"}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    (tmp_path / "params").mkdir()
    text = (PROJECT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("overrides: null", "overrides: over"))
    return tmp_path / "params.yaml"


def override(params: Path, values: dict[str, Any], name: str = "over") -> None:
    (params.parent / "params" / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.mark.parametrize(
    ("former", "said"),
    [
        ({"sample_weight_covid": 0.5}, "sample_weight_covid is now positive_share"),
        ({"balance": "covid_share"}, "balance: covid_share is now positive_share"),
    ],
)
def test_a_former_key_is_answered_with_its_new_name(params: Path, former: dict[str, Any], said: str) -> None:
    override(params, {"training": former})
    with pytest.raises(CxrflowError, match=rf"over\.yaml: training: .*{said}") as stopped:
        load_params(params)
    assert "\n" not in str(stopped.value)


def test_a_task_in_overrides_replaces_the_whole_task_and_its_weights(params: Path) -> None:
    override(params, {"training": {"loss_weights": {"covid": 5.0}}}, "first")
    override(params, {"task": KINDS})
    params.write_text(params.read_text().replace("overrides: over", "overrides: [first, over]"))
    loaded = load_params(params)
    assert loaded.task.order == ("well", "sick")
    assert loaded.task.names == {"well": "well", "sick": "sick"}
    assert loaded.training.loss_weights == {}
    override(params, {"task": KINDS, "training": {"loss_weights": {"sick": 2.0}}})
    assert load_params(params).training.loss_weights == {"sick": 2.0}
    assert load_params(params).training.epochs == load_params(PROJECT / "params.yaml").training.epochs


def test_a_weight_of_no_class_of_the_task_is_named(params: Path) -> None:
    override(params, {"task": KINDS, "training": {"loss_weights": {"covid": 2.0}}})
    with pytest.raises(CxrflowError, match=r"loss_weights: covid is none of the task's classes well, sick"):
        load_params(params)


@pytest.mark.parametrize("training", [None, "all", [1]])
def test_a_task_beside_a_section_that_is_none_is_one_sentence(params: Path, training: object) -> None:
    override(params, {"task": KINDS})
    values = yaml.safe_load(params.read_text()) | {"training": training}
    params.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(CxrflowError, match="training: ") as stopped:
        load_params(params)
    assert "\n" not in str(stopped.value)
