"""``cxrflow fetch``: terms before bytes, consent, each way of obtaining a collection, interruption and going on."""

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.fetching import fetch as module
from cxrflow.fetching.fetch import fetch
from cxrflow.fetching.places import PLACES
from cxrflow.fetching.published import ByHand, Git, Http, Kaggle, Listing, PhysioNet, Remote
from cxrflow.fetching.verify import verify
from cxrflow.sources import SOURCES

PNG = b"\x89PNG" * 500
CHILDREN = {f"chest_xray/train/{kind}/{kind}-{n}-0001.jpeg": PNG for n in range(2) for kind in ("NORMAL", "PNEUMONIA")}


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return packed.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def on_disk(folder: Path) -> dict[str, bytes]:
    """Content of the files at any depth, but for the lock of a run."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def published(monkeypatch):
    """Have a collection published elsewhere."""

    def publish(name: str, way, **more) -> None:
        monkeypatch.setitem(PLACES, name, replace(PLACES[name], way=way, **{"size": None} | more))

    return publish


@pytest.fixture
def children(server, published) -> str:
    """kermany, as an archive on the server, with its checksum."""
    archive = zipped(CHILDREN)
    server.page("/c.zip", archive)
    digest = f"sha256:{hashlib.sha256(archive).hexdigest()}"
    published(
        "kermany", Http((Remote(f"{server.url}/c.zip", "c.zip", digest, unpack="", strip="chest_xray"),)), images=(4,)
    )
    return "kermany"


def test_each_collection_has_a_place_and_terms() -> None:
    assert list(PLACES) == [name for name, collection in SOURCES.items() if collection.folders]
    for place in PLACES.values():
        assert place.licence
        assert place.cite.partition(" ")[0].isalpha() or place.cite[0].isalpha()
        assert any(mark in place.cite for mark in ("doi:10.", "arXiv:", "https://"))
        addresses = [place.page, place.terms]
        match place.way:
            case Http(files) | Kaggle(files=files):
                addresses += [file.url for file in files]
            case Git(url) | Listing(url) | PhysioNet(url):
                addresses.append(url)
        assert all(url.startswith("https://") or url == "http://hdl.handle.net/10668/20430" for url in addresses)


def test_terms_come_before_any_request_and_consent_is_asked_for(children, server, tmp_path, capsys) -> None:
    with pytest.raises(CxrflowError, match=r"^nothing was fetched: .*kermany, and run again with --accept-licence\.$"):
        fetch([children], tmp_path / "to", False, None)
    shown = capsys.readouterr().out
    assert "CC BY 4.0" in shown
    assert "doi:10.17632/rscbjbr9sj.2" in shown
    asked = []

    def no(question: str) -> bool:
        asked.append((question, len(server.asked)))
        return False

    assert fetch([children], tmp_path / "to", False, no) == ["kermany"]
    assert asked == [("Do you accept the licence of Chest X-Ray Images (Pneumonia)?", 0)]
    assert server.asked == []
    assert not (tmp_path / "to").exists()
    assert fetch([children], tmp_path / "to", False, lambda question: True) == []


def test_an_archive_is_unpacked_once_and_complete(children, server, tmp_path, capsys) -> None:
    assert fetch([children], tmp_path, True, None) == []
    folder = tmp_path / "chest_xray"
    files = {name.removeprefix("chest_xray/"): content for name, content in CHILDREN.items()}
    receipt = ".fetched/c.zip.sha256"
    found = on_disk(folder)
    lines = found.pop(receipt).decode().splitlines()
    assert found == files
    assert sorted(lines) == sorted(f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in files.items())
    if sys.platform == "linux":
        subprocess.run(["sha256sum", "--check", "--quiet", receipt], cwd=folder, check=True)
    assert fetch([children], tmp_path, True, None) == []
    assert len(server.asked) == 1
    assert f"check it with `cxrflow verify kermany {folder}`" in capsys.readouterr().out
    assert verify("kermany", folder)
    damaged = folder / "train" / "NORMAL" / "NORMAL-0-0001.jpeg"
    damaged.write_bytes(b"other")
    assert not verify("kermany", folder)
    damaged.unlink()
    assert fetch([children], tmp_path, True, None) == []
    assert verify("kermany", folder)


def test_a_terminal_gets_a_bar(children, tmp_path, monkeypatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=200)
    monkeypatch.setattr(module, "console", lambda: screen)
    fetch([children], tmp_path, True, None)
    size = len(zipped(CHILDREN))
    assert f"c.zip {'━' * 40} {size / 1000:.1f}/{size / 1000:.1f} kB" in Text.from_ansi(screen.file.getvalue()).plain


def test_a_kill_while_unpacking_or_downloading_goes_on(children, server, tmp_path, monkeypatch) -> None:
    from cxrflow.fetching import archives

    real, calls = archives.write_whole, []

    def killed(path, content) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(archives, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch([children], tmp_path, True, None)
    assert not verify("kermany", tmp_path / "chest_xray")
    monkeypatch.setattr(archives, "write_whole", real)
    fetch([children], tmp_path, True, None)
    assert len(server.asked) == 1  # the archive was there
    assert verify("kermany", tmp_path / "chest_xray")


def test_what_was_had_otherwise_is_not_written_over(children, server, tmp_path) -> None:
    mine = tmp_path / "chest_xray" / "train" / "NORMAL" / "NORMAL-0-0001.jpeg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(CxrflowError, match=r"chest_xray: is there, and was not fetched by this command; .* again\.$"):
        fetch([children], tmp_path, True, None)
    assert mine.read_bytes() == b"mine"
    assert server.asked == []


def test_another_published_name_of_the_folder_is_kept(published, server, tmp_path) -> None:
    server.page("/t.csv", b"a\n")
    published("openi", Http((Remote(f"{server.url}/t.csv", "t.csv"),)))
    (tmp_path / "chest-xrays-indiana-university").mkdir()
    fetch(["openi"], tmp_path, True, None)
    assert (tmp_path / "chest-xrays-indiana-university" / "t.csv").read_bytes() == b"a\n"
    assert not (tmp_path / "NLMCXR").exists()


def test_several_archives_each_into_its_folder(server, published, tmp_path, capsys) -> None:
    reports, images = tarred({"ecgen-radiology/1.xml": b"<x/>"}), tarred({"CXR1_1_IM-0001-3001.png": PNG})
    server.page("/r.tgz", reports, breaks=[10])
    server.page("/p.tgz", images)
    remotes = (
        Remote(f"{server.url}/r.tgz", "r.tgz", unpack=""),
        Remote(f"{server.url}/p.tgz", "p.tgz", unpack="NLMCXR_png"),
        Remote(f"{server.url}/t.csv", "t.csv"),
    )
    server.page("/t.csv", b"a,b\n")
    published("openi", Http(remotes))
    fetch(["openi"], tmp_path, True, None)
    names = [name for name in on_disk(tmp_path / "NLMCXR") if not name.startswith(".fetched/")]
    assert sorted(names) == ["NLMCXR_png/CXR1_1_IM-0001-3001.png", "ecgen-radiology/1.xml", "t.csv"]
    assert "what is left to do: Put indiana_projections.csv" in capsys.readouterr().out
    asked = len(server.asked)
    fetch(["openi"], tmp_path, True, None)
    assert len(server.asked) == asked


def test_what_is_had_by_hand_only_is_said_in_steps_with_a_status_of_its_own(tmp_path) -> None:
    done = CliRunner().invoke(app, ["fetch", "chexpert", "padchest", "--to", str(tmp_path)])
    assert done.exit_code == 3
    assert "1. Read the research use agreement on the page, and register there" in done.output
    assert f"Call the folder PadChest or BIMCV-PadChest or PADCHEST, in {tmp_path}." in done.output
    assert list(tmp_path.iterdir()) == []
    by_hand = {name for name, place in PLACES.items() if isinstance(place.way, ByHand)}
    assert by_hand == {"bimcv-covid19", "chexpert", "padchest", "tbx11k", "covidx"}


def test_unknown_names_stop_before_anything(children, server, tmp_path) -> None:
    with pytest.raises(CxrflowError, match=r"^kermaney: no such collection; did you mean kermany\? Known: covid"):
        fetch([children, "kermaney"], tmp_path, True, None)
    assert server.asked == []


def test_a_listed_bucket(server, published, tmp_path) -> None:
    base = "/public/MontgomerySet"
    for inner, files in {
        "CXR_png": {"MCUCXR_0001_0.png": PNG},
        "ClinicalReadings": {"MCUCXR_0001_0.txt": b"normal"},
    }.items():
        listed = [{"Key": f"x/{inner}/{name}", "Size": len(content)} for name, content in files.items()]
        listed += [{"Key": f"x/{inner}/index.html"}, {"Key": f"x/{inner}/"}, {"Key": f"x/{inner}/.."}]
        server.page(f"{base}/{inner}/index.json", json.dumps({"Contents": listed}).encode())
        for name, content in files.items():
            server.page(f"{base}/{inner}/{name}", content, breaks=[3])
    published("montgomery", Listing(server.url + base, ("CXR_png", "ClinicalReadings")), images=(1,))
    fetch(["montgomery"], tmp_path, True, None)
    assert verify("montgomery", tmp_path / "MontgomerySet")
    asked = len(server.asked)
    fetch(["montgomery"], tmp_path, True, None)
    assert len(server.asked) == asked
    server.page(f"{base}/CXR_png/index.json", b'{"Other": []}')
    with pytest.raises(CxrflowError, match=r"index\.json: lists no files as it did"):
        fetch(["montgomery"], tmp_path / "other", True, None)


@pytest.fixture
def physionet(server, published) -> dict[str, bytes]:
    """mimic-cxr-jpg, on the server, behind a login; returns its files."""
    metadata = "dicom_id,subject_id,study_id,ViewPosition\na,10000032,50414267,PA\nb,10000032,50414267,AP\n"
    labels = "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,"
    labels += (
        "Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices\n"
    )
    labels += "10000032,50414267,,,,,,,,,1.0,,,,,\n"
    files = {
        "mimic-cxr-2.0.0-metadata.csv.gz": gzip.compress(metadata.encode()),
        "mimic-cxr-2.0.0-chexpert.csv.gz": gzip.compress(labels.encode()),
        "files/p10/p10000032/s50414267/a.jpg": PNG,
        "files/p10/p10000032/s50414267/b.jpg": PNG + b"b",
        "a name with ä.txt": b"x",
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items())
    for path, content in {**files, "SHA256SUMS.txt": sums.encode()}.items():
        server.page(f"/v/{path}", content, login=("me", "secret"))
    published("mimic-cxr-jpg", PhysioNet(f"{server.url}/v"), images=(2,))
    return files


def test_physionet_with_credentials(physionet, server, tmp_path, monkeypatch, capfd) -> None:
    with pytest.raises(CxrflowError, match=r"^mimic-cxr-jpg needs your account at PhysioNet: .*PHYSIONET_USER and"):
        fetch(["mimic-cxr-jpg"], tmp_path, True, None)
    assert server.asked == []
    monkeypatch.setenv("PHYSIONET_USER", "me")
    monkeypatch.setenv("PHYSIONET_PASSWORD", "wrong-word")
    with pytest.raises(CxrflowError, match="credentials are missing or wrong"):
        fetch(["mimic-cxr-jpg"], tmp_path, True, None)
    monkeypatch.setenv("PHYSIONET_PASSWORD", "secret")
    server.pages["/v/files/p10/p10000032/s50414267/a.jpg"].statuses = [500]
    server.pages["/v/files/p10/p10000032/s50414267/b.jpg"].breaks = [10, 700]
    monkeypatch.setattr(module, "_BATCH", 2)  # of five files
    fetch(["mimic-cxr-jpg"], tmp_path, True, None)
    found = on_disk(tmp_path / "mimic-cxr-jpg")
    found.pop("SHA256SUMS.txt")
    assert found == physionet
    assert verify("mimic-cxr-jpg", tmp_path / "mimic-cxr-jpg")
    asked = len(server.asked)
    fetch(["mimic-cxr-jpg"], tmp_path, True, None)
    assert len(server.asked) == asked
    said = "".join(capfd.readouterr())
    assert "secret" not in said
    assert "wrong-word" not in said
    assert not any(b"secret" in content for content in on_disk(tmp_path).values())


def test_physionets_file_that_is_not_what_its_list_says_is_not_kept(physionet, server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PHYSIONET_USER", "me")
    monkeypatch.setenv("PHYSIONET_PASSWORD", "secret")
    server.pages["/v/files/p10/p10000032/s50414267/b.jpg"].content = b"other"
    with pytest.raises(CxrflowError, match=r"b\.jpg: what arrived does not have the published checksum"):
        fetch(["mimic-cxr-jpg"], tmp_path, True, None)
    assert not (tmp_path / "mimic-cxr-jpg" / "files/p10/p10000032/s50414267/b.jpg").exists()
    assert not verify("mimic-cxr-jpg", tmp_path / "mimic-cxr-jpg")


@pytest.mark.parametrize("line", ["../out", "/out", "files/../../out", ".fetched/x.sha256", "files/.git/config"])
def test_a_hostile_list_writes_nowhere_else(physionet, server, tmp_path, monkeypatch, line) -> None:
    monkeypatch.setenv("PHYSIONET_USER", "me")
    monkeypatch.setenv("PHYSIONET_PASSWORD", "secret")
    server.pages["/v/SHA256SUMS.txt"].content = f"{'0' * 64}  {line}\n".encode()
    with pytest.raises(CxrflowError, match=r"line 1: path leaves the collection's folder|which no collection may"):
        fetch(["mimic-cxr-jpg"], tmp_path / "to", True, None)
    assert on_disk(tmp_path) == {}
    server.pages["/v/SHA256SUMS.txt"].content = b"<html>log in</html>\n"
    with pytest.raises(CxrflowError, match="line 1: is not"):
        fetch(["mimic-cxr-jpg"], tmp_path / "to", True, None)
    assert on_disk(tmp_path) == {}


def test_kaggles_archive_and_a_file_from_elsewhere(client, server, published, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KEY", "x")
    server.page("/m.json", b"[]")
    published("rsna", Kaggle("datasets", "o/n", strip="top", files=(Remote(f"{server.url}/m.json", "m.json"),)))
    for _ in range(2):
        fetch(["rsna"], tmp_path, True, None)
        found = on_disk(tmp_path / "rsna-pneumonia-detection-challenge")
        assert {name for name in found if not name.startswith(".fetched")} == {"a.csv", "m.json"}
    assert len(client.read_text().splitlines()) == 1
    assert len(server.asked) == 1


def test_a_git_repository(published, tmp_path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    (origin / "png").mkdir()
    (origin / "png" / "1.png").write_bytes(PNG)
    (origin / "data.csv").write_text("patient_id,image_id\np,1\n")
    who = ("-c", "user.name=x", "-c", "user.email=x@x.example")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run(["git", *who, *words], cwd=origin, check=True)
    published("hannover", Git(origin.as_uri()), images=(1,))
    fetch(["hannover"], tmp_path / "to", True, None)
    folder = tmp_path / "to" / "covid-19-image-repository"
    assert verify("hannover", folder)
    (folder / "png" / "1.png").write_bytes(PNG[::-1])
    assert not verify("hannover", folder)
    (folder / "png" / "1.png").unlink()
    (folder / "data.csv").write_text("patient_id,image_id\nother,1\n")
    fetch(["hannover"], tmp_path / "to", True, None)
    assert (folder / "png" / "1.png").read_bytes() == PNG
    assert not verify("hannover", folder)  # what was changed by hand is not overwritten


PROGRAM = """
import sys
from dataclasses import replace
from cxrflow.cli import main
from cxrflow.fetching.places import PLACES
from cxrflow.fetching.published import Http, Remote
remote = Remote(sys.argv.pop(), "c.zip", unpack="", strip="chest_xray")
PLACES["kermany"] = replace(PLACES["kermany"], way=Http((remote,)))
main()
"""


def test_a_killed_process_goes_on(server, published, tmp_path) -> None:
    archive = zipped(CHILDREN | {"chest_xray/train/NORMAL/large.jpeg": os.urandom(2_000_000)})
    server.page("/c.zip", archive, slow=0.1)
    command = [sys.executable, "-c", PROGRAM, "fetch", "kermany", "--to", str(tmp_path), "--accept-licence"]
    part = tmp_path / "chest_xray" / ".fetched" / "c.zip.part"
    process = subprocess.Popen([*command, f"{server.url}/c.zip"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 143
    assert said == "cxrflow: stopped before the end; run the same command again to go on.\n"
    there = part.stat().st_size
    assert 0 < there < len(archive)
    server.pages["/c.zip"].slow = 0
    published("kermany", Http((Remote(f"{server.url}/c.zip", "c.zip", unpack="", strip="chest_xray"),)))
    fetch(["kermany"], tmp_path, True, None)
    assert server.asked[-1][1] == f"bytes={there}-"
    assert (tmp_path / "chest_xray" / "train" / "NORMAL" / "large.jpeg").stat().st_size == 2_000_000


def test_too_little_space_is_said_before_anything(children, server, published, tmp_path) -> None:
    published("kermany", PLACES["kermany"].way, size=10**18)
    with pytest.raises(CxrflowError, match=r"chest_xray: needs 1000000\.0 TB more"):
        fetch([children], tmp_path, True, None)
    assert server.asked == []


def test_the_command_line(children, tmp_path) -> None:
    done = CliRunner().invoke(app, ["fetch", children, "--to", str(tmp_path), "--accept-licence"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["verify", children, str(tmp_path)])
    assert done.exit_code == 0, done.output
    (tmp_path / "chest_xray/train/NORMAL/NORMAL-0-0001.jpeg").unlink()
    done = CliRunner().invoke(app, ["verify", children, str(tmp_path)])
    assert done.exit_code == 1
    assert "missing: train/NORMAL/NORMAL-0-0001.jpeg" in done.output
