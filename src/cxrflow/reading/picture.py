"""Pictures of every format as one upright grey image, by the decoder of each format."""

import io
import warnings

import imagecodecs
import numpy as np
from PIL import Image

from cxrflow.errors import LeftOut, one_line
from cxrflow.reading import jpeg, png, tiff
from cxrflow.reading.codestream import JPEG_2000, read_jpeg_2000
from cxrflow.reading.kinds import what_it_is
from cxrflow.reading.pixels import Pixels, check_size, upright_grey
from cxrflow.reading.tags import read_orientation

_THROUGH_PILLOW = ("BMP", "GIF", "WEBP")


def read_picture(content: bytes) -> np.ndarray:
    """Decode the one picture of a file: (height, width), uint8, or uint16 if it has more bits; upright by EXIF.

    Colour becomes grey, and what is transparent black. Colour profiles and gamma are ignored: whether a file has one
    depends on the program that saved it, and so would the grey levels of the radiograph.

    Raises LeftOut if it is not an image, damaged, truncated, has several frames or more than LARGEST_IMAGE pixels.
    """
    if content.startswith(png.SIGNATURE):
        pixels = png.read_png(content)
    elif content.startswith(jpeg.SIGNATURE):
        pixels = jpeg.read_jpeg(content)
    elif content.startswith(tiff.SIGNATURES):
        pixels = tiff.read_tiff(content)
    elif content.startswith(JPEG_2000):
        pixels = _read_jpeg_2000(content)
    elif is_picture(content):
        pixels = _through_pillow(content)
    else:
        raise LeftOut(what_it_is(content))
    return upright_grey(pixels)


def is_picture(content: bytes) -> bool:
    """Whether the content begins like a picture of a format that is read; the first 16 bytes are enough."""
    if content.startswith(b"RIFF"):
        return content[8:12] == b"WEBP"
    if content.startswith(b"BM"):
        return content[6:10] == bytes(4)  # reserved; two letters alone begin many texts
    return content.startswith((png.SIGNATURE, jpeg.SIGNATURE, *tiff.SIGNATURES, *JPEG_2000, b"GIF87a", b"GIF89a"))


def picture_format(content: bytes) -> str | None:
    """The name of a picture's format, by its first bytes; None if it is none that is read."""
    if content.startswith(png.SIGNATURE):
        return "PNG"
    if content.startswith(jpeg.SIGNATURE):
        return "JPEG"
    if content.startswith(tiff.SIGNATURES):
        return "TIFF"
    if content.startswith(JPEG_2000):
        return "JPEG 2000"
    if not is_picture(content):
        return None
    return {b"BM": "BMP", b"GI": "GIF", b"RI": "WebP"}[content[:2]]


def _read_jpeg_2000(content: bytes) -> Pixels:
    found = read_jpeg_2000(content)
    check_size(found.height, found.width)
    if found.components > 4:
        raise LeftOut(f"JPEG 2000 has {found.components} components, which are no known colours")
    try:
        return Pixels(np.asarray(imagecodecs.jpeg2k_decode(content)))
    except (ValueError, NotImplementedError) as error:
        raise LeftOut(f"JPEG 2000 of a kind that is not read ({error}; convert it to PNG)") from None
    except imagecodecs.Jpeg2kError as error:
        raise LeftOut(f"image is damaged ({one_line(str(error))})") from None


def _through_pillow(content: bytes) -> Pixels:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=_THROUGH_PILLOW)
            check_size(image.height, image.width)
            if getattr(image, "is_animated", False):
                raise LeftOut("picture has several frames: it is animated")
            image.load()
    except LeftOut:
        raise
    except Exception as error:  # Pillow raises almost anything on a damaged file
        raise LeftOut(f"image is damaged ({one_line(str(error))})") from None
    known = image.mode in ("L", "LA", "RGB", "RGBA")
    colours = image if known else image.convert("RGBA" if image.has_transparency_data else "RGB")
    return Pixels(np.asarray(colours), read_orientation(image.info.get("exif", b""), image.info.get("xmp", b"")))
