"""What this machine has and what is missing: versions, device, memory, disk, network, packages of the extras.

Imports nothing that may be missing: this is what one runs where something is.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from threading import Thread

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version
from rich.markup import escape
from rich.table import Table

import cxrflow
from cxrflow.errors import one_line
from cxrflow.terminal import console

_PACKAGE = "cxrflow"
#: Packages whose versions are shown, beside Python's and Java's.
_SHOWN = ("torch", "torchvision", "timm", "pytorch-lightning", "numpy", "pandas", "dvc", "pyspark")
#: Hosts of weights that are downloaded, and what they are for.
HOSTS = {
    "huggingface.co": "timm's pretrained weights",
    "download.pytorch.org": "torchvision's pretrained weights",
    "github.com": "torchxrayvision's weights",
    "pypi.org": "packages",
}
#: How long the network is waited for (seconds).
_PATIENCE = 2.0
#: The oldest Java that Spark 4 runs on.
_JAVA = 17


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table.

    part    what it belongs to: base, version, machine, disk, network, extra
    name    what was looked at
    found   what there is
    remedy  what to do about what is missing; None if nothing is
    """

    part: str
    name: str
    found: str
    remedy: str | None = None


def checks(folders: Sequence[Path]) -> list[Check]:
    """Look at everything. Never raises, and takes some seconds: PyTorch is imported, and the network waited for.

    folders  where data and results lie, or will
    """
    return [*_base(), *_versions(), *_machine(), *_disk(folders), *_network(), *_extras()]


def print_checks(found: Sequence[Check], as_json: bool) -> bool:
    """Print the checks as a table, or as a JSON list of objects. Returns whether the base install has all it needs."""
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=2))
    else:
        table = Table("part", "what", "found", "to do")
        for number, check in enumerate(found):
            first = number == 0 or found[number - 1].part != check.part
            if first and number:
                table.add_section()
            table.add_row(check.part if first else "", *map(escape, (check.name, check.found, check.remedy or "")))
        console().print(table)
    return not any(check.part == "base" and check.remedy for check in found)


def _base() -> Iterator[Check]:
    try:
        needed = [need for need in _requirements(_PACKAGE) if _is_wanted(need, "")]
    except metadata.PackageNotFoundError:
        yield Check("base", _PACKAGE, "not installed", "pip install --editable . (in the project's folder)")
        return
    lacking = [lack for need in needed for lack in _lacking(need)]
    yield Check("base", "packages", _counted(len(needed), lacking), _install(lacking))
    if not any(Requirement(lack).name == "torch" for lack in lacking):
        try:
            import_module("torch")
        except Exception as error:  # a library that does not load raises OSError and others
            yield Check(
                "base", "torch", f"does not load: {one_line(str(error))}", "pip install --force-reinstall torch"
            )


def _versions() -> Iterator[Check]:
    yield Check("version", _PACKAGE, cxrflow.__version__)
    yield Check("version", "python", f"{platform.python_version()}, {sys.executable}")
    for name in _SHOWN:
        yield Check("version", name, _version(name) or "absent")
    yield Check("version", "java", _java() or "absent")


def _machine() -> Iterator[Check]:
    yield Check("machine", "system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Check("machine", "device", _tried(_device))
    yield Check("machine", "cores", _tried(lambda: str(import_module("cxrflow.engines").cores())))
    yield Check("machine", "memory", _tried(_memory))


def _disk(folders: Sequence[Path]) -> Iterator[Check]:
    for folder in folders:
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())

        def free(there: Path = there) -> str:
            usage = shutil.disk_usage(there)
            return f"{usage.free / 1e9:,.0f} of {usage.total / 1e9:,.0f} GB free"

        yield Check("disk", str(folder), _tried(free))


def _network() -> Iterator[Check]:
    answered: dict[str, bool] = {}
    # In threads, since looking up a name knows no time limit; they are daemons, since nobody waits for them.
    threads = [Thread(target=_ask, args=(host, answered), daemon=True) for host in HOSTS]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    for host, purpose in HOSTS.items():
        yield Check("network", host, f"{'reachable' if answered.get(host) else 'not reachable'} ({purpose})")


def _ask(host: str, answered: dict[str, bool]) -> None:
    request = urllib.request.Request(f"https://{host}", method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_PATIENCE).close()  # noqa: S310
        answered[host] = True
    except urllib.error.HTTPError:  # it has answered
        answered[host] = True
    except Exception:  # whatever the network, a proxy or a captive portal does
        answered[host] = False


def _extras() -> Iterator[Check]:
    try:
        extras = metadata.metadata(_PACKAGE).get_all("Provides-Extra") or []
        needs = _requirements(_PACKAGE)
    except metadata.PackageNotFoundError:
        return
    for extra in extras:
        wanted = [need for need in needs if _is_wanted(need, extra) and not _is_wanted(need, "")]
        lacking = list(dict.fromkeys(lack for need in wanted for lack in _lacking(need)))
        remedy = f"pip install '{_PACKAGE}[{extra}]'" if lacking else None
        if extra == "spark" and not _new_enough(_java()):
            lacking.append(f"java>={_JAVA}")
            remedy = " and ".join(filter(None, (remedy, f"install Java {_JAVA} or newer")))
        yield Check("extra", extra, f"lacks {', '.join(lacking)}" if lacking else "complete", remedy)


def _requirements(package: str) -> list[Requirement]:
    return [Requirement(line) for line in metadata.requires(package) or []]


def _is_wanted(need: Requirement, extra: str) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": extra})


def _lacking(need: Requirement) -> list[str]:
    """What is missing of a requirement, with its extras, each as pip takes it."""
    version, wanted = _version(need.name), f"{need.name}{need.specifier}"
    if version is None or not need.specifier.contains(version, prereleases=True):
        return [wanted]
    inner = [part for extra in sorted(need.extras) for part in _requirements(need.name) if _is_wanted(part, extra)]
    return [lack for part in inner if not _is_wanted(part, "") for lack in _lacking(part)]


def _version(name: str) -> str | None:
    try:
        version = metadata.version(name)
        Version(version)
    except (metadata.PackageNotFoundError, InvalidVersion, TypeError):  # a half-removed package has None
        return None
    return version


def _counted(number: int, lacking: Sequence[str]) -> str:
    return f"lacks {', '.join(lacking)}" if lacking else f"all {number} that it needs"


def _install(lacking: Sequence[str]) -> str | None:
    return " ".join(["pip install", *(f"'{lack}'" for lack in lacking)]) if lacking else None


def _java() -> str | None:
    """The version of the Java that Spark would start, or None."""
    home = os.environ.get("JAVA_HOME")
    command = str(Path(home) / "bin" / "java") if home else "java"
    try:
        said = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "([^"]+)"', said.stderr + said.stdout)
    return found[1] if found else None


def _new_enough(java: str | None) -> bool:
    """Java 8 calls itself 1.8."""
    return java is not None and int((re.findall(r"\d+", java) or ["0"])[0]) >= _JAVA


def _device() -> str:
    torch = import_module("torch")
    if not torch.cuda.is_available():
        return "CPU"
    about = torch.cuda.get_device_properties(0)
    return f"{torch.cuda.device_count()} GPU: {about.name}, {about.total_memory / 1e9:.0f} GB"


def _memory() -> str:
    """Of the machine; what a control group allows may be less."""
    total = import_module("psutil").virtual_memory().total
    said = f"{total / 1e9:.0f} GB"
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (most := limit.read_text(encoding="ascii").strip()).isdigit() and int(most) < total:
        said += f", of which this process may use {int(most) / 1e9:.0f} GB"
    return said


def _tried(look: Callable[[], str]) -> str:
    try:
        return look()
    except Exception as error:  # this table is for machines on which something does not work
        return f"unknown: {one_line(str(error)) or type(error).__name__}"
