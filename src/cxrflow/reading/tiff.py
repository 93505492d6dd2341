"""TIFF through imagecodecs (libtiff), whatever its compression, once its directories have been checked."""

import struct

import imagecodecs
import numpy as np

from cxrflow.errors import LeftOut, one_line
from cxrflow.reading.pixels import LARGEST_IMAGE, Pixels, check_size
from cxrflow.reading.tags import ORIENTATION, Directory, directories

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Tags (TIFF 6.0).
_SUBFILE, _OLD_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
_SAMPLES, _PLANAR, _COLOUR_MAP, _TILE_WIDTH, _TILE_LENGTH, _EXTRA = 277, 284, 320, 322, 323, 338
#: Values of PhotometricInterpretation that are read, and the number of their samples.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _INKS: 4, _YCBCR: 3}
_MOST_SAMPLES = 8
#: Values of Compression that libtiff decodes: none, CCITT, LZW, JPEG, Deflate, PackBits, LZMA, Zstandard, WebP.
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000, 50001)
#: ExtraSamples: alpha, by which the colours are not multiplied. Where they are, they lie on black already; others are
#: no transparency.
_ALPHA = 2
_CANNOT, _CONVERT = "can not handle", "save it as PNG"


def read_tiff(content: bytes) -> Pixels:
    """Decode the one picture of a TIFF; a palette and inks as RGB, white-is-zero inverted.

    Previews and masks beside it are passed over. Raises LeftOut if it holds several pictures, or one that is damaged,
    too large or of a kind that is not read.
    """
    pages = list(directories(content))
    if not pages:
        raise LeftOut("TIFF is damaged: it has no directory")
    pictures = [n for n, page in enumerate(pages) if not _beside_the_picture(page)] or [0]
    if len(pictures) > 1:
        raise LeftOut(f"picture has several frames: {len(pictures):,} pages")
    page = pages[pictures[0]]
    bits = _check(page)
    orientation = page.integer(ORIENTATION, 1)
    if orientation != 1 and page.integer(_PHOTOMETRIC, _BLACK_IS_ZERO) in (_INKS, _YCBCR):
        # libtiff mirrors these, but never turns them: declare them as upright.
        at, upright = page.places[ORIENTATION], struct.pack(page.order + "H", 1)
        content = content[:at] + upright + content[at + len(upright) :]
    try:
        values = np.asarray(imagecodecs.tiff_decode(content, index=pictures[0]))
    except imagecodecs.TiffError as error:
        if _CANNOT in str(error):
            raise LeftOut(f"TIFF of a kind that is not read ({_CONVERT})") from None
        raise LeftOut(f"image is damaged ({one_line(str(error))})") from None
    except (IndexError, ValueError) as error:  # a directory that libtiff cannot interpret
        raise LeftOut(f"TIFF is damaged, or of a kind that is not read ({error}; {_CONVERT})") from None
    return Pixels(_samples(page, values, bits), orientation)


def _beside_the_picture(page: Directory) -> bool:
    """Whether a page is a preview (in reduced resolution) or a transparency mask of another one."""
    return bool(page.integer(_SUBFILE, 0) & 0b101) or page.integer(_OLD_SUBFILE, 1) == 2


def _check(page: Directory) -> int:
    """The bits of each sample. Raises LeftOut if the picture is too large or of a kind that is not read."""
    check_size(page.integer(_LENGTH, 0), page.integer(_WIDTH, 0))
    samples, colours = page.integer(_SAMPLES, 1), page.integer(_PHOTOMETRIC, _BLACK_IS_ZERO)
    if colours not in _COLOURS or not _COLOURS[colours] <= samples <= _MOST_SAMPLES:
        raise LeftOut(f"TIFF in colours that are not read (PhotometricInterpretation {colours}; {_CONVERT})")
    if (compression := page.integer(_COMPRESSION, 1)) not in _COMPRESSIONS:
        raise LeftOut(f"TIFF compressed by a method that is not read (Compression {compression}; {_CONVERT})")
    bits, *others = page.integers(_BITS, most=_MOST_SAMPLES) or (1,)
    packed = 8 < bits < 16 and page.order == "<"
    if any(other != bits for other in others) or not (bits in (1, 2, 4, 8, 16, 32, 64) or packed):
        raise LeftOut(f"TIFF of {bits} bits a sample in an order that is not read ({_CONVERT})")
    if page.integer(_TILE_WIDTH, 1) * page.integer(_TILE_LENGTH, 1) > LARGEST_IMAGE:
        raise LeftOut(f"TIFF has tiles of more than {LARGEST_IMAGE:,} pixels")
    return bits


def _samples(page: Directory, values: np.ndarray, bits: int) -> np.ndarray:
    """What libtiff decodes, as in Pixels."""
    shape = page.integer(_LENGTH, 0), page.integer(_WIDTH, 0)
    if values.ndim == 3 and page.integer(_PLANAR, 1) == 2 and values.shape[1:] == shape:
        values = np.moveaxis(values, 0, -1)
    if values.shape[:2] != shape or values.size == 0:
        raise LeftOut(f"image is damaged (it should be {shape[0]} x {shape[1]}, but decodes to {values.shape})")
    values = values.reshape(*shape, -1)
    colours = page.integer(_PHOTOMETRIC, _BLACK_IS_ZERO)
    known = min(_COLOURS[colours], 3)  # inks are decoded as RGB
    alpha = values[..., known : known + 1] if page.integer(_EXTRA, 0) == _ALPHA else values[..., :0]
    values = values[..., :known]
    if colours == _PALETTE:
        values = _painted(page, values[..., 0], bits)
    elif bits < 8:
        values = values.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
    if colours == _WHITE_IS_ZERO:
        values = (
            values.dtype.type(2 ** max(bits, 8) - 1) - values if values.dtype.kind == "u" else -values.astype(float)
        )
    values = np.concatenate([values, alpha], axis=2) if alpha.shape[2] else values
    return values if values.shape[2] > 1 else values[..., 0]


def _painted(page: Directory, numbers: np.ndarray, bits: int) -> np.ndarray:
    """The colours of the numbers of a palette: uint8 (height, width, 3)."""
    entries = np.array(page.integers(_COLOUR_MAP, most=3 * 2**bits), np.uint16)
    if bits > 8 or len(entries) != 3 * 2**bits:
        raise LeftOut("TIFF is damaged: its palette is absent or cut short")
    if entries.max() > 255:  # some programs write 8 bits, against the standard
        entries >>= 8
    return np.asarray(entries.astype(np.uint8).reshape(3, -1).T[numbers.astype(np.uint8)])
