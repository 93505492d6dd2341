"""Where heat lies and what it depends on, on heat maps and networks that are known."""

from collections.abc import Callable
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from cxrflow.audit.pictures import Pictures
from cxrflow.audit.plots import panels
from cxrflow.audit.source_probe import network_features
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD
from cxrflow.audit.where import Heat, heat_of, occlusion, randomised, sanity, where_it_looks
from cxrflow.predictor import Predictor

SIDE = 32
LABELS = np.arange(40) // 2 % 3
LUNGS = np.zeros((SIDE, SIDE), np.bool_)
LUNGS[8:24, 6:14] = LUNGS[8:24, 18:26] = True


def spots(row: int, column: int) -> np.ndarray:
    maps = np.zeros((40, SIDE, SIDE), np.float32)
    maps[:, row, column] = 1
    return maps


INSIDE, OUTSIDE = spots(12, 10), spots(2, 2)


def heat(where: np.ndarray, random: np.ndarray = OUTSIDE) -> Heat:
    return Heat(where, where, where, random)


@pytest.mark.parametrize(
    ("maps", "told", "verdict"), [(INSIDE, True, NOT_FOUND), (OUTSIDE, True, FOUND), (OUTSIDE, False, UNTOLD)]
)
def test_heat_beside_the_lungs_is_found(
    pictures: Callable[..., Pictures], maps: np.ndarray, told: bool, verdict: str
) -> None:
    made = pictures(mark=LABELS, labels=LABELS)
    found = where_it_looks(made, heat(maps), [None] * 40, told)
    assert found["verdict"] == verdict
    shares = found["figures"]["shares"]["occlusion"]
    assert shares["heat"]["value"] == pytest.approx(float(maps is INSIDE))
    assert shares["area"]["value"] == pytest.approx(LUNGS.mean())
    assert found["figures"]["pointing"]["value"] is None


def test_pointing_counts_pictures_whose_hottest_point_is_ill(pictures: Callable[..., Pictures]) -> None:
    ill, elsewhere = np.zeros((SIDE, SIDE), np.bool_), np.zeros((SIDE, SIDE), np.bool_)
    ill[10:14, 8:12] = elsewhere[20:22, 20:22] = True
    opacities = [ill, elsewhere, np.zeros_like(ill), None] * 10
    found = where_it_looks(pictures(mark=LABELS, labels=LABELS), heat(INSIDE), opacities, True)
    assert (found["figures"]["pointing"]["value"], found["figures"]["pointing"]["n"]) == (0.5, 20)


def test_maps_that_ignore_the_weights_tell_nothing(pictures: Callable[..., Pictures]) -> None:
    made = pictures(mark=LABELS, labels=LABELS)
    rng = np.random.default_rng(0)
    maps, others = rng.random((2, 40, SIDE, SIDE)).astype(np.float32)
    passed = sanity(made, heat(maps, others))
    assert passed["verdict"] == NOT_FOUND
    assert passed["figures"]["rank correlation"]["value"] == pytest.approx(0, abs=0.1)
    failed = sanity(made, heat(maps, maps))
    assert failed["verdict"] == UNTOLD
    assert failed["figures"]["rank correlation"]["value"] == pytest.approx(1)
    assert failed["figures"]["SSIM"]["value"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("flat", "verdict"), [(np.s_[:0], NOT_FOUND), (np.s_[:16], NOT_FOUND), (np.s_[:24], UNTOLD), (np.s_[:], UNTOLD)]
)
def test_flat_maps_are_not_compared(pictures: Callable[..., Pictures], flat: slice, verdict: str) -> None:
    made = pictures(mark=LABELS, labels=LABELS)
    maps, others = np.random.default_rng(0).random((2, 40, SIDE, SIDE)).astype(np.float32)
    ours, theirs = maps.copy(), others.copy()
    ours[flat] = theirs[flat] = 1 - 1e-6 * maps[flat]  # flat, but for rounding
    for pair in (heat(ours, others), heat(maps, theirs)):
        found = sanity(made, pair)
        assert found["verdict"] == verdict
        assert found["figures"]["SSIM"].get("n", 0) == 40 - len(maps[flat])
    assert ("flat" in found["figures"]["SSIM"].get("reason", "")) == (flat == np.s_[:])


def test_a_random_network_whose_map_is_flat_gives_way_to_the_next(
    pictures: Callable[..., Pictures], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pictures(mark=LABELS[:2], labels=LABELS[:2])

    def twin(_: Predictor, seed: int) -> Mock:
        return Mock(heat_map=lambda *_: spots(3, 4)[0] if seed >= 9 else np.zeros((SIDE, SIDE), np.float32))

    monkeypatch.setattr("cxrflow.audit.where.randomised", twin)
    assert np.array_equal(heat_of(predictor, made, 7).random, spots(3, 4)[:2])
    assert not heat_of(predictor, made, 0).random.any()


def test_occlusion_is_hot_where_the_score_falls(predictor: Predictor) -> None:
    """A network whose logit is the brightness of one corner of the picture."""

    class Corner(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0, :8, :8].mean(dim=(1, 2))[:, None] * torch.tensor([[1.0, 0.0, -1.0]])

    trained = predictor.network
    predictor.network = Corner()
    try:
        image = np.full((SIDE, SIDE), 255, np.uint8)
        found = occlusion(predictor, image, "covid")
        against = occlusion(predictor, image, "pneumonia")
    finally:
        predictor.network = trained
    assert found.shape == (SIDE, SIDE)
    assert np.unravel_index(found.argmax(), found.shape)[0] < 8
    assert found[:8, :8].min() > 0
    assert not found[12:].any()
    assert not against.any()  # covering the corner raises that score


def test_random_weights_are_others_and_leave_the_network_alone(predictor: Predictor) -> None:
    before = {name: value.clone() for name, value in predictor.network.state_dict().items()}
    twin, again = randomised(predictor, 3), randomised(predictor, 3)
    for name, value in predictor.network.state_dict().items():
        assert torch.equal(value, before[name])
    for (name, ours), theirs, same in zip(
        predictor.network.named_parameters(), twin.network.parameters(), again.network.parameters(), strict=True
    ):
        assert torch.equal(theirs, same)
        if ours.dim() > 1:
            assert not torch.equal(ours, theirs), name
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    assert not np.array_equal(twin.scores(image[None]), predictor.scores(image[None]))
    assert twin.heat_map(image, "covid").shape == (SIDE, SIDE)


def test_features_are_what_the_last_layer_sees(predictor: Predictor) -> None:
    images = np.random.default_rng(1).integers(0, 256, (70, SIDE, SIDE)).astype(np.uint8)
    features = network_features(predictor, images)
    assert features.shape == (70, 512)
    with torch.no_grad():
        logits = predictor.network.fc(torch.from_numpy(features)).double().softmax(dim=1).numpy()
    assert logits == pytest.approx(predictor.scores(images), abs=1e-5)


def test_panels_show_each_picture_four_times(pictures: Callable[..., Pictures]) -> None:
    content = panels(pictures(mark=LABELS, labels=LABELS), heat(INSIDE))
    assert content.startswith(b"\x89PNG")
