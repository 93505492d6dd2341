"""Collections that other programs fetch: git, and Kaggle's own client."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cxrflow.errors import CxrflowError, LeftOut, one_line
from cxrflow.fetching.published import Git, Kaggle
from cxrflow.files import below, remove
from cxrflow.terminal import console, is_quiet, track
from cxrflow.text import name_text

#: Nothing of a fetched repository runs, and links in it become files that hold the name of what they lead to.
_SAFE = (
    *("-c", "core.symlinks=false", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"),
    *("-c", "core.autocrlf=false", "-c", "core.fileMode=false", "-c", "core.quotePath=false"),
)
#: Variables that would have git look at another repository.
_OTHERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_CHUNK = 1 << 20


def fetch_git(way: Git, folder: Path) -> None:
    """Make ``folder`` a clone of a repository at its commit, or, for the newest, bring it up to date.

    Files of the commit that were removed since are put back; those that were changed are left alone.
    Only that commit is fetched. A new clone appears when it is complete.
    Raises CxrflowError if git is not installed or fails, or the folder is there but is no clone of its own.
    """
    if folder.exists() and not (folder / ".git").exists():
        raise CxrflowError(
            f"{name_text(folder)}: is there, but is no clone of {way.url}; check it with `cxrflow verify`, or move it "
            "away and run again."
        )
    if folder.exists() and way.commit is not None and head(folder) == way.commit:
        _put_back(folder)
        return
    place = folder if folder.exists() else folder.with_name(f".{folder.name}.part")
    if place != folder:
        remove(place)
        place.mkdir(parents=True)
        git(place, "init", "--quiet")
    git(place, "fetch", "--depth", "1", "--no-tags", way.url, way.commit or "HEAD", url=way.url)
    git(place, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    if way.commit is not None and head(place) != way.commit:
        raise CxrflowError(f"{way.url}: git fetched another commit than {way.commit}; run again.")
    if place != folder:
        os.replace(place, folder)
    else:
        _put_back(folder)


def _put_back(folder: Path) -> None:
    _, missing, _ = damaged_in_clone(folder)
    for start in range(0, len(missing), 100):  # names of 255 bytes fit into a command line
        git(folder, "checkout", "--quiet", "HEAD", "--", *(f":(top,literal){name}" for name in missing[start:][:100]))


def head(folder: Path) -> str:
    """The commit that a clone is at."""
    return git(folder, "rev-parse", "HEAD").strip()


def damaged_in_clone(folder: Path) -> tuple[int, list[str], list[str]]:
    """The number of files of a clone's commit, and the names of those that are missing and that differ from it.

    Every file is read, and its object name computed here: git's index trusts sizes and times, and git itself would run
    the filter programs that the clone's configuration names.
    Raises CxrflowError if git's own objects are damaged.
    """
    git(folder, "fsck", "--no-dangling", "--no-progress")
    entries = [entry.partition("\t") for entry in git(folder, "ls-tree", "-rz", "--full-tree", "HEAD").split("\0")[:-1]]
    files = [(name, about.split()[2]) for about, _, name in entries if about.split()[1] == "blob"]
    missing, damaged = [], []
    for name, expected in track(files, f"checking {folder.name}", disable=not files):
        try:
            path = below(folder, name, follow_links=True)
            if _object_name(path, "sha1" if len(expected) == 40 else "sha256") != expected:
                damaged.append(name)
        except (FileNotFoundError, NotADirectoryError):
            missing.append(name)
        except (OSError, LeftOut):
            damaged.append(name)
    return len(files), missing, damaged


def _object_name(path: Path, kind: str) -> str:
    """git's name of a file's content, or of what a link leads to: a checksum of the type, the length and the bytes."""
    if path.is_symlink():
        content = os.fsencode(os.readlink(path))
        return hashlib.new(kind, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError("not a file")  # a FIFO would be waited for
    summed = hashlib.new(kind, b"blob %d\0" % about.st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            summed.update(chunk)
    return summed.hexdigest()


def git(folder: Path, *words: str, url: str | None = None) -> str:
    """Run git in ``folder``, without asking for passwords, and return its standard output.

    url  of the server, if one is asked: only its protocol is allowed, and progress is shown on a terminal
    Raises CxrflowError if git is not installed or fails.
    """
    program = shutil.which("git")
    if program is None:
        raise CxrflowError("this collection is a git repository: install git, and run again.")
    shows = url is not None and console().is_terminal and not is_quiet()
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    environment["GIT_ALLOW_PROTOCOL"] = urlsplit(url).scheme if url else "none"
    # Of the clone alone, and not of a repository around it.
    environment = {key: value for key, value in environment.items() if key not in _OTHERS}
    environment |= {"GIT_CEILING_DIRECTORIES": str(folder.absolute().parent)}
    command = [program, *_SAFE, "-C", str(folder), *words]
    if shows:
        command.insert(-2, "--progress")
    process = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=None if shows else subprocess.PIPE,
        env=environment, encoding="utf-8", errors="surrogateescape",
    )  # fmt: skip
    try:
        out, said = process.communicate()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        what = one_line((said or "see above").replace("fatal: ", ""), 300)
        if url is not None:
            raise CxrflowError(
                f"{urlsplit(url).hostname or url}: git could not fetch {url} ({what}); check the network, and the "
                "proxy if there is one, and run again."
            )
        raise CxrflowError(f"{name_text(folder)}: git {words[0]} failed ({what}).")
    return out


def fetch_kaggle(way: Kaggle, folder: Path, page: str) -> Path:
    """Have Kaggle's client download into ``folder``, and return the archive. The client goes on with what an earlier
    call left.

    page  where the rules are accepted
    Raises CxrflowError if the client is not installed, has no key, or fails.
    """
    beside = os.path.dirname(sys.executable)
    program = shutil.which("kaggle", path=os.pathsep.join((beside, os.environ.get("PATH", ""))))
    if program is None:
        raise CxrflowError(
            f"{way.name} comes from Kaggle, by its own client: `pip install kaggle`, store your key as "
            "https://www.kaggle.com/docs/api says (environment variable KAGGLE_API_TOKEN, or ~/.kaggle/kaggle.json), "
            f"accept the rules on {page}, and run again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    quiet = [] if console().is_terminal and not is_quiet() else ["--quiet"]
    command = [program, way.kind, "download", way.name, "--path", str(folder), *quiet]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    archive = folder / f"{way.name.rpartition('/')[2]}.zip"
    if done.returncode or not archive.is_file():
        raise CxrflowError(
            f"{way.name}: Kaggle's client did not download it (exit status {done.returncode}; its own words are "
            f"above); check your key and the network, and accept the rules on {page}, then run again."
        )
    return archive
