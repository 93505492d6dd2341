"""PNG, JPEG, TIFF, BMP and WebP through Pillow; simple PNG and JPEG through imagecodecs (plain.py), which is faster."""

import io
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from cxrflow.errors import LeftOut
from cxrflow.reading.plain import read_plain

#: Images with more pixels are not decoded; the largest detectors have about 20 million.
LARGEST_IMAGE = 100_000_000
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")


def read_picture(content: bytes) -> np.ndarray:
    """Decode an image: (height, width), uint8, or uint16 if it has more bits. Colour becomes grey; EXIF orientation is
    applied.

    Raises LeftOut if it is not an image, damaged, truncated, has several frames or more than LARGEST_IMAGE pixels.
    """
    if (plain := read_plain(content, LARGEST_IMAGE)) is not None:
        return plain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(Image.open(io.BytesIO(content), formats=_FORMATS))
    except LeftOut:
        raise
    except UnidentifiedImageError:
        raise LeftOut("not an image: the content is no known picture format or DICOM") from None
    except Image.DecompressionBombError:
        raise LeftOut(f"image has more than {LARGEST_IMAGE:,} pixels") from None
    except Exception as error:  # Pillow raises almost anything on a damaged file
        raise LeftOut(f"image is damaged ({' '.join(str(error).split())[:200]})") from None


def _decode(image: Image.Image) -> np.ndarray:
    if image.width * image.height > LARGEST_IMAGE:
        raise LeftOut(f"image has more than {LARGEST_IMAGE:,} pixels")
    if getattr(image, "n_frames", 1) > 1:
        raise LeftOut("picture has several frames")
    if image.format == "JPEG":
        image.draft("L", image.size)  # decodes only the luminance
    image.load()
    tags = image.getexif()
    # Only if needed: Pillow copies even an upright image.
    upright = ImageOps.exif_transpose(image) if tags.get(ExifTags.Base.Orientation, 1) != 1 else image
    grey = _grey(upright)
    # In TIFF, 0 may be white; Pillow inverts such images up to 8 bits only.
    white_is_zero = image.format == "TIFF" and tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    return 65535 - grey if white_is_zero and grey.dtype == np.uint16 else grey


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise LeftOut("image has values that are not numbers")
        if image.mode == "I" and values.min() >= 0 and values.max() < 65536:
            return np.asarray(values, np.uint16)
        low, high = values.min(), values.max()
        return np.asarray(np.rint((values - low) * (65535 / max(high - low, 1e-12))), np.uint16)
    if image.mode in ("P", "PA", "LA", "RGBA", "La", "RGBa"):
        image = image.convert("RGBA")
        # Transparent pixels show no tissue: they become black, like air.
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image if image.mode == "L" else image.convert("L"), np.uint8)
