"""Near repeats: found when resized or resaved, and only then; the fast search against the obvious one."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxrflow.files import Root
from cxrflow.metadata.fingerprint import THUMBNAIL, difference_hash, fingerprint
from cxrflow.metadata.near import MOST_BITS, like_hashes, near_pairs

SAME = bytes(range(256)) * (THUMBNAIL**2 // 256)


def test_of_two_lists_the_like_hashes_are_named_by_their_positions() -> None:
    ours, seen = [0, 2**256 - 1, 5], [2**14 - 1, 2**15 - 1, 4]  # 14 bits from 0, 15 bits, 1 bit from 0 and from 5
    hashes, others = ([f"{number:064x}" for number in numbers] for numbers in (ours, seen))
    assert like_hashes(hashes, others).tolist() == [[0, 0], [0, 2], [2, 0], [2, 1], [2, 2]]
    assert like_hashes(hashes, []).shape == like_hashes([], others).shape == (0, 2)


@given(st.data())
def test_pairs_are_those_of_the_obvious_search(data) -> None:
    few = st.integers(0, 2**256 - 1)
    flips = st.sets(st.integers(0, 255), max_size=20)
    base = data.draw(st.lists(few, min_size=1, max_size=3))
    numbers = [
        data.draw(st.sampled_from(base)) ^ sum(1 << bit for bit in data.draw(flips))
        for _ in range(data.draw(st.integers(0, 12)))
    ]
    expected = [
        [i, j]
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if (numbers[i] ^ numbers[j]).bit_count() <= MOST_BITS
    ]
    assert near_pairs([f"{n:064x}" for n in numbers], [SAME] * len(numbers)).tolist() == expected


def test_pairs_among_many() -> None:
    """More pictures than the search compares at once; the repeats lie at both ends."""
    random = np.random.default_rng(0)
    hashes = [random.bytes(32).hex() for _ in range(1300)]
    for first, second in ((0, 1299), (1, 600), (511, 512), (700, 1200), (1297, 1298)):
        hashes[second] = hashes[first]
    assert near_pairs(hashes, [SAME] * 1300).tolist() == [[0, 1299], [1, 600], [511, 512], [700, 1200], [1297, 1298]]


def test_a_like_hash_alone_is_not_enough() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, THUMBNAIL**2)).astype(np.uint8)
    assert near_pairs(["0" * 64] * 2, [noise[0].tobytes(), noise[1].tobytes()]).tolist() == []
    # brighter and of more contrast is the same picture, the negative is not
    x = np.frombuffer(SAME, np.uint8)
    assert near_pairs(["0" * 64] * 2, [SAME, (x // 2 + 90).astype(np.uint8).tobytes()]).tolist() == [[0, 1]]
    assert near_pairs(["0" * 64] * 2, [SAME, (255 - x).tobytes()]).tolist() == []


@pytest.mark.parametrize(("wanted", "near"), [(0.98, True), (0.96, False), (0.6, False)])
def test_thumbnails_must_correlate_as_closely_as_the_limit_says(wanted, near) -> None:
    """A thumbnail mixed with another one that is uncorrelated with it, in the shares that give the correlation."""
    random = np.random.default_rng(0).normal(size=(2, THUMBNAIL**2))
    first = random[0] - random[0].mean()
    other = random[1] - random[1].mean()
    other -= first * (first @ other) / (first @ first)
    other *= np.linalg.norm(first) / np.linalg.norm(other)
    mixed = wanted * first + np.sqrt(1 - wanted**2) * other
    thumbnails = [np.rint(128 + 25 * grey).clip(0, 255).astype(np.uint8) for grey in (first, mixed)]
    assert np.corrcoef(*thumbnails)[0, 1] == pytest.approx(wanted, abs=0.005)
    assert near_pairs(["0" * 64] * 2, [grey.tobytes() for grey in thumbnails]).tolist() == ([[0, 1]] if near else [])


def test_flat_pictures_are_near_only_to_their_equals() -> None:
    flat = [bytes([shade]) * THUMBNAIL**2 for shade in (0, 0, 9)]
    assert near_pairs(["0" * 64] * 3, flat).tolist() == [[0, 1]]


def test_the_difference_hash_by_hand() -> None:
    """Rising to the right everywhere: every bit 1; falling: every bit 0; a step gives one 1 in each row."""
    rising = np.tile(np.arange(17, dtype=np.uint8), (16, 1))
    assert difference_hash(rising) == "f" * 64
    assert difference_hash(np.ascontiguousarray(rising[:, ::-1])) == "0" * 64
    assert difference_hash(np.where(rising > 8, 200, 10).astype(np.uint8)) == "0080" * 16


def _prints(folder, *pictures):
    (folder / "c").mkdir()
    prints = []
    for n, picture in enumerate(pictures):
        (folder / "c" / str(n)).write_bytes(picture)
        prints.append(fingerprint((Root(folder), f"c/{n}")))
        assert prints[-1].left_out is None
    return near_pairs([p.near_hash for p in prints], [p.thumbnail for p in prints]).tolist()


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


def test_different_pictures_are_not_near(tmp_path, picture) -> None:
    assert _prints(tmp_path, *[_saved(picture(seed)) for seed in range(40)]) == []


def test_few_shades_in_sixteen_bits_still_tell_pictures_apart(tmp_path, picture) -> None:
    """Eight bits in sixteen, as some exporters write them: the upper byte of every pixel is 0."""
    assert _prints(tmp_path, *[_saved(picture(seed).astype(np.uint16)) for seed in range(10)]) == []
    (tmp_path / "more").mkdir()
    same = [_saved(picture(1).astype(np.uint16)), _saved(picture(1))]
    assert _prints(tmp_path / "more", *same) == [[0, 1]]
