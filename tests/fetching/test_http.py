"""Downloads go on where they stopped, only of the same file, and are whole and right or not there."""

import hashlib
import json
import random
import socket
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.fetching import http, space
from cxrflow.fetching.http import Session, download, read
from cxrflow.fetching.published import Remote

DATA = random.Random(0).randbytes(300_000)
SHA = hashlib.sha256(DATA).hexdigest()


def fetched(server, tmp_path: Path, path: str = "/a", session: Session | None = None, **remote) -> bytes:
    target, part = tmp_path / "a", tmp_path / ".fetched" / "a.part"
    summed = download(session or Session(), Remote(server.url + path, "a", **remote), target, part)
    content = target.read_bytes()
    assert hashlib.sha256(content).hexdigest() == summed
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a"]  # nothing is left behind
    target.unlink()
    return content


def ranges(server) -> list[str | None]:
    return [asked[1] for asked in server.asked]


def test_a_file_arrives_whole(server, tmp_path) -> None:
    server.page("/a", DATA)
    assert fetched(server, tmp_path, size=len(DATA), digest=f"sha256:{SHA}") == DATA
    assert fetched(server, tmp_path, digest=f"md5:{hashlib.md5(DATA).hexdigest()}") == DATA  # noqa: S324
    assert ranges(server) == [None, None]


@pytest.mark.parametrize("how", [{}, {"etag": None, "date": True}])
def test_a_broken_connection_goes_on_where_it_stopped(server, tmp_path, how) -> None:
    server.page("/a", DATA, breaks=[100_000, 50_000, 0], **how)
    assert fetched(server, tmp_path) == DATA
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-"]
    assert all(asked[2] for asked in server.asked[1:])  # If-Range


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3000), max_size=4), st.booleans(), st.sampled_from(['"x"', 'W/"x"', None]))
def test_whatever_breaks_the_file_is_right(server, tmp_path, breaks, ranges, etag) -> None:
    server.page("/a", DATA[:3000], breaks=list(breaks), ranges=ranges, etag=etag)
    assert fetched(server, tmp_path) == DATA[:3000]


def test_an_interrupted_download_goes_on_in_the_next_process(server, tmp_path) -> None:
    server.page("/a", DATA)

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    target, part = tmp_path / "a", tmp_path / ".fetched" / "a.part"
    with pytest.raises(KeyboardInterrupt):
        download(Session(), Remote(f"{server.url}/a", "a"), target, part, stop)
    assert not target.exists()
    there = part.stat().st_size
    assert 0 < there < len(DATA)
    assert fetched(server, tmp_path) == DATA
    assert ranges(server)[-1] == f"bytes={there}-"


def test_a_file_that_changed_in_the_middle_is_fetched_anew(server, tmp_path) -> None:
    page = server.page("/a", DATA, breaks=[1000, *[0] * 5])
    with pytest.raises(CxrflowError, match=r"^127\.0\.0\.1: keeps breaking off .* what has arrived is kept\.$"):
        fetched(server, tmp_path)
    assert (tmp_path / ".fetched" / "a.part").stat().st_size == 1000
    page.content, page.etag = DATA[::-1], '"new"'
    assert fetched(server, tmp_path) == DATA[::-1]


@pytest.mark.parametrize("how", [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}])
def test_without_parts_or_something_that_identifies_the_file_it_begins_anew(server, tmp_path, how) -> None:
    server.page("/a", DATA, breaks=[200_000], **how)
    assert fetched(server, tmp_path) == DATA
    assert ranges(server)[1] == ("bytes=200000-" if how == {"ranges": False} else None)


def test_a_published_checksum_identifies_the_file_too(server, tmp_path) -> None:
    server.page("/a", DATA, breaks=[200_000], etag=None)
    assert fetched(server, tmp_path, digest=f"sha256:{SHA}") == DATA
    assert ranges(server) == [None, "bytes=200000-"]


def test_a_part_of_another_address_or_without_its_note_is_not_used(server, tmp_path) -> None:
    server.page("/a", DATA)
    part = tmp_path / ".fetched" / "a.part"
    for note in (None, "{", "[]", json.dumps({"url": "http://elsewhere/a", "validator": server.pages["/a"].etag})):
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(b"x" * 100)
        if note is not None:
            part.with_name("a.part.json").write_text(note)
        assert fetched(server, tmp_path, digest=f"sha256:{SHA}") == DATA


def test_a_whole_part_is_not_fetched_again(server, tmp_path) -> None:
    page = server.page("/a", DATA)
    part = tmp_path / ".fetched" / "a.part"
    part.parent.mkdir()
    part.write_bytes(DATA)
    note = {"url": f"{server.url}/a", "validator": page.etag, "total": len(DATA)}
    part.with_name("a.part.json").write_text(json.dumps(note))
    assert fetched(server, tmp_path) == DATA
    assert ranges(server) == [f"bytes={len(DATA)}-"]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path) -> None:
    server.page("/a", DATA[:-1] + b"x")
    with pytest.raises(CxrflowError, match=r"^a: what arrived does not have the published checksum \(sha256:"):
        fetched(server, tmp_path, digest=f"sha256:{SHA}")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_wrong_size_stops_before_anything_is_downloaded(server, tmp_path) -> None:
    server.page("/a", DATA)
    with pytest.raises(CxrflowError, match=r"^a: has 300,000 bytes instead of the published 300,001;"):
        fetched(server, tmp_path, size=300_001)


def test_a_server_in_trouble_is_asked_again(server, tmp_path) -> None:
    server.page("/a", DATA, statuses=[503, 429])
    assert fetched(server, tmp_path) == DATA
    server.page("/a", DATA, statuses=[503] * 6)
    with pytest.raises(CxrflowError, match=r"keeps breaking off \(status 503\)"):
        fetched(server, tmp_path)


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "credentials are missing or wrong"), (403, "terms on its page"), (404, "is not there any more")],
)
def test_a_refusal_says_what_to_do_and_is_not_tried_again(server, tmp_path, status, why) -> None:
    server.page("/a", DATA, statuses=[status])
    with pytest.raises(CxrflowError, match=f"status {status} of 127.0.0.1: .*{why}"):
        fetched(server, tmp_path)
    assert len(server.asked) == 1


def test_credentials_reach_their_server_and_no_other(server, tmp_path) -> None:
    server.page("/a", DATA, login=("me", "secret"))
    with pytest.raises(CxrflowError, match="401"):
        fetched(server, tmp_path)
    with pytest.raises(CxrflowError, match="401") as refused:
        fetched(server, tmp_path, session=Session(("me", "wrong-word")))
    assert "wrong-word" not in str(refused.value)
    assert fetched(server, tmp_path, session=Session(("me", "secret"))) == DATA
    server.page("/there", DATA)
    server.page("/r", b"", location=server.url.replace("127.0.0.1", "localhost") + "/there")
    server.asked.clear()
    assert fetched(server, tmp_path, "/r", session=Session(("me", "secret"))) == DATA
    assert [(path, given is not None) for path, _, _, given in server.asked] == [("/r", True), ("/there", False)]


def test_credentials_of_netrc_are_used(server, tmp_path, monkeypatch) -> None:
    netrc = tmp_path.with_name("netrc-of-the-test")
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.page("/a", DATA, login=("me", "secret"))
    assert fetched(server, tmp_path) == DATA


def test_a_redirect_is_followed_but_not_to_another_scheme(server, tmp_path) -> None:
    server.page("/a", DATA)
    server.page("/r", b"", location="/a")
    assert fetched(server, tmp_path, "/r") == DATA
    server.page("/f", b"", location="ftp://127.0.0.1/a")
    with pytest.raises(CxrflowError, match=r"^127\.0\.0\.1: redirects from http to ftp, which is not followed"):
        fetched(server, tmp_path, "/f")
    server.page("/loop", b"", location="/loop")
    with pytest.raises(CxrflowError, match="cannot be asked for"):
        fetched(server, tmp_path, "/loop")


def test_a_redirect_from_https_to_http_is_refused() -> None:
    answer = requests.Response()
    answer.status_code, answer.url, answer.headers["location"] = 302, "https://a.example/x", "http://a.example/x"
    with pytest.raises(CxrflowError, match=r"^a\.example: redirects from https to http"):
        Session().get_redirect_target(answer)
    answer.headers["location"] = "/y"
    assert Session().get_redirect_target(answer) == "/y"


def test_a_web_page_instead_of_the_file_is_no_file(server, tmp_path) -> None:
    server.page("/a", b"<html>log in", kind="text/html; charset=utf-8")
    with pytest.raises(CxrflowError, match=r"^a: 127\.0\.0\.1 answers with a web page instead of the file"):
        fetched(server, tmp_path)


def test_without_a_network_one_sentence_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(http, "PAUSES", (1e9,))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a"
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", _no_names)
    for address in (url, "https://data.example/a"):
        with pytest.raises(CxrflowError, match=r"^\S+: cannot be reached; check the network, and the proxy [^.]*\.$"):
            download(Session(), Remote(address, "a"), tmp_path / "a", tmp_path / "a.part")
        with pytest.raises(CxrflowError, match="cannot be reached"):
            read(Session(), address, 10)


_REAL = socket.getaddrinfo


def _no_names(host, *rest, **more):
    if host == "127.0.0.1":
        return _REAL(host, *rest, **more)
    raise socket.gaierror(-3, "Temporary failure in name resolution")


def test_a_slow_server_is_asked_again(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(http, "_PATIENCE", (5.0, 0.1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(CxrflowError, match="keeps breaking off"):
            read(Session(), f"http://127.0.0.1:{silent.getsockname()[1]}/a", 10)


def test_more_bytes_than_said_or_allowed_are_not_taken(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(http, "_MOST", 1000)
    server.page("/a", DATA, length=False)
    with pytest.raises(CxrflowError, match="sends more than it said"):
        fetched(server, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    server.page("/list", DATA)
    assert read(Session(), f"{server.url}/list", 300_000) == DATA
    with pytest.raises(CxrflowError, match=r"/list: has more than 300\.0 kB"):
        read(Session(), f"{server.url}/list", 299_999)


def test_a_full_disk_is_said_before_the_download(server, tmp_path, monkeypatch) -> None:
    server.page("/a", DATA)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100_100_000})())
    with pytest.raises(CxrflowError, match=r"needs 300\.0 kB more, and 100\.1 MB are free; .* --to\.$"):
        fetched(server, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
