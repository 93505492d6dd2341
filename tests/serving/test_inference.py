"""The Open Inference Protocol: what its text says (inference_rest.md), and the scores of the program."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from cxrflow.bundle import PredictionSets
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.bundle_networks import read_bundle
from cxrflow.predictor import Predictor

pytest.importorskip("fastapi")
from cxrflow.serving.tensors import InferenceRequest

Served = Callable[..., TestClient]
MODEL = "/v2/models/cxrflow-prepared"


def tensor(name: str, images: np.ndarray, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [*images.shape], "datatype": "UINT8", "data": images.ravel().tolist()} | more


def nothing() -> pd.DataFrame:
    """The rows that a bundle was trained on: none."""
    return pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})


@pytest.fixture(scope="module")
def images(predictor: Predictor, pictures: list[bytes]) -> np.ndarray:
    """Two images prepared for the network: uint8 (2, 64, 64)."""
    return np.stack([predictor.prepare(each)[0] for each in pictures[:2]])


@pytest.fixture
def infer(client: TestClient) -> Callable[..., Any]:
    def post(*inputs: Any, model: str = MODEL, **more: Any) -> Any:
        return client.post(f"{model}/infer", json={"inputs": inputs, **more})

    return post


def test_the_server_and_its_models_describe_themselves(client: TestClient, predictor: Predictor) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert set(client.get("/v2").json()) == {"name", "version", "extensions"}
    described = client.get(MODEL).json()
    assert described["name"] == "cxrflow-prepared"
    assert described["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 64, 64]}]
    assert described["outputs"] == [
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, 3]},
        {"name": "classes", "datatype": "BYTES", "shape": [-1, 3]},
        {"name": "prediction", "datatype": "BYTES", "shape": [-1]},
        {"name": "positive_at_specificity", "datatype": "BOOL", "shape": [-1]},
        {"name": "flags", "datatype": "BYTES", "shape": [-1]},
    ]
    (version,) = described["versions"]
    assert client.get("/about").json()["bundle"].startswith(version)
    assert client.get(f"{MODEL}/versions/{version}").json() == described
    assert client.get(f"{MODEL}/ready").json() == {"name": "cxrflow-prepared", "ready": True}
    files = client.get("/v2/models/cxrflow").json()
    assert files["inputs"] == [{"name": "file", "datatype": "BYTES", "shape": [-1]}]
    for path in (
        "/v2/models/other",
        f"{MODEL}/versions/9",
        f"{MODEL}/versions/9/ready",
        "/v2/models/other/ready",
        "/v2/x",
    ):
        answered = client.get(path)
        assert answered.status_code == 404, path
        assert set(answered.json()) == {"error"}


def test_prepared_images_get_the_scores_of_the_program(infer: Any, images: np.ndarray, predictor: Predictor) -> None:
    answered = infer(tensor("image", images), id="42", parameters={"any": 1})
    assert answered.status_code == 200
    body = answered.json()
    assert (body["model_name"], body["id"]) == ("cxrflow-prepared", "42")
    assert body["parameters"] == {"purpose": predictor.bundle.purpose, "drawn": predictor.bundle.drawn}
    assert "Research software" in body["parameters"]["purpose"]
    outputs = {each["name"]: each for each in body["outputs"]}
    expected = predictor.scores([images])
    assert outputs["probabilities"]["shape"] == [2, 3]
    assert np.array(outputs["probabilities"]["data"]).reshape(2, 3) == pytest.approx(expected, abs=1e-6)
    order = predictor.bundle.task.order
    assert outputs["classes"]["data"] == [*order, *order]
    assert outputs["prediction"]["data"] == [order[row.argmax()] for row in expected]
    positive = expected[:, predictor.bundle.task.positive_column] >= 0.5
    assert outputs["positive_at_specificity"]["data"] == positive.tolist()
    assert outputs["flags"]["data"] == ["", ""]


def test_the_warnings_and_the_prediction_set_of_an_image_are_in_its_answer(
    served: Served,
    folder: Path,
    tmp_path: Path,
    drawn: list[np.ndarray],
    png: Callable[[np.ndarray], bytes],
    scan: bytes,
) -> None:
    bundle, modules = read_bundle(folder)
    sets = PredictionSets(coverage=0.9, least=dict.fromkeys(bundle.task.order, 0.05))
    write_bundle(tmp_path, modules, bundle.model_copy(update={"prediction_sets": sets}), seen_rows(nothing()))
    predictor = Predictor(tmp_path)
    sent = [png(255 - drawn[0]), png(np.rot90(drawn[1])), scan]
    expected = [*predictor.results(sent)]
    assert any(each.flags for each in expected)
    assert any(len(each.prediction_set or ()) > 1 for each in expected)
    data = [base64.b64encode(each).decode() for each in sent]
    asked = {"inputs": [{"name": "file", "shape": [3], "datatype": "BYTES", "data": data}]}
    outputs = served(predictor).post("/v2/models/cxrflow/infer", json=asked).json()["outputs"]
    assert [each["name"] for each in outputs[-2:]] == ["prediction_set", "flags"]
    assert [each["shape"] for each in outputs[-2:]] == [[3], [3]]
    assert outputs[-2]["data"] == [" ".join(each.prediction_set or ()) for each in expected]
    assert outputs[-1]["data"] == ["; ".join(each.flags) for each in expected]


def test_nested_data_and_chosen_outputs(infer: Any, images: np.ndarray) -> None:
    flat = infer(tensor("image", images)).json()
    nested = infer(tensor("image", images, data=images.tolist()), outputs=[{"name": "probabilities"}]).json()
    assert nested["outputs"] == flat["outputs"][:1]
    assert nested.get("id") is None


def test_files_in_base64_get_the_answers_that_they_get_by_form(
    client: TestClient, infer: Any, pictures: list[bytes], scan: bytes, ask: Any
) -> None:
    sent = [pictures[0], scan]
    data = [base64.b64encode(each).decode() for each in sent]
    body = infer({"name": "file", "shape": [2], "datatype": "BYTES", "data": data}, model="/v2/models/cxrflow").json()
    expected = [[*each["scores"].values()] for each in ask(client, *sent).json()["results"]]
    assert np.array(body["outputs"][0]["data"]).reshape(2, 3) == pytest.approx(np.array(expected), abs=1e-6)
    data[1] = base64.b64encode(b"%PDF-1").decode()
    refused = infer({"name": "file", "shape": [2], "datatype": "BYTES", "data": data}, model="/v2/models/cxrflow")
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("image 2 cannot be used: file is a PDF")


def test_what_the_model_does_not_take_is_refused_in_one_sentence(infer: Any, images: np.ndarray) -> None:
    good = tensor("image", images)
    wrong = [
        ([], "the inputs of this model are image"),
        ([good, good], "each once"),
        ([good | {"name": "x"}], "the inputs of this model are image"),
        ([good | {"datatype": "FP32"}], "datatype is UINT8"),
        ([good | {"shape": [2, 64]}], "the shape is [-1, 64, 64]"),
        ([good | {"shape": [2, 32, 128]}], "the shape is [-1, 64, 64]"),
        ([good | {"shape": [0, 64, 64], "data": []}], "1 to 20"),
        ([good | {"shape": [10**15, 64, 64]}], "1 to 20"),
        ([good | {"shape": [3, 64, 64]}], "the data is not of the shape"),
        ([good | {"shape": [-2, 64, 64]}], "inputs.0.shape.0"),
        ([{key: good[key] for key in good if key != "shape"}], "inputs.0.shape: required, but not given"),
        ([good | {"data": good["data"][:-1]}], "the data is not of the shape"),
        ([good | {"data": images.reshape(2, 4096).tolist()}], "the data is not of the shape"),
        ([good | {"data": images.swapaxes(0, 1).tolist()}], "nested otherwise"),
        ([good | {"data": [[1], [2, 3]]}], "the data is not of the shape"),
        *(
            ([good | {"data": [value, *good["data"][1:]]}], "whole numbers from 0 to 255")
            for value in (-1, 256, 0.5, "1", True and 10**30)
        ),
        *(
            ([good | {"data": data}], "inputs.0.data: whole numbers")
            for data in (None, [None], [{}], [[[[1]]]], [1, "a"])
        ),
        ([{"name": "image"}], "inputs.0.shape"),
    ]
    for inputs, said in wrong:
        answered = infer(*inputs)
        assert answered.status_code == 400, said
        assert said in answered.json()["error"]
        assert "\n" not in answered.json()["error"]
    assert "the outputs" in infer(good, outputs=[{"name": "x"}]).json()["error"]
    for data in (["%%"], [1], [None], []):
        answered = infer({"name": "file", "shape": [1], "datatype": "BYTES", "data": data}, model="/v2/models/cxrflow")
        assert answered.status_code == 400


def test_what_is_no_request_is_refused(client: TestClient) -> None:
    for body in (b"", b"{", b"[]", b"null", b'{"inputs": 1}', b"[" * 1000, b"\xff", b'{"inputs":[NaN]}'):
        answered = client.post(f"{MODEL}/infer", content=body)
        assert answered.status_code == 400, body[:20]
        assert set(answered.json()) == {"error"}
    binary = client.post(f"{MODEL}/infer", content=b"{}", headers={"Inference-Header-Content-Length": "2"})
    assert "binary" in binary.json()["error"]


@pytest.mark.parametrize("model", [MODEL, "/v2/models/cxrflow"])
@pytest.mark.parametrize("value", ["{}", "[]", "0", '""', '{"name": "x"}'])
@pytest.mark.parametrize("place", ['{"inputs": [{"name": "image", "data": [%s]}]}', '{"outputs": [%s]}', '{"x": [%s]}'])
def test_more_values_than_the_images_need_are_not_even_parsed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, model: str, value: str, place: str
) -> None:
    monkeypatch.setattr(InferenceRequest, "model_validate_json", None)
    body = place % ",".join([value] * (20 * 64 * 64 + 1100))
    answered = client.post(f"{model}/infer", content=body)
    assert answered.status_code == 413
    assert "more values than 20 images" in answered.json()["error"]


def test_as_many_images_as_a_request_may_have_are_taken_nested(served: Served, images: np.ndarray) -> None:
    many = np.repeat(images[:1], 3, axis=0)
    body = {"inputs": [tensor("image", many, data=many.tolist())]}
    assert served(files=3).post(f"{MODEL}/infer", json=body).status_code == 200


def test_a_bundle_of_two_views_takes_an_input_for_each(
    served: Served, folder: Path, tmp_path: Path, pictures: list[bytes]
) -> None:
    bundle, (module,) = read_bundle(folder)
    other = bundle.networks[0].model_copy(
        update={"images": bundle.networks[0].images.model_copy(update={"size": 48, "lungs": "none"})}
    )
    two = bundle.model_copy(update={"networks": (*bundle.networks, other)})
    write_bundle(tmp_path, [module, module], two, seen_rows(nothing()))
    predictor = Predictor(tmp_path)
    views = predictor.prepare(pictures[0])
    client = served(predictor)
    assert [each["shape"] for each in client.get(MODEL).json()["inputs"]] == [[-1, 64, 64], [-1, 48, 48]]
    inputs = [tensor(f"image_{number}", view[None]) for number, view in enumerate(views, 1)]
    answered = client.post(f"{MODEL}/infer", json={"inputs": inputs[::-1]})
    assert answered.json()["outputs"][0]["data"] == pytest.approx(predictor.scores(views)[0].tolist(), abs=1e-6)
    inputs[1] = tensor("image_2", np.repeat(views[1][None], 2, axis=0))
    answered = client.post(f"{MODEL}/infer", json={"inputs": inputs})
    assert "the same number of images" in answered.json()["error"]
