"""Files that are damaged, or made to do harm, are answered in one sentence, and the next one as if nothing had been."""

import gzip
import re
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient


def huge_png() -> bytes:
    """A PNG whose header declares 60,000 x 60,000 pixels."""
    body = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    chunk = (13).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")


NOISE = np.random.default_rng(0).bytes(5000)
#: Each made of a picture and of a DICOM file.
HOSTILE: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda picture, scan: b"",
    "noise": lambda picture, scan: NOISE,
    "cut picture": lambda picture, scan: picture[: len(picture) // 2],
    "damaged picture": lambda picture, scan: picture[:100] + NOISE + picture[5100:],
    "huge picture": lambda picture, scan: huge_png(),
    "cut scan": lambda picture, scan: scan[:3000],
    "scan without pixels": lambda picture, scan: scan[: scan.index(b"\xe0\x7f\x10\0")],
    "damaged scan": lambda picture, scan: scan[:200] + NOISE[:400] + scan[600:],
    "scan of a huge image": lambda picture, scan: re.sub(
        rb"(\x28\x00[\x10\x11]\x00US\x02\x00)..", lambda found: found[1] + b"\xff\xff", scan, flags=re.S
    ),
    "gzip bomb": lambda picture, scan: gzip.compress(bytes(600 * 1024**2), 1),
    "page": lambda picture, scan: b"<!doctype html><script>alert(1)</script>",
    "preamble alone": lambda picture, scan: b"\0" * 128 + b"DICM",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_answered_in_one_sentence(
    name: str, client: TestClient, pictures: list[bytes], scan: bytes, ask: Callable[..., Any]
) -> None:
    answered = ask(client, HOSTILE[name](pictures[0], scan), look="true")
    assert answered.status_code == 422
    (result,) = answered.json()["results"]
    assert re.fullmatch(r"[^\n]{5,400}", result["left_out"])
    assert not re.search(r"Traceback|File \"", answered.text)
    assert result["scores"] == {}
    assert ask(client, pictures[1]).status_code == 200
