"""Pasted borders and exposure against scores whose reasons are known."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from cxrflow.audit.context import Audited
from cxrflow.audit.pictures import grown
from cxrflow.audit.swaps import donors, match_exposure, match_texture, paste_frame, run, typical
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD

LABELS = np.arange(60) // 2 % 3  # the two pictures of a group are of one class


@pytest.mark.parametrize("classes", ["two_classes", "task", "four_classes"])
def test_scores_that_read_the_mark_are_found_and_those_that_read_disease_are_not(
    hospital: Callable[..., Audited], request: pytest.FixtureRequest, classes: str
) -> None:
    task = request.getfixturevalue(classes)
    labels = np.arange(20 * len(task.order)) // 2 % len(task.order)
    by_mark, by_disease = (run(hospital(labels, task=task, reads=what)) for what in ("mark", "disease"))
    assert by_mark.verdict == FOUND
    towards = by_mark.figures["towards"]["surroundings"]
    assert towards.value == pytest.approx(1, abs=0.05)  # sure of the class pasted, where it was sure of its own
    assert "another class's border pasted in" in by_mark.words
    assert by_disease.verdict == CLEAR
    assert by_disease.figures["towards"]["surroundings"].value == pytest.approx(0, abs=1e-9)


def test_a_mark_that_is_tied_to_nothing_is_no_shortcut(hospital: Callable[..., Audited]) -> None:
    loose = hospital(LABELS, np.random.default_rng(3).permutation(LABELS), reads="mark")
    assert run(loose).figures["towards"]["surroundings"].low < 0.03


def test_scores_that_read_exposure_are_found(hospital: Callable[..., Audited]) -> None:
    exposures = np.array([1.0, 0.7, 0.4])

    def reads_exposure(some: np.ndarray) -> np.ndarray:
        apart = (some.mean(axis=(1, 2))[:, None] / 100 - exposures) ** 2
        weights = np.exp(-200 * apart)
        return weights / weights.sum(axis=1, keepdims=True)

    context, plain = hospital(LABELS, reads=reads_exposure), hospital(LABELS * 0).dataset.pixels()
    context.dataset.store.images[:] = plain * exposures[LABELS][:, None, None]
    found = run(context)
    assert found.verdict == FOUND
    assert found.figures["towards"]["exposure"].low > 0.5


def test_scores_that_read_sharpness_are_found_and_those_that_read_disease_are_not(
    hospital: Callable[..., Audited],
) -> None:
    sharpness = [0.0, 0.8, 1.6]  # sigma of a blur

    def reads_sharpness(some: np.ndarray) -> np.ndarray:
        fine = np.log(np.diff(some[:, -5:].astype(float), axis=2).std(axis=(1, 2)) + 0.1)
        weights = np.exp(-8 * (fine[:, None] - np.log([7.3, 3.0, 1.2])) ** 2)
        return weights / weights.sum(axis=1, keepdims=True)

    for reads, verdict in ((reads_sharpness, FOUND), ("disease", CLEAR)):
        context = hospital(LABELS, LABELS * 0, reads=reads)
        for k, image in enumerate(context.dataset.store.images):
            if sigma := sharpness[LABELS[k]]:
                blurred = cv2.GaussianBlur(image, (0, 0), sigma)
                context.dataset.store.images[k] = np.where(context.dataset.store.lungs[k], image, blurred)
        found = run(context)
        assert found.verdict == verdict
        assert (found.figures["towards"]["texture"].low > 0.05) == (verdict == FOUND)


def test_flips_are_counted_for_each_change(hospital: Callable[..., Audited]) -> None:
    flips = run(hospital(LABELS)).figures["flips"]
    assert flips["border of another source"].value == flips["side marker of another source"].value == 0
    assert flips["darker"].value > 0  # 15 % of 150 to 200 is more than half a class
    one_source = run(hospital(LABELS, sources=1)).figures["flips"]
    assert one_source["border of another source"].reason == "there is one source only"
    assert one_source["blurred"].known


def test_one_class_alone_tells_nothing(hospital: Callable[..., Audited]) -> None:
    found = run(hospital(np.zeros(8, int), reads="mark"))
    assert found.verdict == UNTOLD
    assert "another class" in found.figures["towards"]["surroundings"].reason


def test_a_frame_is_pasted_but_never_over_lungs(hospital: Callable[..., Audited]) -> None:
    made = hospital(LABELS).views[0]
    rows, others = np.array([0, 1]), np.array([2, 5])
    pasted = paste_frame(made, rows, others)
    frame = np.ones(made.images.shape[1:], bool)
    frame[5:-5, 5:-5] = False
    taken = frame & ~grown(made.lungs[:1], 0.03)[0]
    assert np.array_equal(pasted[:, taken], made.images[others][:, taken])
    assert np.array_equal(pasted[:, ~taken], made.images[rows][:, ~taken])


def test_exposure_matches_what_lies_outside_the_lungs(hospital: Callable[..., Audited]) -> None:
    made = hospital(LABELS).views[0]
    images = made.images.copy()
    images[1] = np.clip(images[1] * 0.5 + 10, 0, 255).astype(np.uint8)
    matched = match_exposure(replace(made, images=images), np.array([0]), np.array([1]))[0]
    outside = ~grown(made.lungs[:1], 0.03)[0]
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(matched[outside], share) == pytest.approx(np.quantile(images[1][outside], share), abs=2)
    same = match_exposure(made, np.array([4]), np.array([4]))[0]
    assert np.abs(same.astype(int) - made.images[4]).max() <= 2


def test_texture_becomes_that_outside_the_lungs_in_strength_and_direction(hospital: Callable[..., Audited]) -> None:
    made, rng = hospital(LABELS).views[0], np.random.default_rng(5)
    images = made.images.copy()
    images[0] = np.clip(rng.normal(120, 4, (32, 32)), 0, 255)
    images[1] = np.clip(120 + cv2.GaussianBlur(rng.normal(0, 40, (32, 32)), (0, 0), sigmaX=3, sigmaY=0.1), 0, 255)
    images[2] = images[1]
    images[2][made.lungs[2]] = rng.integers(0, 255, made.lungs[2].sum())  # what is in the lungs does not matter
    pictures = replace(made, images=images)
    across, along = (np.abs(np.diff(images[1].astype(float), axis=axis)).mean() for axis in (0, 1))
    assert across > 3 * along
    for donor in (1, 2):
        matched = match_texture(pictures, np.array([0]), np.array([donor]))[0].astype(float)
        assert np.abs(np.diff(matched, axis=0)).mean() > 2 * np.abs(np.diff(matched, axis=1)).mean()
        assert 1.5 * images[0].std() < matched.std() < 1.3 * images[1].std()
        assert matched.mean() == pytest.approx(images[0].mean(), abs=1)
    covered = replace(made, lungs=made.lungs | (np.arange(len(made)) == 7)[:, None, None])  # nothing outside lungs
    for row, donor in ((4, 4), (4, 7), (7, 4)):
        same = match_texture(covered, np.array([row]), np.array([donor]))[0]
        assert np.abs(same.astype(int) - made.images[row]).max() <= 1


def test_donors_are_of_the_sources_in_which_their_class_is_frequent(hospital: Callable[..., Audited]) -> None:
    labels = np.repeat([0, 0, 1, 1, 2, 2], 20)
    context = hospital(labels)
    places = np.where(np.arange(120) % 10 < 8, labels, (labels + 1) % 3)  # 80 % of a class are in its own source
    context.dataset.records["source"] = [f"s{place}" for place in places]
    assert typical(context).tolist() == [((labels == c) & (places == c)).tolist() for c in range(3)]
    context = hospital(labels)
    context.dataset.records["source"] = np.where(np.arange(120) < 18, "s0", "s1")  # nine groups are too few
    assert typical(context)[0].tolist() == (labels == 0).tolist()
    context = hospital(labels)
    halves = np.where(np.arange(120) % 20 < 11, labels, (labels + 1) % 3)  # odds 11/9, twice those of a third are 1
    context.dataset.records["source"] = [f"s{place}" for place in halves]
    assert typical(context).tolist() == [((labels == c) & (halves == c)).tolist() for c in range(3)]
    context = hospital(labels)
    spread = (labels + np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])[np.arange(120) % 10]) % 3  # 40 % are in their own
    context.dataset.records["source"] = [f"s{place}" for place in spread]
    assert typical(context).tolist() == [(labels == c).tolist() for c in range(3)]


def test_donors_are_allowed_and_used_alike() -> None:
    allowed = np.random.default_rng(0).random((90, 30)) < 0.5
    allowed[7] = False
    chosen = donors(allowed, np.random.default_rng(1))
    assert chosen[7] == -1
    assert all(allowed[row, column] for row, column in enumerate(chosen) if row != 7)
    assert np.bincount(np.delete(chosen, 7), minlength=30).max() <= 5
