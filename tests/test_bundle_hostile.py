"""A bundle that was edited with care, its digests made to fit, gives one sentence with file and key."""

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load, save_file

from cxrflow.bundle import Bundle, Network, OperatingPoint, PredictionSets
from cxrflow.bundle_files import (
    DESCRIPTION,
    THRESHOLDS,
    TRAINED_ON,
    graph_file,
    read_description,
    read_trained_on,
    seen_rows,
    weights_file,
    write_bundle,
)
from cxrflow.bundle_networks import read_bundle
from cxrflow.errors import CxrflowError
from cxrflow.far import LENGTH, Far
from cxrflow.models import MODELS
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.params import Params
from cxrflow.predict import Outputs, predict_files
from cxrflow.predictor import NO_NUMBER, Predictor, Views

NAN, INF = float("nan"), float("inf")
#: Place of the description of the only network in ``bundle.json``.
NETWORK = "networks.0"


@pytest.fixture(scope="module")
def written(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an operating point and prediction sets; not to be changed."""
    task = demo_params.task
    bundle = Bundle(
        cxrflow="0",
        task=task,
        networks=(
            Network(
                model="crnn",
                images=demo_params.images.model_copy(update={"size": 32}),
                mean=0.5,
                std=0.25,
                temperature=1.5,
                epoch=3,
                validation={"macro_auroc": 0.9},
            ),
        ),
        sources={"a": 1},
        digests={},
        thresholds={"specificity": OperatingPoint(wanted=0.98, threshold=0.5, sensitivity=0.9, specificity=0.98)},
        prediction_sets=PredictionSets(coverage=0.9, least=dict(zip(task.order, (0.1, 0.2, 0.3), strict=True))),
        far=Far(
            share=0.02,
            mean=(0.0,) * LENGTH,
            whiten=((1.0,) * LENGTH,) * LENGTH,
            distances=(1.0, 2.0, 3.0),
            weights=(0.25,) * 3,
        ),
    )
    used = {
        "split": ["train", "val"],
        "content_hash": ["ab" * 32, "cd" * 32],
        "near_hash": ["cd", None],
        "patient_id": [None, "a"],
    }
    folder = tmp_path_factory.mktemp("hostile") / "bundle"
    write_bundle(folder, [MODELS["crnn"].build(1, 3)], bundle, seen_rows(pd.DataFrame(used, dtype=object)))
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def set_key(file: Path, place: str, value: Any) -> None:
    """Set a key of a JSON file, given as keys joined by dots; text in quotes becomes NaN or an infinity."""
    values = json.loads(file.read_text())
    *above, last = place.split(".")
    holder = values
    for name in above:
        holder = holder[int(name) if name.isdigit() else name]
    holder[last] = value
    file.write_text(json.dumps(values))


def sign(folder: Path) -> None:
    """Make the digests fit the files, as one who means harm would."""
    of_network = {"networks.0.weights": weights_file(0), "networks.0.graph": graph_file(0)}
    for place, file in (of_network | {"digests.weights": weights_file(0), "digests.trained_on": TRAINED_ON}).items():
        if (folder / file).exists():
            set_key(folder / DESCRIPTION, place, hashlib.sha256((folder / file).read_bytes()).hexdigest())
    set_key(folder / THRESHOLDS, "weights", read_description_digest(folder))


def read_description_digest(folder: Path) -> str:
    return json.loads((folder / DESCRIPTION).read_text())["digests"]["weights"]


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        *((DESCRIPTION, f"{NETWORK}.temperature", value) for value in (NAN, INF, 0, -1, 1e300, "hot", None)),
        *((DESCRIPTION, f"{NETWORK}.std", value) for value in (NAN, INF, 0, 1e-300)),
        *((DESCRIPTION, f"{NETWORK}.mean", value) for value in (NAN, -INF, 1e300)),
        *((DESCRIPTION, f"{NETWORK}.model", value) for value in ("no\0name", "x" * 10**6, "resnet18", STORED)),
        (DESCRIPTION, "format", "3"), (DESCRIPTION, "format", [3]), (DESCRIPTION, "format", 2.5),
        (DESCRIPTION, "task", 3), (DESCRIPTION, "task.classes", []), (DESCRIPTION, f"{NETWORK}.images.size", 10**9),
        (DESCRIPTION, f"{NETWORK}.images.channels", True), (DESCRIPTION, f"{NETWORK}.epoch", -1),
        (DESCRIPTION, "sources", {"a": -1}), (DESCRIPTION, f"{NETWORK}.validation", {"a": NAN}),
        (DESCRIPTION, "networks", []), (DESCRIPTION, f"{NETWORK}.fold", 3), (DESCRIPTION, "digests", None),
        (DESCRIPTION, "x" * 10**5, 1),
        *((THRESHOLDS, "thresholds.specificity.threshold", value) for value in (NAN, 1.5, -0.1, INF)),
        (THRESHOLDS, "thresholds.specificity.sensitivity", 2), (THRESHOLDS, "thresholds.specificity.wanted", 0),
        (THRESHOLDS, "thresholds", {"=cmd": None}), (THRESHOLDS, "prediction_sets.least.covid", NAN),
        (THRESHOLDS, "prediction_sets.least.other", 0.5), (THRESHOLDS, "prediction_sets.least", {}),
        *((THRESHOLDS, f"far.{key}", value) for key, value in (
            ("share", NAN), ("share", 2), ("mean", [0.0]), ("mean", [INF] * LENGTH), ("whiten", [[1.0]] * LENGTH),
            ("whiten", "no"), ("distances", [3.0, 2.0, 1.0]), ("distances", [NAN] * 3), ("weights", [0.9] * 3),
            ("weights", [0.1]), ("more", 1),
        )),
        (THRESHOLDS, "far", []), (THRESHOLDS, "far", {"share": 0.02}),
        (THRESHOLDS, "prediction_sets.coverage", 7), (THRESHOLDS, "temperature", 1), (THRESHOLDS, "weights", "ab" * 32),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_by_file_and_key(folder: Path, file: str, key: str, value: Any) -> None:
    set_key(folder / file, key, value)
    with pytest.raises(
        CxrflowError, match=file.replace(".", r"\.") if not key.endswith("model") else "model|network"
    ) as stopped:
        read_bundle(folder)
    assert str(stopped.value).isprintable()
    assert len(str(stopped.value)) < 600 + len(str(folder))
    if key.count(".") and "least" not in key and not key.endswith("model"):
        assert key.rpartition(".")[2] in str(stopped.value)


@pytest.mark.parametrize("change", ["nan", "inf", "half", "shape", "less", "more", "nothing", "pickle"])
def test_weights_that_are_none_are_refused(folder: Path, change: str) -> None:
    state = load((folder / weights_file(0)).read_bytes())
    name = next(name for name, tensor in state.items() if tensor.is_floating_point() and tensor.ndim > 1)
    tensor = state.pop(name)
    if change in ("nan", "inf"):
        tensor.view(-1)[3] = float(change)
    others = {"half": tensor.half(), "shape": tensor[:-1].contiguous()}
    state |= {} if change == "less" else {name: others.get(change, tensor)}
    state |= {"another": torch.ones(2)} if change == "more" else {}
    if change == "pickle":
        torch.save(state, folder / weights_file(0))
    else:
        save_file({} if change == "nothing" else state, folder / weights_file(0))
    sign(folder)
    with pytest.raises(CxrflowError, match=r"model\.safetensors: .*(finite|float16|weights are absent)") as stopped:
        read_bundle(folder)
    assert str(stopped.value).isprintable()


def test_weights_that_only_overflow_give_no_number(folder: Path) -> None:
    state = load((folder / weights_file(0)).read_bytes())
    save_file(
        {name: tensor * 1e30 if tensor.is_floating_point() else tensor for name, tensor in state.items()},
        folder / weights_file(0),
    )
    sign(folder)
    with pytest.raises(CxrflowError, match=r"the network cannot be used on 1 x 32 x 32 images .*no number"):
        read_bundle(folder)


def test_scores_that_are_no_numbers_are_never_an_answer(folder: Path, drawn: list[np.ndarray], tmp_path: Path) -> None:
    """A network that overflows on one image only: this one has no scores, and the others have theirs."""
    predictor = Predictor(folder)
    pictures = np.stack([np.full((32, 32), 40, np.uint8), np.full((32, 32), 200, np.uint8)])
    plain = predictor.scores(pictures)

    class Fails(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            bright = images.mean(dim=(1, 2, 3))[:, None] > 0
            return torch.where(bright, torch.tensor([[INF, 0.0, 0.0]]), torch.tensor([[1.0, 2.0, 3.0]]))

    predictor = predictor.with_modules(lambda _: Fails())
    with pytest.raises(CxrflowError, match="gives no number for 1 of 2 images"):
        predictor.scores(pictures)
    (scores,) = predictor.scores_by_fold(pictures)
    assert np.isnan(scores[1]).all()
    assert scores[0].sum() == pytest.approx(1)
    assert np.isfinite(plain).all()


def test_predict_leaves_out_an_image_without_numbers(
    folder: Path, drawn: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        Image.fromarray(drawn[number]).save(tmp_path / f"{number}.png")
    answer = Predictor.scores_by_fold

    def fails(self: Predictor, views: Views) -> np.ndarray:
        scores = answer(self, views)
        scores[:, 1] = np.nan
        return scores

    monkeypatch.setattr(Predictor, "scores_by_fold", fails)
    counts = predict_files(folder, [tmp_path / "0.png", tmp_path / "1.png"], Outputs(tmp_path / "out.csv"))
    table = pd.read_csv(tmp_path / "out.csv")
    assert (counts.scored, counts.left_out) == (1, 1)
    assert table.left_out.tolist()[1] == NO_NUMBER
    assert table.loc[1, ["covid", "normal", "pneumonia", "prediction"]].isna().all()
    assert table.loc[0, ["covid", "normal", "pneumonia", "prediction"]].notna().all()


def test_what_it_was_trained_on_is_whole_or_unknown(folder: Path) -> None:
    file = folder / TRAINED_ON
    whole = file.read_text()
    assert len(read_trained_on(folder)) == 2
    for content in (
        "\n".join(whole.split("\n")[:2]) + "\n",
        "",
        whole[:-4],
        whole.replace("val", "test"),
        whole + "\n,",
    ):
        file.write_text(content)
        with pytest.raises(CxrflowError, match=r"trained_on\.csv: (damaged|not the table that was written)"):
            read_trained_on(folder)
    file.unlink()
    with pytest.raises(CxrflowError, match=r"trained_on\.csv is absent"):
        read_trained_on(folder)


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
JUNK |= st.builds(list) | st.builds(lambda: {"a": [1]})  # new ones each time: a later change may be made in them


def places(values: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [at, *(place for key, value in inner for place in places(value, (*at, key)))]


def some_places(values: Any) -> list[tuple[Any, ...]]:
    """All but the whole; of the many numbers of a list only the first two."""
    return [place for place in places(values)[1:] if all(not isinstance(key, int) or key < 2 for key in place)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_description_is_read_or_one_sentence(folder: Path, written: Path, data: st.DataObject) -> None:
    """Also where it is read: what is chosen by it is finite and of the task."""
    for file in (DESCRIPTION, THRESHOLDS):
        values = json.loads((written / file).read_text())
        for place in data.draw(st.lists(st.sampled_from(some_places(values)), max_size=2)):
            holder = values
            with suppress(LookupError, TypeError):  # another change has replaced what held it
                for key in place[:-1]:
                    holder = holder[key]
                if data.draw(st.booleans()):
                    holder[place[-1]] = data.draw(JUNK)
                else:
                    del holder[place[-1]]
        (folder / file).write_text(json.dumps(values))
    try:
        bundle = read_description(folder)
    except CxrflowError as error:
        said = str(error)
    else:
        said = bundle.name
        assert all(np.isfinite([each.mean, each.std, each.temperature]).all() for each in bundle.networks)
        assert bundle.far is None or 0 <= bundle.far.as_far(np.zeros((32, 32), np.uint8)) <= 1
        sets = bundle.prediction_sets
        assert sets is None or set(sets.least or sets.left_out) == set(bundle.task.order)
    assert said.isprintable()


@pytest.mark.parametrize(
    "name",
    ['a" + __import__("pathlib") + "', "a\\", "a\n", "a'", 'a"); exec("1'],
    ids=["import", "backslash", "line", "quote", "exec"],
)
def test_no_name_in_a_stored_graph_becomes_code(name: str, onnx_network: Callable[[int], bytes]) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(onnx_network(32))
    model.graph.node[0].name = name
    with pytest.raises(CxrflowError, match="a node is called"):
        StoredNetwork(model.SerializeToString())


def test_a_stored_graph_reads_no_other_file_and_is_bounded(
    onnx_network: Callable[[int], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(8 * 3 * 7 * 7 * 4))

    def changed(change: Callable[[Any, Any], object]) -> bytes:
        model = onnx.load_model_from_string(onnx_network(32))
        change(model, model.graph.initializer[0])
        return model.SerializeToString()

    def elsewhere(_: Any, weight: Any) -> None:
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="secret")

    def huge(_: Any, weight: Any) -> None:
        weight.ClearField("raw_data")
        weight.dims[:] = [2**20, 2**20]

    def negative(_: Any, weight: Any) -> None:
        weight.dims[0] = -5

    for change, said in ((elsewhere, "in another file"), (huge, "more than"), (negative, "negative size")):
        with pytest.raises(CxrflowError, match=said):
            StoredNetwork(changed(change))
    for content in (b"", b"\0" * 100, onnx_network(32)[:-100], b"\xff" * 1000):
        with pytest.raises(CxrflowError, match="the ONNX graph is damaged"):
            StoredNetwork(content)
