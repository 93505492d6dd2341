"""``cxrflow fetch``: terms first, then what the licence lets one download, or the steps in words."""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cxrflow.errors import CxrflowError, ended, nearest
from cxrflow.fetching.archives import unpack
from cxrflow.fetching.http import Session, digests, download, read
from cxrflow.fetching.places import PLACES
from cxrflow.fetching.programs import fetch_git, fetch_kaggle
from cxrflow.fetching.published import ByHand, Git, Http, Kaggle, Listing, PhysioNet, Published, Remote
from cxrflow.fetching.receipts import FOLDER, PUBLISHED, is_done, read_sums, reserved, write_receipt
from cxrflow.fetching.space import check_space, in_units
from cxrflow.files import digest, write_whole
from cxrflow.running import only_run
from cxrflow.sources import SOURCES
from cxrflow.terminal import console, is_quiet, remark, say, track
from cxrflow.text import name_text

#: Environment variables with the user's name and password at PhysioNet; otherwise ~/.netrc is read.
USER, PASSWORD = "PHYSIONET_USER", "PHYSIONET_PASSWORD"
#: Small files downloaded at the same time, and handed to the threads at a time.
_AT_ONCE, _BATCH = 4, 1000
#: Largest list of files (bytes): MIMIC-CXR-JPG's has 52 MB.
_LIST = 256 << 20


def place_of(name: str) -> Published:
    """Where a collection is published. Raises CxrflowError if there is none of this name."""
    if name not in PLACES:
        said = ended(f"{name}: no such collection{nearest(name, PLACES)}")
        raise CxrflowError(f"{said} Known: {', '.join(PLACES)}.")
    return PLACES[name]


def fetch(names: Sequence[str], to: Path, agreed: bool, ask: Callable[[str], bool] | None) -> list[str]:
    """Show the terms of collections and fetch each into its published folder in ``to``; what this has fetched before is
    not fetched again. Returns the names that were not: those to be had by hand only, and those that were declined.

    agreed  whether the user has agreed to the licences of all
    ask     asks a question that is answered by yes or no; None if nobody is there to answer
    Raises CxrflowError if a name is unknown, nobody agreed, a folder is there that this did not fetch, or something
    cannot be fetched.
    """
    places = {name: place_of(name) for name in names}
    for name, place in places.items():
        print_terms(name, place, to)
    automatic = [name for name, place in places.items() if not isinstance(place.way, ByHand)]
    if automatic and not agreed and ask is None:
        raise CxrflowError(
            f"nothing was fetched: read what is said above of {', '.join(automatic)}, and run again with "
            "--accept-licence."
        )
    wanted = [
        name for name in automatic if agreed or (ask and ask(f"Do you accept the licence of {places[name].title}?"))
    ]
    for name in wanted:
        folders = SOURCES[name].folders
        folder = next((to / known for known in folders if (to / known).is_dir()), to / folders[0])
        with only_run(folder):
            _fetch(name, places[name], folder)
        for step in places[name].then:
            say(f"{name}: what is left to do: {step}")
        say(f"{name}: fetched into {name_text(folder)}; check it with `cxrflow verify {name} {name_text(folder)}`.")
    return [name for name in places if name not in wanted]


def print_terms(name: str, place: Published, to: Path) -> None:
    """Print what is to be known before a collection is fetched: licence and citation first."""
    size = f"{in_units(place.size)} ({place.size_from})" if place.size else "not known"
    images = " or ".join(f"{count:,}" for count in place.images)
    rows = (
        ("licence", f"{place.licence} ({place.terms})"),
        ("cite", place.cite),
        ("page", place.page),
        ("size", size),
        ("images", f"{images}{', by version' * (len(place.images) > 1)}"),
        ("checked by", place.checksums or "counts only: no checksums are published"),
    )
    say(f"{place.title} ({name})")
    for label, words in rows:
        if words:
            say(f"  {label:10} {words}")
    if isinstance(place.way, ByHand):
        say("  It is not fetched automatically. What to do:")
        for number, step in enumerate(
            (*place.way.steps, f"Call the folder {' or '.join(SOURCES[name].folders)}, in {name_text(to)}."), start=1
        ):
            say(f"  {number}. {step}")


def _fetch(name: str, place: Published, folder: Path) -> None:
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    check_space(folder, (place.size or 0) - there)
    if not isinstance(place.way, Git):
        if there and not (folder / FOLDER).is_dir():
            raise CxrflowError(
                f"{name_text(folder)}: is there, and was not fetched by this command; check it with `cxrflow verify`, "
                "or move it away and run again."
            )
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    match place.way:
        case Git():
            fetch_git(place.way, folder)
        case Http(files):
            _fetch_files(files, folder)
        case Listing():
            _fetch_listing(place.way, folder)
        case PhysioNet():
            _fetch_physionet(name, place, place.way, folder)
        case Kaggle():
            noted = place.way.name.replace("/", "+")
            if not is_done(folder, noted):
                archive = fetch_kaggle(place.way, folder / FOLDER, place.page)
                _unpack(archive, folder, noted, "", place.way.strip)
            _fetch_files(place.way.files, folder)
        case ByHand():
            raise AssertionError


def _fetch_files(files: Iterable[Remote], folder: Path) -> None:
    session = Session()
    for remote in files:
        if is_done(folder, remote.path):
            remark(f"{remote.path}: is there already.")
            continue
        target = folder / remote.path if remote.unpack is None else folder / FOLDER / remote.path
        if remote.unpack is None or not target.exists():
            with _shown(remote.path) as shown:
                summed = download(session, remote, target, folder / FOLDER / f"{remote.path}.part", shown)
        if remote.unpack is None:
            write_receipt(folder, remote.path, {remote.path: summed})
        else:
            _unpack(target, folder, remote.path, remote.unpack, remote.strip)


def _unpack(archive: Path, folder: Path, noted: str, into: str, strip: str) -> None:
    write_receipt(folder, noted, unpack(archive, folder, into, strip))
    archive.unlink()


def _fetch_listing(way: Listing, folder: Path) -> None:
    if is_done(folder, "files"):
        remark("Its files are there already.")
        return
    session, files = Session(), []
    for inner in way.folders:
        url = f"{way.url}/{inner}"
        for file, size in _listed(read(session, f"{url}/index.json", _LIST), url):
            files.append(Remote(f"{url}/{quote(file)}", f"{inner}/{file}", size=size))
    _fetch_many(files, folder, None)
    sums = {
        file.path: digests(folder / file.path, {"sha256"})["sha256"] for file in track(files, "noting what was fetched")
    }
    write_receipt(folder, "files", sums)


def _listed(content: bytes, url: str) -> list[tuple[str, int | None]]:
    """The names and sizes of the files that an ``index.json`` lists, without those of the listing itself."""
    try:
        found = [(str(item["Key"]).rpartition("/")[2], item.get("Size")) for item in json.loads(content)["Contents"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CxrflowError(f"{url}/index.json: lists no files as it did; download them by hand from {url}.") from None
    return [
        (file, size if isinstance(size, int) else None)
        for file, size in found
        if file.isprintable() and file not in ("", ".", "..", "index.html", "index.json") and "\\" not in file
    ]


def _fetch_physionet(name: str, place: Published, way: PhysioNet, folder: Path) -> None:
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    credentials = (user, password) if user and password else None
    if credentials is None and requests.utils.get_netrc_auth(way.url) is None:
        raise CxrflowError(
            f"{name} needs your account at PhysioNet: write `machine {urlsplit(way.url).hostname} login NAME password "
            f"PASSWORD` into ~/.netrc (chmod 600), or set {USER} and {PASSWORD}, sign the agreement on {place.page}, "
            "and run again."
        )
    sums = folder / PUBLISHED
    if not sums.exists():
        write_whole(sums, read(Session(credentials), f"{way.url}/{PUBLISHED}", _LIST))
    try:
        listed = list(read_sums(sums, folder))
        if bad := next((path for path, _ in listed if reserved(path)), None):
            raise CxrflowError(f"{name_text(sums)}: lists {name_text(bad)}, which no collection may hold.")
        files = [
            Remote(f"{way.url}/{quote(path, errors='surrogateescape')}", path, f"sha256:{sha}") for path, sha in listed
        ]
    except CxrflowError:
        sums.unlink()  # a page that asks for a login, perhaps
        raise
    _fetch_many(files, folder, credentials)


def _fetch_many(files: Sequence[Remote], folder: Path, credentials: tuple[str, str] | None) -> None:
    """Download small files, several at once; those that are there are passed over, because each appeared whole."""
    own, stop = threading.local(), threading.Event()

    def one(remote: Remote) -> None:
        if not hasattr(own, "session"):
            own.session = Session(credentials)
        part = folder / FOLDER / f"{digest(remote.path)[:32]}.part"
        download(own.session, remote, folder / remote.path, part, on)

    def on(done: int, total: int | None) -> None:
        if stop.is_set():
            raise CxrflowError("stopped.")

    absent = [remote for remote in files if not _is_there(folder / remote.path, remote)]
    remark(f"{len(files) - len(absent):,} of {len(files):,} files are there.")
    waiting, shown = iter(absent), iter(track(range(len(absent)), "downloading files", disable=not absent))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            while batch := list(islice(waiting, _BATCH)):
                for _ in pool.map(one, batch):
                    next(shown)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for _ in shown:
        pass


def _is_there(path: Path, remote: Remote) -> bool:
    return path.is_file() and remote.size in (None, path.stat().st_size)


@contextmanager
def _shown(name: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """A bar for a download on a terminal, else a line at its beginning."""
    screen = console()
    if is_quiet() or not screen.is_terminal:
        remark(f"{name}: downloading.")
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=screen) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
