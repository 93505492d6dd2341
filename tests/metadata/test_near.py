"""Near repeats: found when resized, resaved, cropped or of another exposure, and only then."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxrflow.files import Root
from cxrflow.metadata import near
from cxrflow.metadata.fingerprint import fingerprint
from cxrflow.metadata.near import correlation, near_pairs
from cxrflow.metadata.near_hash import THUMBNAIL, thumbnail
from cxrflow.reading import read_radiograph


def test_every_copy_of_many_is_linked(picture) -> None:
    """More copies than neighbours are asked for at first, each a little brighter, and 60 of the same bytes."""
    original = picture(3, THUMBNAIL)
    brighter = [(original // 2 + shade).astype(np.uint8).tobytes() for shade in range(30)]
    others = [picture(seed, THUMBNAIL).tobytes() for seed in range(4, 9)]
    pairs = near_pairs([*brighter, *others, *[brighter[0]] * 60])
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(95, 95))
    component = connected_components(graph, directed=False)[1]
    assert len(set(component[:30]) | set(component[35:])) == 1
    assert len(set(component)) == 6


def test_no_more_neighbours_are_asked_for_than_are_alike(picture, monkeypatch) -> None:
    """Memory of the search grows with their number: a copy without other neighbours must not ask for all images."""
    asked = []
    search = near._neighbours
    monkeypatch.setattr(near, "_neighbours", lambda *given: asked.append(given[-1]) or search(*given))
    thumbnails = [picture(seed, THUMBNAIL) for seed in range(40)]
    pairs = near_pairs([picture.tobytes() for picture in [*thumbnails, thumbnails[0] // 2]])
    assert pairs.tolist() == [[0, 40]]
    assert max(asked) < len(thumbnails) - 1


def test_the_negative_is_another_picture_and_a_flat_one_is_near_to_none(picture) -> None:
    grey = picture(0, THUMBNAIL)
    assert near_pairs([grey.tobytes(), (255 - grey).tobytes()]).tolist() == []
    flat = [bytes([shade]) * THUMBNAIL**2 for shade in (0, 0, 9)]
    assert near_pairs(flat).tolist() == []
    assert near_pairs([]).shape == near_pairs([flat[0]]).shape == (0, 2)


def test_the_correlation_of_an_aligned_copy_is_one(picture) -> None:
    grey = picture(1, THUMBNAIL)
    assert correlation(grey.tobytes(), grey.tobytes()) == pytest.approx(1, abs=1e-4)
    moved = cv2.warpAffine(grey, np.float32([[1, 0, 2], [0, 1, -3]]), grey.shape, borderMode=cv2.BORDER_REPLICATE)
    assert correlation(grey.tobytes(), moved.tobytes()) > 0.95


def _prints(folder, *pictures):
    (folder / "c").mkdir()
    prints = []
    for n, picture in enumerate(pictures):
        (folder / "c" / str(n)).write_bytes(picture)
        prints.append(fingerprint((Root(folder), f"c/{n}")))
        assert prints[-1].left_out is None
    return near_pairs([p.thumbnail for p in prints]).tolist()


def _saved(array, kind="PNG", **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_resized_resaved_or_deepened_is_found(tmp_path, picture, seed) -> None:
    original = picture(seed, 256)
    smaller = cv2.resize(original, (150, 150), interpolation=cv2.INTER_AREA)
    twelve_bits = original.astype(np.uint16) * 16
    copies = [_saved(original), _saved(original, "JPEG", quality=40), _saved(smaller), _saved(twelve_bits)]
    assert _prints(tmp_path, *copies) == [[i, j] for i in range(4) for j in range(i + 1, 4)]


@pytest.fixture(scope="module")
def radiographs(real_data) -> list[np.ndarray]:
    """30 real radiographs of as many people, at most 512 pixels wide or high."""
    files = sorted((real_data / "sources" / "nih-chestxray14" / "images").glob("*_000.png"))[:30]
    return [cv2.resize(read_radiograph(file), (512, 512), interpolation=cv2.INTER_AREA) for file in files]


def _cropped(grey: np.ndarray, top: float, bottom: float, left: float, right: float) -> np.ndarray:
    height, width = grey.shape
    return grey[int(height * top) : height - int(height * bottom), int(width * left) : width - int(width * right)]


CHANGES = {
    "3 % off each side": lambda grey: _cropped(grey, 0.03, 0.03, 0.03, 0.03),
    "5 % off each side": lambda grey: _cropped(grey, 0.05, 0.05, 0.05, 0.05),
    "8 % off the top": lambda grey: _cropped(grey, 0.08, 0, 0, 0),
    "CLAHE": lambda grey: cv2.createCLAHE(2, (8, 8)).apply(grey),
    "equalised": cv2.equalizeHist,
    "cropped and equalised": lambda grey: cv2.equalizeHist(_cropped(grey, 0.05, 0.05, 0.05, 0.05)),
    "framed": lambda grey: cv2.copyMakeBorder(grey, 40, 40, 90, 90, cv2.BORDER_CONSTANT, value=0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_of_a_real_radiograph_is_found_and_no_other_person(change, radiographs) -> None:
    copies = [CHANGES[change](grey) for grey in radiographs]
    pairs = near_pairs([thumbnail(grey).tobytes() for grey in (*radiographs, *copies)])
    assert pairs.tolist() == [[i, i + len(radiographs)] for i in range(len(radiographs))]


def test_different_pictures_are_not_near(tmp_path, picture) -> None:
    assert _prints(tmp_path, *[_saved(picture(seed)) for seed in range(40)]) == []


def test_few_shades_in_sixteen_bits_still_tell_pictures_apart(tmp_path, picture) -> None:
    """Eight bits in sixteen, as some exporters write them: the upper byte of every pixel is 0."""
    assert _prints(tmp_path, *[_saved(picture(seed).astype(np.uint16)) for seed in range(10)]) == []
    (tmp_path / "more").mkdir()
    same = [_saved(picture(1).astype(np.uint16)), _saved(picture(1))]
    assert _prints(tmp_path / "more", *same) == [[0, 1]]


def test_the_search_of_many_images_in_cells_finds_the_same_pairs(drawn, monkeypatch) -> None:
    copies = [cv2.resize(grey, (200, 180), interpolation=cv2.INTER_AREA) for grey in drawn[:5]]
    prints = [thumbnail(grey).tobytes() for grey in (*drawn, *copies)]
    exact = near_pairs(prints)
    assert [[n, len(drawn) + n] for n in range(5)] == exact.tolist()
    monkeypatch.setattr(near, "_EXACT", 10)
    assert near_pairs(prints).tolist() == exact.tolist()
