"""Former and mistyped keys are answered with the right ones; a task in a file of overrides replaces the whole."""

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.models import find_model
from cxrflow.params import Params
from cxrflow.params_file import DEFAULTS, load_params

SHIPPED = yaml.safe_load(DEFAULTS.read_text())
KINDS = {"classes": {"well": ["no finding"], "sick": ["pneumonia"]}, "positive": "sick"}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    (tmp_path / "params").mkdir()
    (tmp_path / "params.yaml").write_text("overrides: over\n")
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
    assert load_params(params).training.epochs == load_params(DEFAULTS).training.epochs


def test_a_weight_of_no_class_of_the_task_is_named(params: Path) -> None:
    override(params, {"task": KINDS, "training": {"loss_weights": {"covid": 2.0}}})
    with pytest.raises(CxrflowError, match=r"loss_weights: covid is not one of the task's classes well, sick"):
        load_params(params)


@pytest.mark.parametrize("training", [None, "all", [1]])
def test_a_task_beside_a_section_that_is_none_is_one_sentence(params: Path, training: object) -> None:
    override(params, {"task": KINDS})
    values = yaml.safe_load(params.read_text()) | {"training": training}
    params.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(CxrflowError, match="training: ") as stopped:
        load_params(params)
    assert "\n" not in str(stopped.value)


EXTREMES = {
    "training.seed": [-1, 2**32, True, 1.5, "one"],
    "demo.seed": [-1, 2**32],
    "evaluation.seed": [-1, 2**32, False],
    "metadata.split.seed": [-1, 10**400],
    "training.learning_rate": [1e308, -1, True],
    "training.weight_decay": [1e308],
    "training.epochs": [True, 10**9],
    "training.batch_size": [1, True, 10**9],
    "training.loss_weights": [{"covid": 1e308}, {"covid": True}, {"covid": 0}],
    "training.augmentation.zoom": [0.999999999, True],
    "training.model": ["", "x" * 10**5, "a\0b", True, 1],
    "training.start": ["a\nb", False],
    "evaluation.bootstrap": [10**6, True],
    "evaluation.prevalence": [1e-308, 1 - 1e-12],
    "evaluation.cost_ratio": [1e308, 1e-308],
    "images.clahe_clip": [1e308, True],
    "images.clahe_tiles": [257],
    "images.channels": [True, 2],
    "sources.root": ["", "a\0b", "x" * 5000, True],
    "sources.collections": [[True], ["a\0"], "a"],
    "sources.follow_links": ["yes", 1],
    "task.positive": [False],
    "task.names": [{"covid": "x" * 10**5}, {"covid": False}],
    "demo.patients": [True, 10**9],
    "reading.memory_gb": [True, 10**9],
    "spark.master": ["", "a\0"],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in EXTREMES.items() for value in values])
def test_what_no_stage_can_do_is_refused_by_its_key(params: Path, key: str, value: object) -> None:
    values = copy.deepcopy(SHIPPED)
    section, last = values, key.rpartition(".")[2]
    for name in key.split(".")[:-1]:
        section = section[name]
    section[last] = value
    params.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(CxrflowError) as stopped:
        load_params(params)
    assert key.rpartition(".")[0] in str(stopped.value)
    assert str(stopped.value).isprintable()
    assert len(str(stopped.value)) < 600 + len(str(params))


@pytest.mark.parametrize(
    "named", ["../params/real", "absent", "a\0b", "x" * 10**4, 3, {"a": 1}, [["real"]], "", [None]]
)
def test_an_override_that_is_not_there_is_said_with_those_that_are(params: Path, named: object) -> None:
    override(params, {"task": KINDS})
    params.write_text(yaml.safe_dump(yaml.safe_load(params.read_text()) | {"overrides": named}, sort_keys=False))
    with pytest.raises(CxrflowError, match=r"overrides: .* is neither one of .*params nor of .* \(.*real.*, over\)"):
        load_params(params)


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just([]) | st.just({"a": [1]})


def places(values: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [at, *(place for key, value in inner for place in places(value, (*at, key)))]


@given(st.lists(st.tuples(st.sampled_from(places(SHIPPED)[1:]), JUNK), min_size=1, max_size=3))
def test_any_changed_value_loads_or_is_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    path, values = tmp_path_factory.getbasetemp() / "params.yaml", copy.deepcopy(SHIPPED)
    for place, value in changes:
        holder = values
        with suppress(LookupError, TypeError):  # another change has replaced what held it
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = value
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    try:
        loaded = load_params(path)
    except CxrflowError as error:
        said = str(error)
    else:
        said = loaded.engine
    assert said.isprintable()


@pytest.mark.parametrize(
    ("where", "values", "said"),
    [
        ("", {"trainning": {}}, r"trainning: unknown key; did you mean training\? Correct"),
        ("images", {"equalize": "clahe"}, r"images\.equalize: unknown key; did you mean equalise\? Correct"),
        ("images", {"Size": 64}, r"images\.Size: unknown key; did you mean size"),
        ("training", {"augmentation": {"bightness": 0.1}}, r"augmentation\.bightness: .*did you mean brightness"),
        ("metadata", {"split": {"valid": 0.1}}, r"metadata\.split\.valid: .*did you mean val\b"),
        ("training", {"members": [{"epohcs": 3}]}, r"entry 1: epohcs is a key of neither .*; did you mean epochs"),
        ("images", {"equalise": "glabal"}, r"images\.equalise: .*'clahe'; did you mean global"),
        ("training", {"schedule": {"name": "cosin"}}, r"schedule\.name: .*did you mean cosine"),
        ("", {"engine": "sparc"}, r"engine: .*did you mean spark"),
        ("images", {"zzz": 1}, r"images\.zzz: unknown key\. Correct"),
        ("images", {"channels": 2}, r"images\.channels: Input should be 1 or 3\. Correct"),
    ],
)
def test_a_mistyped_key_or_choice_is_answered_with_the_nearest(
    params: Path, where: str, values: dict[str, Any], said: str
) -> None:
    override(params, {where: values} if where else values)
    with pytest.raises(CxrflowError, match=said) as stopped:
        load_params(params)
    assert "\n" not in str(stopped.value)


def test_a_mistyped_key_of_a_table_of_ones_own_is_answered_with_the_nearest(params: Path) -> None:
    columns = {"mine": {"label": {"column": "dx", "wrods": {}}}}
    params.write_text(yaml.safe_dump({"sources": {"columns": columns}}))
    with pytest.raises(CxrflowError, match=r"columns\.mine\.label\.wrods: unknown key; did you mean words"):
        load_params(params)


def test_a_mistyped_override_is_answered_with_those_there_are_and_the_nearest(params: Path) -> None:
    with pytest.raises(CxrflowError, match=r"over is neither .* \(children, .*real.*\); correct the name"):
        load_params(params)
    with pytest.raises(CxrflowError, match=r"reel is neither .* \(.*real.*\); did you mean real; correct"):
        load_params(params, ["reel"])


def test_what_a_study_sets_holds_over_its_override_files_and_they_over_the_defaults(params: Path) -> None:
    override(params, {"training": {"epochs": 3, "seed": 5}, "images": {"size": 64}})
    params.write_text("overrides: [short, over]\ntraining: {epochs: 7}\n")
    loaded = load_params(params)
    assert (loaded.training.epochs, loaded.training.seed, loaded.images.size) == (7, 5, 64)
    assert loaded.training.model == "timm:resnet10t"  # of short, which ships
    assert loaded.audit == load_params(DEFAULTS).audit
    override(params, {"training": {"model": "crnn"}}, "short")  # the study's own file of that name
    assert load_params(params).training.model == "crnn"


def test_a_task_of_the_study_clears_the_weights_of_an_override(params: Path) -> None:
    override(params, {"training": {"loss_weights": {"covid": 5.0}}})
    params.write_text(yaml.safe_dump({"overrides": "over", "task": KINDS}))
    assert load_params(params).training.loss_weights == {}


def test_every_parameter_has_its_default_in_the_shipped_file(params: Path) -> None:
    assert set(SHIPPED) == set(Params.model_fields)
    params.write_text("{}\n")
    assert load_params(params) == load_params(DEFAULTS)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("resnet9", "did you mean resnet"),
        ("Resnet-18", r"did you mean resnet18\?$"),
        ("covidnet", "did you mean covidnet_"),
        ("tmm:resnet10t", r"did you mean timm:resnet10t\?$"),
        ("published:raddino", r"did you mean published:rad-dino\?$"),
        ("timm:resnet10", r"did you mean timm:resnet10t"),
        ("quite another", r"published:NAME\.$"),
    ],
)
def test_a_mistyped_network_is_answered_with_the_nearest(model: str, said: str) -> None:
    with pytest.raises(CxrflowError, match=said):
        find_model(model)
