"""Forms: read whole whatever the chunks, with every limit, and never to disk."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor  # in this thread, tests of pages may have left a running loop
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cxrflow.result import Look
from cxrflow.serving.admission import Admission
from cxrflow.serving.metrics import Metrics
from cxrflow.serving.settings import Bounds
from cxrflow.serving.uploads import read_files
from cxrflow.serving.work import bytes_of_pictures

Served = Callable[..., TestClient]
Ask = Callable[..., Any]
URL = "http://localhost/predict"


def encoded(contents: Sequence[bytes], field: str = "files") -> tuple[bytes, dict[str, str]]:
    """A form as httpx writes it, and its headers."""
    request = httpx.Request("POST", URL, files=[(field, ("a.png", content)) for content in contents])
    return request.read(), dict(request.headers)


def parsed(chunks: Sequence[bytes], headers: dict[str, str], **bounds: Any) -> list[bytes]:
    """What is read of a body that arrives in chunks."""
    left = [*chunks]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0) if left else b"", "more_body": bool(left)}

    async def read() -> list[bytes]:
        scope = {"type": "http", "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()]}
        limits = Bounds(**bounds)
        with Admission(limits, Metrics()).place() as place:
            return await read_files(Request(scope, receive), place, limits)

    return ThreadPoolExecutor(1).submit(asyncio.run, read()).result()


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in pairwise(ends)]


@given(
    st.lists(st.binary(max_size=300) | st.sampled_from([b"\r\n--", b"\r\n--a\r\n\r\n", b"--"]), min_size=1, max_size=4),
    st.lists(st.integers(0, 5000), max_size=6),
)
def test_whatever_the_chunks_the_files_are_those_that_were_sent(contents: list[bytes], places: list[int]) -> None:
    body, headers = encoded(contents)
    assert parsed(cut(body, places), headers) == contents


@given(st.integers(0, 400))
def test_a_form_that_is_cut_is_refused(end: int) -> None:
    body, headers = encoded([b"x" * 100, b"y" * 50])
    with pytest.raises(HTTPException) as refused:
        parsed([body[: end % (len(body) - 4)]], headers)
    assert refused.value.status_code == 400


@given(st.binary(max_size=400))
def test_any_bytes_are_a_form_or_are_refused(body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    with pytest.raises(HTTPException) as refused:
        parsed([b"--b\r\n" + body], headers)
    assert refused.value.status_code in (400, 422)


def test_forms_with_other_fields_or_no_file_are_refused(client: TestClient) -> None:
    other = client.post("/predict", files={"file": b"x"})
    assert (other.status_code, "another field than files" in other.json()["detail"]) == (422, True)
    for body, kind, status in (
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data", 415),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b", 422),
        (b"--b\r\nX: " + b"y" * 5000 + b"\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b", 400),
        (b"--b\r\n\r\n", "multipart/form-data; boundary=" + "b" * 300, 400),
    ):
        answered = client.post("/predict", content=body, headers={"Content-Type": kind})
        assert answered.status_code == status, (kind, answered.text)
        assert re.fullmatch(r"[^\n]+", answered.json()["detail"])


def test_more_files_or_bytes_than_a_request_may_have_are_refused(
    served: Served, pictures: list[bytes], ask: Ask
) -> None:
    client = served(files=2, bytes=1_000_000)
    assert ask(client, pictures[0], pictures[1]).status_code == 200
    many = ask(client, *pictures[:3])
    assert (many.status_code, "more than 2 files" in many.json()["detail"]) == (413, True)
    large = ask(client, b"x" * 1_000_001)
    assert (large.status_code, "more than 1,000,000 bytes" in large.json()["detail"]) == (413, True)


def test_without_a_declared_length_reading_stops_at_the_limit(served: Served) -> None:
    client, sent = served(bytes=200_000), 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        while True:
            sent += 50_000
            yield b"x" * 50_000

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(client.app)
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as endless:
            return await endless.post("/predict", content=body(), headers=headers)

    answered = client.portal.call(send)
    assert answered.status_code == 413
    assert sent <= 300_000
    assert client.app.state.admission.bytes == 0


def test_a_form_that_does_not_arrive_is_given_up(served: Served) -> None:
    client = served(seconds=2)

    async def body() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        await asyncio.sleep(30)

    async def send() -> httpx.Response:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as slow:
            return await slow.post("/predict", content=body(), headers=headers)

    answered = client.portal.call(send)
    assert answered.status_code == 408
    assert "did not arrive within 2 seconds" in answered.json()["detail"]


@pytest.fixture
def held(served: Served) -> Iterator[TestClient]:
    """A service that has as many requests as it may."""
    client = served(queue=1)
    with client.app.state.admission.place():
        yield client


def test_beyond_the_queue_requests_are_refused_and_told_when_to_try_again(
    held: TestClient, pictures: list[bytes], ask: Ask
) -> None:
    for answered in (ask(held, pictures[0]), held.post("/v2/models/cxrflow/infer", json={})):
        assert answered.status_code == 429
        assert answered.headers["retry-after"] == "2"
    assert held.get("/v2/health/live").status_code == 200


def test_all_requests_together_hold_bounded_bytes(served: Served, pictures: list[bytes], ask: Ask) -> None:
    client = served(bytes=1_000_000)
    with client.app.state.admission.place() as other:
        other.bytes, client.app.state.admission.bytes = 4_000_000, 4_000_000
        assert ask(client, pictures[0]).status_code == 429
    assert client.app.state.admission.bytes == 0
    assert ask(client, pictures[0]).status_code == 200


@pytest.mark.parametrize("query", [{"look": "true"}, {"format": "dicom", "kinds": "sr,sc,map"}])
def test_pictures_of_answers_are_held_bytes_too(served: Served, scan: bytes, ask: Ask, query: dict[str, str]) -> None:
    """Beside a request that leaves no room for them, they are refused, and scores alone are answered."""
    client = served(bytes=len(scan) + 1000)
    admission = client.app.state.admission
    most = client.app.state.service.settings.bounds.together
    with admission.place() as other:
        other.hold_answer(most - 2 * len(scan))
        assert ask(client, scan).status_code == 200
        refused = ask(client, scan, **query)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert admission.bytes == 0
    assert ask(client, scan, **query).status_code == 200
    assert admission.bytes == 0


def test_a_request_that_is_alone_is_answered_whatever_its_pictures_take() -> None:
    admission = Admission(Bounds(bytes=100), Metrics())
    with admission.place() as first, admission.place() as second:
        first.hold_answer(1000)
        with pytest.raises(HTTPException) as refused:
            second.hold_answer(1)
        assert refused.value.status_code == 429
    assert admission.bytes == 0


def test_an_answer_that_is_not_taken_is_given_up(served: Served, pictures: list[bytes]) -> None:
    client = served(seconds=2)
    body, headers = encoded(pictures[:3])
    taken: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        taken.append(message)
        if message["type"] == "http.response.body":
            await asyncio.sleep(30)

    async def ask() -> None:
        pairs = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "headers": pairs,
                 "query_string": b"look=true", "scheme": "http", "http_version": "1.1"}  # fmt: skip
        await client.app(scope, receive, send)

    started = time.monotonic()
    client.portal.call(ask)
    assert time.monotonic() - started < 20
    assert taken[0]["status"] in (200, 503)  # of a machine that is busy
    assert len(taken[1]["body"]) <= 256 * 1024
    assert client.app.state.admission.requests == 0


def test_large_answers_are_whole(client: TestClient, png: Callable[[np.ndarray], bytes], ask: Ask) -> None:
    noise = png(np.random.default_rng(0).integers(0, 256, (700, 700)).astype(np.uint8))
    answered = ask(client, noise, look="true")
    assert len(answered.content) == int(answered.headers["content-length"]) > 3 * 256 * 1024
    assert answered.json()["results"][0]["look"]["width"] == 700
    assert len(answered.content) < bytes_of_pictures(Look("", (700, 700), (), ()))
    assert bytes_of_pictures(Look("", (8192, 4096), (), ())) == bytes_of_pictures(Look("", (2048, 1024), (), ()))
