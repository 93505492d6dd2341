"""How well text burned into radiographs is found: text drawn onto real radiographs, and false alarms without any.

    python benchmarks/letters.py FOLDER [--images 120] [--sheets DIR]

FOLDER holds collections as for `make run`. Words and single letters of known place, height and contrast are drawn onto
frontal radiographs, each at a place where nothing is found before; half of the images (by their content) is for
choosing the threshold, the other half for the tables by height and contrast. Radiographs drawn without letters show
false alarms. --sheets draws what is found in the same real radiographs, for counting by eye.
"""

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from tables import table, track

from cxrflow.errors import LeftOut
from cxrflow.folders import Search
from cxrflow.reading import read, to_uint8
from cxrflow.reading.frontal import FLAG
from cxrflow.reading.letters import PLACE, Place, find_text
from cxrflow.statistics.figure import in_percent
from cxrflow.statistics.intervals import proportion
from cxrflow.synthetic.drawing import draw
from cxrflow.synthetic.people import SHARES, make_people, make_style

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
#: Height of capitals as a share of the image's longer side, in percent; and grey levels of 255 between text and ground.
HEIGHTS, CONTRASTS = (0.75, 1.0, 1.5, 2.5, 4.0), (15, 30, 60, 120)
TEXTS = {"word": ("PORTABLE", "AP SUPINE", "ERECT 14:35", "DOE JANE 57", "2020-03-14"), "letter": ("L", "R", "A", "D")}
_PASSES, _TEXTS = 2, 6  # passes over an image, and texts that are drawn in each
_LEAST = 7  # pixels of the radiograph; nobody could read smaller letters
_TILE, _ACROSS, _DOWN = 480, 4, 3  # of a contact sheet


class Drawn(NamedTuple):
    """A text that was drawn: kind, height (percent), contrast, the image (number), the best score of the places that
    cover at least half of it (0 if none does)."""

    kind: str
    height: float
    contrast: int
    image: int
    score: float


def main() -> None:
    """Draw, find, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=120, help="number of real radiographs, and of drawn ones")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    halves: tuple[list[Drawn], list[Drawn]] = [], []
    shown, times = [], []
    for number, grey in enumerate(track(_radiographs(asked.folder, asked.images), "text", total=asked.images)):
        started = time.process_time()
        before = find_text(grey, THRESHOLDS[0])
        times.append(time.process_time() - started)
        shown.append(_tile(grey, before))
        halves[number % 2].extend(_drawn_on(grey, before, number))
    alarms = [find_text(grey, THRESHOLDS[0]) for grey in track(_without(asked.images), "false alarms", asked.images)]
    if asked.sheets:
        _write_sheets(shown, asked.sheets)
    chosen, measured = halves
    print_thresholds(chosen, alarms[::2])
    for kind in TEXTS:
        print_found([each for each in measured if each.kind == kind])
    places = [np.array([any(place.score >= PLACE for place in found)]) for found in alarms[1::2]]
    wrong = np.concatenate(places)
    table(
        ("", "measured"),
        [
            ("drawn radiographs without letters in which text is found", in_percent(proportion(wrong, _each(wrong)))),
            ("milliseconds of one core for an image, median", f"{1000 * np.median(times):.0f}"),
            ("milliseconds, most", f"{1000 * max(times):.0f}"),
        ],
    )


def print_thresholds(drawn: Sequence[Drawn], alarms: Sequence[tuple[Place, ...]]) -> None:
    """Table by threshold: share of the drawn texts that are found, and of drawn radiographs with a false alarm."""
    rows = []
    for least in THRESHOLDS:
        found = [_found([each for each in drawn if each.kind == kind], least) for kind in TEXTS]
        wrong = np.array([any(place.score >= least for place in places) for places in alarms])
        rows.append(
            (f"{least}{' (chosen)' if least == PLACE else ''}", *found, in_percent(proportion(wrong, _each(wrong))))
        )
    table(("threshold", *(f"{kind}s found" for kind in TEXTS), "drawn radiographs with a false alarm"), rows)


def print_found(drawn: Sequence[Drawn]) -> None:
    """Table of the texts found, by height and contrast."""
    rows = []
    for height in HEIGHTS:
        of_height = [each for each in drawn if each.height == height]
        cells = [_found([each for each in of_height if each.contrast == contrast]) for contrast in CONTRASTS]
        rows.append((f"{height:g} %", *cells, _found(of_height)))
    kind = drawn[0].kind if drawn else ""
    table((f"height of {kind}s", *(f"{contrast} levels" for contrast in CONTRASTS), "all"), rows)


def _found(drawn: Sequence[Drawn], least: float = PLACE) -> str:
    hits = np.array([each.score >= least for each in drawn], np.bool_)
    return in_percent(proportion(hits, np.array([each.image for each in drawn])))


def _each(values: np.ndarray) -> np.ndarray:
    return np.arange(len(values))


def _radiographs(folder: Path, most: int) -> Iterator[np.ndarray]:
    """Frontal radiographs as read, of every collection about equally many, in the order of their contents' SHA-256."""
    collections = [each for each in sorted(folder.iterdir()) if each.is_dir()]
    queues = []
    for collection in collections:
        paths = [found.path for found in Search().images([collection]) if "mask" not in str(found.path)]
        queues.append(iter(sorted(paths, key=lambda path: hashlib.sha256(path.read_bytes()).hexdigest())))
    given = 0
    while queues and given < most:
        for queue in list(queues):
            grey = next(_frontal(queue), None)
            if grey is None:
                queues.remove(queue)
            elif given < most:
                given += 1
                yield grey


def _frontal(paths: Iterator[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        try:
            reading = read(path)
        except LeftOut:
            continue
        if reading.frontal >= FLAG and min(reading.shape) >= 256:
            yield reading.grey


def _drawn_on(grey: np.ndarray, before: Sequence[Place], number: int) -> Iterator[Drawn]:
    """What is found of texts drawn onto a radiograph."""
    rng = np.random.default_rng([number, 16])
    wanted = [
        (kind, height, contrast)
        for kind in TEXTS
        for height in HEIGHTS
        for contrast in CONTRASTS
        if height / 100 * max(grey.shape) >= _LEAST
    ]
    order = rng.permutation(len(wanted))
    for part in np.array_split(order[: _PASSES * _TEXTS], _PASSES):
        image, taken, drawn = to_uint8(grey).copy(), _mask(grey.shape, before, 3), []
        for kind, height, contrast in (wanted[k] for k in part):
            word = str(rng.choice(TEXTS[kind]))
            ink = _ink(word, height / 100 * max(grey.shape), rng)
            if (box := _write(image, taken, ink, contrast, rng)) is not None:
                drawn.append((kind, height, contrast, box))
        places = find_text(image, THRESHOLDS[0])
        for kind, height, contrast, (top, left, bottom, right) in drawn:
            covering = [
                place.score for place in places if _mask(grey.shape, [place], 0)[top:bottom, left:right].mean() >= 0.5
            ]
            yield Drawn(kind, height, contrast, number, max(covering, default=0.0))


def _ink(word: str, height: float, rng: np.random.Generator) -> np.ndarray:
    """A word as a mask, float32 in [0, 1], with capitals of ``height`` pixels, in one of four fonts."""
    if rng.random() < 0.5:
        name = str(rng.choice(["DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif"]))
        font = ImageFont.truetype(font_manager.findfont(name), max(4, round(height / 0.73)))
        canvas = Image.new("L", (round(height * 1.2 * len(word)) + 40, round(3 * height) + 20))
        ImageDraw.Draw(canvas).text((10, 5), word, fill=255, font=font)
        ink = np.asarray(canvas)
    else:
        ink = np.zeros((round(3 * height) + 20, round(height * 1.5 * len(word)) + 40), np.uint8)
        at, thick = (10, round(2 * height)), max(1, round(height / 8))
        cv2.putText(ink, word, at, cv2.FONT_HERSHEY_SIMPLEX, height / 21, 255, thick, cv2.LINE_AA)
    left, top, wide, high = cv2.boundingRect((ink > 64).astype(np.uint8))
    return ink[top : top + high, left : left + wide].astype(np.float32) / 255


def _write(
    image: np.ndarray, taken: np.ndarray, ink: np.ndarray, contrast: int, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """Write a mask into the image, so many levels brighter than the ground, at a random free place where that can be.
    Returns top, left, bottom, right; None if no place is found."""
    high, wide = ink.shape
    for _ in range(200):
        top, left = (
            int(rng.integers(1, max(2, side - length))) for side, length in zip(image.shape, ink.shape, strict=True)
        )
        here = np.s_[top : top + high, left : left + wide]
        ground = image[here]
        if ground.shape != ink.shape or taken[here].any() or np.quantile(ground, 0.9) + contrast > 255:
            continue
        text = np.median(ground) + contrast
        image[here] = np.rint(ground * (1 - ink) + np.maximum(text, ground) * ink)
        taken[max(0, top - high) : top + 2 * high, max(0, left - 2 * high) : left + wide + 2 * high] = True
        return top, left, top + high, left + wide
    return None


def _mask(shape: tuple[int, ...], places: Sequence[Place], margin: int) -> np.ndarray:
    mask = np.zeros(shape, np.bool_)
    for place in places:
        rows = slice(max(0, place.top - margin), place.top + place.height + margin)
        mask[rows, max(0, place.left - margin) : place.left + place.width + margin] = True
    return mask


def _without(count: int) -> Iterator[np.ndarray]:
    """Radiographs drawn without letters, in the styles of all collections."""
    rng = np.random.default_rng(16)
    for person in make_people(count, (0.4, 0.3, 0.3, 0.0), rng):
        style = replace(make_style(str(rng.choice(list(SHARES))), rng), marker="")
        pixels = draw(person.patient, person.kind, style, int(rng.integers(2**31))).pixels
        yield np.round(pixels * 255).astype(np.uint8)


def _tile(grey: np.ndarray, places: Sequence[Place]) -> np.ndarray:
    """A small picture with the places round what is found: green from the threshold on, red below."""
    scale = _TILE / max(grey.shape)
    small = cv2.resize(to_uint8(grey), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    out = np.zeros((_TILE, _TILE, 3), np.uint8)
    out[: small.shape[0], : small.shape[1]] = small[:_TILE, :_TILE, None]
    for place in places:
        left, top, right, bottom = (
            round(scale * side) for side in (place.left, place.top, place.left + place.width, place.top + place.height)
        )
        colour = (0, 255, 0) if place.score >= PLACE else (0, 0, 255)
        cv2.rectangle(out, (left, top), (right, bottom), colour, 1)
        cv2.putText(out, f"{place.score:.2f}", (left, max(top - 2, 8)), cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1)
    return out


def _write_sheets(tiles: Sequence[np.ndarray], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    empty, size = np.zeros((_TILE, _TILE, 3), np.uint8), _ACROSS * _DOWN
    for start in range(0, len(tiles), size):
        sheet = [*tiles[start : start + size], *[empty] * size][:size]
        rows = [np.hstack(sheet[k : k + _ACROSS]) for k in range(0, size, _ACROSS)]
        cv2.imwrite(str(folder / f"sheet-{start // size + 1}.png"), np.vstack(rows))


if __name__ == "__main__":
    main()
