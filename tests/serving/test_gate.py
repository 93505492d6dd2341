"""What every request passes: host, origin, token, id, headers; and that nothing of the inside is said when it fails."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cxrflow.errors import CxrflowError
from cxrflow.serving.settings import Bounds, Settings
from cxrflow.serving.tokens import read_tokens

Served = Callable[..., TestClient]
FIRST, SECOND = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST", "10.0.0.1:8000"]
)
def test_a_service_is_reached_by_localhost_and_by_addresses(client: TestClient, host: str) -> None:
    assert client.get("/v2/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example", "", "[", "2130706433"]
)
def test_other_names_are_refused_as_in_dns_rebinding(client: TestClient, host: str) -> None:
    answered = client.get("/v2/health/live", headers={"Host": host})
    assert answered.status_code == 421
    assert "host name" in answered.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "10.0.0.1", "cxr.local"])  # noqa: S104
def test_names_are_let_in_if_they_are_allowed_wherever_it_listens(served: Served, host: str) -> None:
    named = served(host=host, names=("CXR.hospital.example",))
    for name in ("cxr.hospital.example", "cxr.Hospital.example:8000", host):
        assert named.get("/about", headers={"Host": name}).status_code == 200, name
    page = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert named.get("/about", headers=page).status_code == 421
    page = {"Host": "127.0.0.1:8000", "Origin": "https://cxr.hospital.example"}
    assert named.get("/about", headers=page).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:3000", "http://localhost:8000.evil.example", "http://["],
)
def test_pages_of_other_sites_may_not_use_it(client: TestClient, origin: str, pictures: list[bytes], ask: Any) -> None:
    for answered in (
        ask(client, pictures[0], headers={"Origin": origin}),
        client.get("/about", headers={"Origin": origin}),
        client.options("/predict", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}),
    ):
        assert answered.status_code == 403
        assert not [name for name in answered.headers if name.startswith("access-control")]


def test_its_own_page_may_use_it(client: TestClient, served: Served, pictures: list[bytes], ask: Any) -> None:
    answered = ask(client, pictures[0], headers={"Origin": "http://localhost:8000"})
    assert answered.status_code == 200
    assert not [name for name in answered.headers if name.startswith("access-control")]
    behind = served(names=("cxr.hospital.example",))  # a proxy that speaks to it by its address
    assert ask(behind, pictures[0], headers={"Origin": "https://cxr.hospital.example"}).status_code == 200


def test_every_answer_has_the_headers_of_a_page_that_trusts_nobody(client: TestClient, tmp_path: Path) -> None:
    for path in (
        "/",
        "/about",
        "/predict",
        "/metrics",
        "/samples/0.png",
        "/static/none",
        "/none",
        "/v2",
        "/openapi.json",
    ):
        headers = client.get(path).headers
        assert headers["cache-control"] == "no-store", path
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["img-src"] == "'self' data: blob:"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert re.fullmatch(r"[0-9a-f]{16}", headers["x-request-id"])
        assert "server" not in headers


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1.2_3", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ("", False),
        ("a/../b", False),
        ("ü", False),
    ],
)
def test_a_sane_request_id_is_kept_and_another_replaced(client: TestClient, given: str, kept: bool) -> None:
    answered = client.get("/none", headers={"X-Request-ID": given.encode("latin-1")})
    assert (answered.headers["x-request-id"] == given) is kept
    assert answered.json()["request"] == answered.headers["x-request-id"]


def test_paths_and_methods_that_are_none_are_one_sentence(client: TestClient) -> None:
    assert (client.get("/none").status_code, client.get("/none").json()["detail"]) == (
        404,
        "there is nothing at this path",
    )
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404
    answered = client.get("/predict")
    assert (answered.status_code, answered.headers["allow"]) == (405, "POST")
    assert client.get("/samples/x.png").status_code == 404
    assert client.post("/predict?look=maybe").json()["detail"].startswith("query.look: ")
    assert client.get("/docs").status_code == 404


def test_tokens_are_asked_for_but_for_health_and_the_page(
    served: Served, tmp_path: Path, pictures: list[bytes], ask: Any
) -> None:
    (tmp_path / "tokens").write_text(f"# of two\n\nward: {FIRST}\nlab: {SECOND}\n")
    client = served(tokens=tmp_path / "tokens")
    for path in ("/", "/v2/health/live", "/v2/health/ready", "/samples/0.png"):
        assert client.get(path).status_code == 200, path
    for path in ("/about", "/metrics", "/openapi.json", "/v2", "/v2/models/cxrflow", "/none"):
        answered = client.get(path)
        assert answered.status_code == 401, path
        assert answered.headers["www-authenticate"].startswith("Bearer")
    for authorization, status in (
        (f"Bearer {FIRST}", 200),
        (f"bearer {SECOND}", 200),
        (f"Bearer {FIRST[:-1]}", 401),
        (f"Bearer {FIRST}x", 401),
        (f"Basic {FIRST}", 401),
        (FIRST, 401),
        ("Bearer ward", 401),
        ("Bearer", 401),
        ("Bearer ü".encode("latin-1"), 401),
    ):
        assert client.get("/about", headers={"Authorization": authorization}).status_code == status, authorization
    assert ask(client, pictures[0]).status_code == 401
    assert ask(client, pictures[0], headers={"Authorization": f"Bearer {FIRST}"}).status_code == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no token"),
        ("ward", "line 1: is not `name: token`"),
        ("# a\nward: short", "line 2: the token has fewer than 20 characters"),
        (f"ward: {FIRST} {SECOND}", "is not `name: token`"),
        (f"ward: {FIRST}\nlab: {FIRST}", "line 2: the name or the token is there before"),
        (f"ward: {FIRST}\nward: {SECOND}", "line 2: the name or the token is there before"),
    ],
)
def test_a_file_of_tokens_that_is_wrong_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(CxrflowError, match=re.escape(said)) as raised:
        read_tokens(tmp_path / "tokens")
    assert FIRST not in str(raised.value)


def test_a_limit_that_is_not_positive_stops_the_start() -> None:
    with pytest.raises(CxrflowError, match="serve: seconds is 0; it must be positive"):
        Settings(bounds=Bounds(seconds=0)).check()


def test_a_failure_says_nothing_of_the_inside(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, pictures: list[bytes], ask: Any
) -> None:
    client = served()

    def fail(*_: Any) -> None:
        raise RuntimeError("DOE^JANE")

    monkeypatch.setattr(client.app.state.service.scorer, "results", fail)
    with caplog.at_level(logging.ERROR, "cxrflow.serving"):
        answered = ask(client, pictures[0], headers={"X-Request-ID": "mine"})
    assert answered.status_code == 500
    assert answered.json() == {
        "detail": "the service failed; its log says where, under the id of this request",
        "request": "mine",
    }
    assert "request mine: RuntimeError" in caplog.text
    assert "in fail" in caplog.text  # where
    assert "DOE" not in caplog.text
    assert client.app.state.admission.requests == 0


def test_an_answer_that_takes_too_long_is_given_up(
    served: Served, monkeypatch: pytest.MonkeyPatch, pictures: list[bytes], ask: Any
) -> None:
    import asyncio

    client = served(seconds=2)
    monkeypatch.setattr(client.app.state.service.scorer, "results", lambda *_: asyncio.sleep(30))
    answered = ask(client, pictures[0])
    assert (answered.status_code, answered.headers["retry-after"]) == (503, "2")
    assert "no answer within 2 seconds" in answered.json()["detail"]


def test_requests_are_counted_by_few_paths(served: Served, pictures: list[bytes], ask: Any) -> None:
    client = served()
    ask(client, pictures[0], b"")
    for number in range(3):
        client.get(f"/none-{number}")
        client.get(f"/v2/models/{number}")
    text = client.get("/metrics").text
    for line in (
        'cxrflow_requests_total{path="/predict",status="200"} 1.0',
        'cxrflow_requests_total{path="other",status="404"} 3.0',
        'cxrflow_requests_total{path="/v2",status="404"} 3.0',
        'cxrflow_request_seconds_count{path="/predict"} 1.0',
        'cxrflow_images_total{outcome="scored"} 1.0',
        'cxrflow_images_total{outcome="left out"} 1.0',
        "cxrflow_queue 0.0",
        "cxrflow_held_bytes 0.0",
        "cxrflow_batch_images_sum 2.0",
    ):
        assert line in text.splitlines()
