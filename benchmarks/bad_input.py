"""Tests reading with unusual and damaged files; prints the table of results for docs/reading.md.

    python benchmarks/bad_input.py

The files are generated here, or are the test files that come with pydicom.
"""

import io
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_files
from pydicom.dataset import FileDataset, FileMetaDataset

from cxrflow.errors import LeftOut
from cxrflow.reading import read
from cxrflow.reading.frontal import FLAG

GREY = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
WIDE = GREY.astype(np.uint16) * 257


def picture(kind: str, image: Image.Image, **options: object) -> bytes:
    """An encoded picture."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def dicom(pixels: np.ndarray | None, **tags: object) -> bytes:
    """An encoded DICOM file of one grey frame, with the given tags changed."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = "1.2.840.10008.5.1.4.1.1.1", "1.2.3", "CR"
    if pixels is not None:
        data.Rows, data.Columns = pixels.shape[:2]
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        bits = pixels.dtype.itemsize * 8
        data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
        data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    out = io.BytesIO()
    data.save_as(out)
    return out.getvalue()


def files() -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file."""
    grey, wide = Image.fromarray(GREY), Image.fromarray(WIDE)
    jpeg, png = picture("JPEG", grey), picture("PNG", grey)
    colour = grey.convert("RGB")
    yield "an empty file", b""
    yield "a CSV table named .png", b"patient,label\n1,covid\n"
    yield "a PDF", b"%PDF-1.7\n" + b"x" * 500
    yield "500 zero bytes", bytes(500)
    for kind, whole in (("JPEG", jpeg), ("PNG", png), ("TIFF", picture("TIFF", grey)), ("WebP", picture("WEBP", grey))):
        yield f"{kind}, its second half missing", whole[: len(whole) // 2]
    changed = bytearray(png)
    changed[len(png) // 2] ^= 255
    yield "PNG, one byte changed", bytes(changed)
    yield "PNG named .dcm", png
    yield "PNG of 16 bits", picture("PNG", wide)
    yield "PNG of 1 bit", picture("PNG", grey.convert("1"))
    for mode in ("P", "LA", "RGBA"):
        yield f"PNG, {mode}", picture("PNG", colour.convert("RGBA").convert(mode) if mode != "P" else grey.convert("P"))
    yield "JPEG, CMYK", picture("JPEG", colour.convert("CMYK"))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    yield "JPEG, to be turned by its EXIF tag", picture("JPEG", grey, exif=rotated)
    yield "TIFF, float", picture("TIFF", Image.fromarray(GREY.astype(np.float32)))
    yield "TIFF, float, not a number", picture("TIFF", Image.fromarray(np.full((9, 9), np.nan, np.float32)))
    yield "TIFF, 0 is white", picture("TIFF", grey, tiffinfo={262: 0})
    yield "TIFF of two pages", picture("TIFF", grey, save_all=True, append_images=[grey])
    yield "GIF", picture("GIF", grey)
    yield "PNG of 1 x 1 pixel", picture("PNG", Image.fromarray(GREY[:1, :1]))
    huge = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(huge, "PNG")
    yield "PNG of 400 million pixels in 48 KB", huge.getvalue()
    yield "DICOM", dicom(GREY)
    yield "DICOM, MONOCHROME1", dicom(GREY, PhotometricInterpretation="MONOCHROME1")
    yield "DICOM without preamble", dicom(GREY)[132:]
    yield "DICOM, its second half missing", dicom(GREY)[: len(dicom(GREY)) // 2]
    yield "DICOM without pixels", dicom(None)
    yield "DICOM, 3 frames", dicom(GREY, NumberOfFrames=3)
    yield "DICOM, window of width 0", dicom(WIDE, WindowCenter="5", WindowWidth="0")
    yield "DICOM, one value everywhere", dicom(np.full((9, 9), 7, np.uint16))
    for modality in ("CT", "MR", "US", "MG"):
        yield f"DICOM, modality {modality}", dicom(GREY, Modality=modality)
    yield "DICOM, view position LL", dicom(GREY, ViewPosition="LL")
    yield (
        "DICOM, ultrasound in colour",
        dicom(np.dstack([GREY] * 3), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0),
    )
    yield "DICOM, more pixels declared than there are", dicom(GREY, Rows=4_000)
    yield "DICOM, 60,000 x 60,000 declared", dicom(GREY, Rows=60_000, Columns=60_000)


def outcome(path: Path) -> str:
    """The result of reading a file, in words."""
    try:
        found = read(path)
    except LeftOut as reason:
        return f"left out: {str(reason).replace(str(path), 'FILE')}"
    flags = ", flagged" if found.frontal < FLAG else ""
    return (
        f"{found.grey.dtype}, {found.grey.shape[0]} x {found.grey.shape[1]}{flags}{', turned' if found.turned else ''}"
    )


def main() -> None:
    """Print the two tables."""
    warnings.simplefilter("ignore")
    print("| file | gives |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.png"
        for name, content in files():
            path.write_bytes(content)
            print(f"| {name} | {outcome(path)} |")
        print(f"| no such file | {outcome(Path(folder) / 'absent.png')} |")
        print(f"| a folder | {outcome(Path(folder))} |")
        os.mkfifo(Path(folder) / "pipe")
        print(f"| a pipe | {outcome(Path(folder) / 'pipe')} |")
    found = Counter()
    for name in get_testdata_files():
        if name.endswith(".dcm"):
            text = outcome(Path(name))
            found["read" if not text.startswith("left out") else text.split("(")[0].strip()] += 1
    print("\n| pydicom's own files | count |\n|---|---|")
    for text, count in found.most_common():
        print(f"| {text} | {count} |")


if __name__ == "__main__":
    main()
