"""The one place around other people's decoders: whatever they do, the caller gets an array or a reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cxrflow.errors import LeftOut, one_line


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Context for calls into a decoder: turns everything it raises, except an interruption, into LeftOut.

    A list of exception classes would not do: pydicom and its decoders raise almost anything on a damaged file, and a
    decoder written in Rust panics with a subclass of BaseException.

    what  beginning of the reason, such as ``"DICOM"``
    """
    try:
        yield
    except (LeftOut, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:
        raise LeftOut("reading it takes more memory than is allowed (reading.memory_gb)") from None
    except RecursionError:
        raise LeftOut(f"{what} is nested too deeply") from None
    except BaseException as error:
        reason = one_line(str(error)) or type(error).__name__
        raise LeftOut(f"{what} is damaged or cannot be decoded ({reason})") from None


def checked(grey: Any) -> np.ndarray:
    """A decoder's result if it is one grey image: uint8 or uint16, in native byte order, (height, width), not empty.

    Raises LeftOut for anything else.
    """
    if not isinstance(grey, np.ndarray) or grey.dtype.kind != "u" or grey.dtype.itemsize > 2:
        raise LeftOut(f"decoding gave {getattr(grey, 'dtype', type(grey).__name__)}, not 8 or 16 bits a pixel")
    if grey.ndim != 2 or grey.size == 0:
        raise LeftOut(f"decoding gave an array of shape {grey.shape}, not one grey image")
    return grey.astype(grey.dtype.newbyteorder("="), copy=False)
