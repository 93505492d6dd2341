"""Mutates files of every format and reads them in the engine's workers; prints the outcomes, peak memory, slowest file.

    python benchmarks/fuzz.py --minutes 60 [--seed 1]

The seeds are the test files that come with pydicom, those with grey pixels again as radiographs, and pictures, tables
and archives made here. Each input is a seed with a few changes: bytes, lengths, cut or repeated parts, parts of another
seed. It must give an image, rows, a reason or one sentence; anything else is printed with the number that makes the
input again, and the exit status is 1. The minutes are processor time, of the workers and of this process.
"""

import argparse
import gzip
import io
import resource
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import openpyxl
import pydicom
from numpy.random import Generator
from PIL import Image
from pydicom.data import get_testdata_files
from pydicom.uid import DigitalXRayImageStorageForPresentation
from tables import table

from cxrflow.engines import Limits, LocalEngine, Lost
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.reading import read
from cxrflow.sources.tables import read_table

LIMITS = Limits(memory_gb=2, seconds=20)
_LARGEST = 400_000  # seed (bytes)
_BATCH = 2_000
_PARAMS = DEFAULTS


def seeds() -> list[tuple[str, bytes]]:
    """The seeds: extension, content."""
    found = [(".dcm", Path(name).read_bytes()) for name in get_testdata_files() if name.endswith(".dcm")]
    found = [seed for seed in found if len(seed[1]) <= _LARGEST]
    found += [(".dcm", content) for content in map(_as_radiograph, [seed[1] for seed in found]) if content]
    grey = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (80, 96), np.uint8), (0, 0), 2)
    wide = grey.astype(np.uint16) * 257
    for image in (Image.fromarray(grey), Image.fromarray(grey).convert("RGBA"), Image.fromarray(grey).convert("P")):
        for kind in ("PNG", "TIFF", "WEBP", "GIF"):
            found.append((f".{kind.lower()}", _saved(image, kind)))
    for options in ({"progressive": True}, {"quality": 95}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}):
        found.append((".jpg", _saved(Image.fromarray(grey), "JPEG", **options)))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "tiff_ccitt"):
        bits = Image.fromarray(grey).convert("1") if compression == "tiff_ccitt" else Image.fromarray(grey)
        found.append(
            (".tif", _saved(bits, "TIFF", compression="group4" if compression == "tiff_ccitt" else compression))
        )
    found += [(".bmp", _saved(Image.fromarray(grey), "BMP")), (".png", cv2.imencode(".png", wide)[1].tobytes())]
    found += [(".j2k", imagecodecs.jpeg2k_encode(grey)), (".jls", imagecodecs.jpegls_encode(grey))]
    found.append((".tif", cv2.imencode(".tif", np.dstack([wide] * 3))[1].tobytes()))
    table = "path,label,patient,age,sex\n" + "".join(f"{n}.png,covid,p{n},{n},F\n" for n in range(40))
    found += [(".csv", table.encode()), (".csv", table.replace(",", ";").encode("utf-16"))]
    book, out = openpyxl.Workbook(), io.BytesIO()
    for line in table.splitlines():
        book.active.append(line.split(","))
    book.save(out)
    found.append((".xlsx", out.getvalue()))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", found[-6][1])
    found += [(".zip", archive.getvalue()), (".gz", gzip.compress(found[0][1])), (".yaml", _PARAMS.read_bytes())]
    return found


def _as_radiograph(content: bytes) -> bytes | None:
    """A DICOM file declared to be a radiograph, so that its pixels are decoded; None if they cannot be."""
    out = io.BytesIO()
    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        dataset.Modality, dataset.SOPClassUID = "DX", DigitalXRayImageStorageForPresentation
        dataset.save_as(out)
        with tempfile.TemporaryDirectory() as folder:
            (path := Path(folder) / "seed.dcm").write_bytes(out.getvalue())
            read(path)
    except Exception:  # some of pydicom's files are broken on purpose
        return None
    return out.getvalue()


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def mutated(files: Sequence[Path], number: int) -> tuple[str, bytes]:
    """The input with this number, from the files of the seeds: extension, content."""
    random = np.random.default_rng(number)
    seed = files[random.integers(len(files))]
    changed = bytearray(seed.read_bytes())
    for _ in range(random.integers(1, 6)):
        changed = _changed(changed, files, random)
    return seed.suffix, _with_checksums(changed) if seed.suffix == ".png" else bytes(changed)


def _with_checksums(png: bytearray) -> bytes:
    """A PNG with the checksums of its chunks as they should be: else no decoder would look at what is in them."""
    at = 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4])
        if end + 4 > len(png):
            break
        png[end : end + 4] = zlib.crc32(png[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(png)


def _changed(content: bytearray, files: Sequence[Path], random: Generator) -> bytearray:
    if not content:
        return bytearray(random.bytes(8))
    # Most of a file is pixels; what decides is near its beginning.
    end = min(len(content), 600) if random.random() < 0.6 else len(content)
    at, length = int(random.integers(end)), int(2 ** random.integers(0, 9))
    kind = random.integers(8)
    if kind == 0:
        content[at] ^= 1 << int(random.integers(8))
    elif kind == 1:
        content[at : at + 1] = random.bytes(1)
    elif kind == 2:  # a length or a number
        value = int(random.choice([0, 1, 127, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1]))
        size = int(random.choice([1, 2, 4]))
        content[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, random.choice(["little", "big"]))
    elif kind == 3:
        del content[at : at + length]
    elif kind == 4:
        content[at:at] = content[at : at + length] * int(random.integers(1, 40))
    elif kind == 5:
        del content[at:]
    elif kind == 6:
        other = files[random.integers(len(files))].read_bytes()
        begin = int(random.integers(len(other)))
        content[at : at + length] = other[begin : begin + length]
    else:
        content[at:at] = random.bytes(length)
    return content


def tried(files: Sequence[Path], number: int) -> tuple[str, str, float, float, float]:
    """Read the input with this number as its extension says.

    Returns "read", "left out", "stopped" or an exception that should not have come out; the extension; the processor
    seconds of reading, and of making the input too; and the largest resident memory of the worker so far (MiB).
    """
    began = time.process_time()
    extension, content = mutated(files, number)
    path = files[0].parent / f"input {number}{extension}"
    path.write_bytes(content)
    started = time.process_time()
    try:
        if extension in (".csv", ".xlsx"):
            for _ in read_table(path, ("path", "label", "patient")):
                pass
        elif extension == ".yaml":
            load_params(path)
        else:
            read(path)
        outcome = "read"
    except LeftOut:
        outcome = "left out"
    except CxrflowError:
        outcome = "stopped"
    except Exception as error:  # what is looked for
        outcome = f"{type(error).__name__}: {error}"[:200]
    finally:
        path.unlink()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    now = time.process_time()
    return outcome, extension, now - started, now - began, memory


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="Processor time, in all.")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    slowest, largest, spent, number = (0.0, 0), (0.0, 0), 0.0, asked.seed * 10**9
    engine = LocalEngine(LIMITS)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for position, (extension, content) in enumerate(seeds()):
            files.append(Path(folder) / f"{position}{extension}")
            files[-1].write_bytes(content)
        minutes = 0.0
        while minutes < asked.minutes:
            numbers = range(number, number + _BATCH)
            for at, result in zip(numbers, engine.map(partial(tried, files), numbers), strict=True):
                if isinstance(result, Lost):
                    extension = mutated(files, at)[0]
                    counts[extension, "left out with its worker"] += 1
                    print(f"{at} ({extension}): {result.reason}", flush=True)
                    continue
                outcome, extension, seconds, all_seconds, memory = result
                known = outcome in ("read", "left out", "stopped")
                counts[extension, outcome if known else "ANOTHER ERROR"] += 1
                if not known:
                    wrong.append(f"{at} ({extension}): {outcome}")
                    print(wrong[-1], flush=True)
                slowest, largest = max(slowest, (seconds, at)), max(largest, (memory, at))
                spent += all_seconds
            number += _BATCH
            minutes = (spent + time.process_time()) / 60
            said = f"{sum(counts.values()):,} inputs, {minutes:.1f} minutes, {len(wrong)} wrong"
            print(said, file=sys.stderr, flush=True)
    outcomes = {"read": "read", "left out": "left out", "stopped": "stops", "left out with its worker": "worker lost"}
    outcomes |= {"ANOTHER ERROR": "another error"}
    found = {
        extension: [counts[extension, outcome] for outcome in outcomes]
        for extension in sorted({extension for extension, _ in counts})
    }
    found["all"] = [sum(column) for column in zip(*found.values(), strict=True)]
    rows = [(name, f"{sum(row):,}", *(f"{count:,}" if count else "" for count in row)) for name, row in found.items()]
    table(("format", "inputs", *outcomes.values()), rows)
    print(f"Slowest: {slowest[0]:.2f} s (input {slowest[1]}).")
    print(f"Largest memory of a worker: {largest[0]:.0f} MiB (input {largest[1]}).")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
