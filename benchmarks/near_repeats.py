"""How well near repeats are found: changed copies of real radiographs against a whole set, and false pairs.

    python benchmarks/near_repeats.py SOURCES [--rounds 2] [--images 100000]

SOURCES is a folder of collections. Prints a table of changes, with how many changed copies are found by the metadata
stage (in one group with the original) and, by the near hash of the original or of the copy, by a bundle; the most alike
images of different groups; and time and memory for ``images`` mixtures of two images each.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from tables import table

from cxrflow.engines import LocalEngine
from cxrflow.metadata.build import FINGERPRINTS, build_records
from cxrflow.metadata.fingerprint import fingerprints
from cxrflow.metadata.groups import components
from cxrflow.metadata.near import near_pairs
from cxrflow.metadata.near_hash import SAME, SIMILAR, agreement, near_hash, thumbnail
from cxrflow.params import Sources
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.reading import read_radiograph, to_uint8
from cxrflow.reading.frontal import FLAG

PROJECT = Path(__file__).parents[1]
Change = Callable[[np.ndarray], np.ndarray]


def crop(grey: np.ndarray, top: float = 0, bottom: float = 0, left: float = 0, right: float = 0) -> np.ndarray:
    """Cut shares off."""
    height, width = grey.shape
    rows = slice(round(height * top), height - round(height * bottom))
    return grey[rows, round(width * left) : width - round(width * right)]


def square(grey: np.ndarray) -> np.ndarray:
    """The largest square in the middle."""
    height, width = grey.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return grey[top : top + side, left : left + side]


def framed(grey: np.ndarray, share: float) -> np.ndarray:
    """In a black frame, whose width is a share of the sides."""
    height, width = (round(side * share) for side in grey.shape)
    return cv2.copyMakeBorder(grey, height, height, width, width, cv2.BORDER_CONSTANT, value=0)


def padded(grey: np.ndarray) -> np.ndarray:
    """In the middle of a black square."""
    height, width = grey.shape
    out = np.zeros((max(height, width),) * 2, np.uint8)
    top, left = (len(out) - height) // 2, (len(out) - width) // 2
    out[top : top + height, left : left + width] = grey
    return out


def resaved(grey: np.ndarray, quality: int) -> np.ndarray:
    """Saved as JPEG."""
    return cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def rotated(grey: np.ndarray, degrees: float) -> np.ndarray:
    """Rotated about its middle, corners black."""
    height, width = grey.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(grey, matrix, (width, height))


def annotated(grey: np.ndarray) -> np.ndarray:
    """With an arrow and letters burnt in."""
    out, (height, width) = grey.copy(), grey.shape
    cv2.arrowedLine(out, (width // 5, height // 5), (width // 2, height // 2), 255, max(2, width // 80))
    return cv2.putText(out, "AP 12:30 R", (width // 10, height // 10), 0, width / 350, 255, max(1, width // 200))


def changes() -> Iterator[tuple[str, str, Change]]:
    """Each change: its kind, its strength, and the function of a uint8 image."""
    for share in (0.01, 0.02, 0.03, 0.05, 0.08, 0.1):
        yield "cropped at each side", f"{share:.0%}", lambda grey, s=share: crop(grey, s, s, s, s)
    for share in (0.05, 0.08, 0.15):
        yield "cropped at the top", f"{share:.0%}", lambda grey, s=share: crop(grey, top=s)
    for share in (0.05, 0.1):
        yield "cropped at one side", f"{share:.0%}", lambda grey, s=share: crop(grey, left=s)
    yield "centre square", "", square
    for limit in (2, 3, 4):
        yield "CLAHE, clip limit", f"{limit}", lambda grey, k=limit: cv2.createCLAHE(k, (8, 8)).apply(grey)
    yield "equalised", "", cv2.equalizeHist
    for power in (0.6, 0.8, 1.3, 1.7):
        yield "gamma", f"{power}", lambda grey, p=power: np.rint(255 * (grey / 255.0) ** p).astype(np.uint8)
    yield "brighter, clipped", "+60", lambda grey: cv2.add(grey, 60)
    for side in (299, 256, 224, 128):
        yield "resized", f"{side} x {side}", lambda grey, s=side: cv2.resize(grey, (s, s), interpolation=cv2.INTER_AREA)
    for quality in (50, 30, 10):
        yield "JPEG, quality", f"{quality}", lambda grey, q=quality: resaved(grey, q)
    for width in (1, 3):
        yield "blurred (pixels of 512)", f"{width}", lambda grey, w=width: cv2.GaussianBlur(grey, (0, 0), w)
    for degrees in (2, 3, 5):
        yield "rotated", f"{degrees}°", lambda grey, d=degrees: rotated(grey, d)
    yield "arrow and text burnt in", "", annotated
    for share in (0.03, 0.1):
        yield "black frame", f"{share:.0%}", lambda grey, s=share: framed(grey, s)
    yield "padded to a square", "", padded
    yield (
        "COVID-Net: top 8 %, square",
        "224",
        lambda grey: cv2.resize(square(crop(grey, top=0.08)), (224, 224), interpolation=cv2.INTER_AREA),
    )
    yield (
        "cropped 5 %, rotated 3°, equalised",
        "",
        lambda grey: cv2.equalizeHist(rotated(crop(grey, 0.05, 0.05, 0.05, 0.05), 3)),
    )
    yield "mirrored", "", lambda grey: np.ascontiguousarray(grey[:, ::-1])


def found_again(radiographs: dict[int, np.ndarray], prints: list[bytes], groups: np.ndarray, rounds: int) -> None:
    """Print the table of changes: in each round, every radiograph has one changed copy, its change chosen at random.

    radiographs  by their positions in the set, uint8
    prints       thumbnails of the whole set
    groups       number of each image's group; groups that near repeats link have one number
    """
    kinds = list(changes())
    counts = np.zeros((len(kinds), 5), dtype=int)  # tried, paired, trained on the original, on the copy, false
    for seed in range(rounds):
        whose = np.random.default_rng(seed).permutation(list(radiographs))
        which = np.arange(len(whose)) % len(kinds)
        copies = [
            thumbnail(kinds[k][2](radiographs[position])).tobytes() for k, position in zip(which, whose, strict=True)
        ]
        pairs = near_pairs([*prints, *copies])
        new = pairs[(pairs[:, 0] < len(prints)) & (pairs[:, 1] >= len(prints))]
        copy = new[:, 1] - len(prints)
        same = groups[new[:, 0]] == groups[whose[copy]]
        paired, wrong = np.isin(np.arange(len(copies)), copy[same]), np.bincount(copy[~same], minlength=len(copies))
        for n, (k, position) in enumerate(zip(which, whose, strict=True)):
            there = agreement([copies[n]], [near_hash(prints[position])])[0] >= SAME
            back = agreement([prints[position]], [near_hash(copies[n])])[0] >= SAME
            counts[k] += (1, paired[n], there, back, wrong[n])
    columns = "change", "strength", "one group", "bundle: original trained on", "bundle: copy trained on", "false pairs"
    rows = []
    for (kind, strength, _), (tried, paired, *rest) in zip(kinds, counts.tolist(), strict=True):
        rows.append((kind, strength, f"{paired} of {tried}", *rest))
    table(columns, rows)


def false_pairs(prints: list[bytes], names: list[str], pictures: np.ndarray, pairs: np.ndarray) -> None:
    """Print how alike the images of different people are: pairs of the metadata stage between groups, to check by eye,
    and agreement with the near hashes of other pictures and groups.

    pictures  number of each image's group; groups that near repeats link have one number
    pairs     near repeats of different groups
    """
    counts = np.unique(pictures, return_counts=True)[1]
    different = (len(pictures) ** 2 - (counts**2).sum()) // 2
    print(f"{len(pairs)} near repeats link groups, beside {different:,} pairs of images that nothing links:")
    for one, other in pairs.tolist():
        print(f"  {names[one]} = {names[other]}")
    hashes, best = [near_hash(content) for content in prints], []
    for content, number in zip(prints, pictures, strict=True):
        others = [text for text, of in zip(hashes, pictures, strict=True) if of != number]
        best.append(agreement([content], others)[0])
    print(
        f"Best agreements with a near hash that nothing links: {', '.join(f'{b:.3f}' for b in sorted(best)[:-9:-1])};"
    )
    print(f"{sum(b >= SAME for b in best)} would be the same picture, {sum(b >= SIMILAR for b in best)} similar.")


def at_scale(prints: list[bytes], images: int) -> None:
    """Print time and memory for many images: random mixtures of two real ones, shifted, every hundredth a repeat."""
    random, side = np.random.default_rng(0), int(len(prints[0]) ** 0.5)
    real = [np.frombuffer(content, np.uint8).reshape(side, side) for content in prints]
    drawn: list[bytes] = []
    for k in range(images):
        one, other = (real[position] for position in random.integers(0, len(real), 2))
        mixed = cv2.addWeighted(
            one, float(random.uniform(0.4, 0.6)), np.roll(other, int(random.integers(8)), 1), 0.5, 0
        )
        if k % 100 == 99:
            mixed = cv2.add(np.frombuffer(drawn[-1], np.uint8).reshape(side, side), 3)
        drawn.append(np.ascontiguousarray(mixed).tobytes())
    before, start, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic(), time.process_time()
    pairs = {tuple(pair) for pair in near_pairs(drawn).tolist()}
    wall, cpu = time.monotonic() - start, time.process_time() - cpu
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    repeats = sum((k - 1, k) in pairs for k in range(99, images, 100))
    columns = "images", "seconds (processor time)", "memory beside the thumbnails", "repeats found", "other pairs"
    took, found = f"{wall:,.0f} ({cpu:,.0f})", f"{repeats:,} of {images // 100:,}"
    table(columns, [(f"{images:,}", took, f"{grown / 2**20:.1f} GiB", found, f"{len(pairs) - repeats:,}")])


def main() -> None:
    """Print the three parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=0)
    asked = parser.parse_args()
    params = load_params(DEFAULTS)
    with TemporaryDirectory() as work:
        sources, engine = Sources(root=str(asked.sources), collections=None), LocalEngine()
        how = params.metadata.model_copy(update={"paediatric": "keep", "files": "required"})
        built = build_records(sources, how, params.task, engine, Path(work), split=False)
        records = built.records[built.records.near_hash.notna()].drop_duplicates("path")
        prints = fingerprints(built.root, records.path.tolist(), engine, Path(work) / FINGERPRINTS)
    thumbnails = [prints[path].thumbnail or b"" for path in records.path]
    groups = np.unique(records.group_id.astype(str), return_inverse=True)[1]
    pairs = near_pairs(thumbnails)
    linking = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
    pictures = components(records.reset_index(drop=True), ("group_id", "content_hash"), pairs)
    print(f"{len(thumbnails):,} images of {groups.max() + 1:,} groups")
    radiographs = {}
    for position, (path, score) in enumerate(zip(records.path, records.frontal, strict=True)):
        if score >= FLAG:
            grey = to_uint8(read_radiograph(built.root.file(path)))
            scale = min(1, 512 / max(grey.shape))
            radiographs[position] = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if asked.rounds:
        found_again(radiographs, thumbnails, pictures, asked.rounds)
    false_pairs(thumbnails, records.path.tolist(), pictures, linking)
    if asked.images:
        at_scale(thumbnails, asked.images)


if __name__ == "__main__":
    main()
