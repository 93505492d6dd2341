"""The one predictor: scores and heat maps against the network itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn import functional

from cxrflow.bundle import Bundle, seen_rows, write_bundle
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.explanation.explain import _choose, overlay
from cxrflow.models import MODELS
from cxrflow.params import load_params
from cxrflow.predictor import Predictor, find_images, predict_files
from cxrflow.reading.frontal import FLAG
from cxrflow.records import CLASSES


@pytest.fixture(scope="module", params=[1, 3])
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    torch.manual_seed(1)
    images = load_params(Path(__file__).parents[1] / "params.yaml").images
    bundle = Bundle(
        cxrflow="0", model="resnet18", classes=CLASSES, images=images.model_copy(update={"channels": request.param}),
        mean=0.4, std=0.2, temperature=2.0, sources={}, epoch=0, validation={}, digests={},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("bundle")
    network = MODELS["resnet18"].build(request.param, 3)
    network.train()(torch.randn(8, request.param, 64, 64))  # some statistics for batch normalisation
    empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
    write_bundle(folder, network, bundle, seen_rows(empty))
    return Predictor(folder)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 64, 64)).astype(np.uint8)


def by_hand(predictor: Predictor, pictures: np.ndarray) -> torch.Tensor:
    pixels = (torch.from_numpy(pictures).float() / 255 - 0.4) / 0.2
    planes = pixels[:, None].repeat(1, predictor.bundle.images.channels, 1, 1)
    return predictor.network(planes.to(predictor.device)).cpu()


def test_scores_are_the_networks_with_the_temperature(predictor: Predictor, pictures: np.ndarray) -> None:
    with torch.no_grad():
        expected = functional.softmax(by_hand(predictor, pictures).double() / 2.0, dim=1).numpy()
    scores = predictor.scores(pictures)  # more than one batch
    assert scores.shape == (70, 3)
    assert scores == pytest.approx(expected, abs=1e-5)
    assert predictor.scores(pictures[:0]).shape == (0, 3)


def test_heat_map_is_grad_cam_as_published(predictor: Predictor, pictures: np.ndarray) -> None:
    """Selvaraju et al. 2017, equations 1 and 2, computed here with autograd on the layer's output."""
    network = predictor.network
    layer = MODELS["resnet18"].gradcam_layer(network, predictor.bundle.images.size)
    kept: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda *args: kept.append(args[2]))
    for label in CLASSES:
        kept.clear()
        logits = by_hand(predictor, pictures[:1])
        gradient = torch.autograd.grad(logits[0, CLASSES.index(label)], kept[0])[0]
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        cam = functional.relu((weights * kept[0]).sum(dim=1, keepdim=True))
        full = functional.interpolate(cam, (64, 64), mode="bilinear", align_corners=False)[0, 0]
        expected = (full / full.max() if full.max() > 0 else full).detach().cpu().numpy()
        heat = predictor.heat_map(pictures[0], label)
        assert heat.shape == (64, 64)
        assert heat == pytest.approx(expected, abs=1e-4)
    handle.remove()


def test_predictions_flag_what_is_no_frontal_radiograph_and_turn_inverted_ones(
    predictor: Predictor, drawn: list[np.ndarray], picture: Callable[..., np.ndarray], engine: Engine, tmp_path: Path
) -> None:
    for name, grey in {"a": drawn[0], "inverted": 255 - drawn[0], "other": picture(1)}.items():
        Image.fromarray(grey).save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text("text")
    table = predict_files(predictor, find_images([tmp_path]), engine, tmp_path / "out.csv")
    flags = [None, "lay inverted and was turned", "does not look like a frontal chest radiograph", None]
    assert table.flag.fillna("").tolist() == [flag or "" for flag in flags]
    assert (table.frontal >= FLAG).tolist() == [True, True, False, False]
    assert table.loc[0, list(CLASSES)].tolist() == table.loc[1, list(CLASSES)].tolist()
    assert table.loc[2, list(CLASSES)].notna().all()  # flagged, and scored all the same
    written = pd.read_csv(tmp_path / "out.csv")
    assert written.columns.tolist() == ["path", *CLASSES, "prediction", "frontal", "flag", "left_out"]
    assert "not an image" in written.left_out[3]


def test_overlay_leaves_cold_places_as_they_are() -> None:
    image = np.full((8, 8), 90, dtype=np.uint8)
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[2, 3] = 1
    picture = overlay(image, heat)
    assert (picture[heat == 0] == 90).all()
    assert (picture[2, 3] != 90).any()


def test_examples_run_from_the_surest_to_the_least_sure() -> None:
    rows = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(9)],
            "label": "covid",
            "prediction": ["covid"] * 7 + ["normal"] * 2,
            "score": [0.4, 0.9, 0.5, 0.6, 0.8, 0.7, 0.95, 0.99, 0.5],
        }
    )
    assert _choose(rows, "covid", True, 3).image_id.tolist() == ["i6", "i5", "i0"]
    assert _choose(rows, "covid", False, 5).image_id.tolist() == ["i7", "i8"]
    assert _choose(rows, "normal", True, 2).empty


def test_images_are_found_in_folders_and_what_is_absent_is_said(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/deep/x.dcm", "notes.txt", "odd.name"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "IM000001").write_bytes(bytes(128) + b"DICM")  # as archives export them
    found = [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path, tmp_path / "odd.name"])]
    assert found == ["IM000001", "a/deep/x.dcm", "b.PNG", "odd.name"]
    with pytest.raises(CxrflowError, match="no such file"):
        find_images([tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CxrflowError, match="no image found"):
        find_images([tmp_path / "empty"])
