"""Every file that a run leaves, damaged in every way, and each command that reads it: what it says.

Usage: python benchmarks/damaged_state.py RUN [NAME ...]

RUN   folder of a finished run: params.yaml, data and results; it is copied, not changed
NAME  files to damage, such as records.csv; by default all

Prints a row for each file and damage: what the commands did ("went on", or the sentence), and a count of the
tracebacks, which must be 0. A command that goes on must do so again when it is run a second time.
"""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.errors import CxrflowError

#: The commands that read a file, by its path in a run.
READERS = {
    "params.yaml": ("params", "evaluation"),
    "data/metadata/records.csv": ("images", "training", "evaluation", "explanation", "audit"),
    "data/metadata/sides.csv": ("metadata",),
    "data/metadata/fingerprints.sqlite": ("metadata",),
    **dict.fromkeys(
        (f"data/images/*/{name}" for name in ("steps.json", "index.csv", "images.npy", "lungs.npy")),
        ("evaluation", "images"),
    ),
    **dict.fromkeys(
        (f"results/training/checkpoints/{name}" for name in ("run.json", "best.ckpt", "last.ckpt", "trained_on.csv")),
        ("training",),
    ),
    **dict.fromkeys(
        (f"results/training/bundle/{name}" for name in ("bundle.json", "thresholds.json", "model.safetensors")),
        ("evaluation", "explanation", "report"),
    ),
    "results/training/bundle/trained_on.csv": ("evaluation",),
    "results/training/bundle/model-card.md": ("evaluation",),
    "results/evaluation/predictions.csv": ("explanation", "audit"),
    "results/evaluation/ledger.csv": ("evaluation", "report"),
    **dict.fromkeys(
        (
            *(f"results/evaluation/{name}" for name in ("metrics.json", "model-card.md", "plots/reliability.svg")),
            *(
                f"results/metadata/{name}"
                for name in ("summary.json", "reconciliation.csv", "shares.csv", "overlap.csv")
            ),
            *("results/training/history.csv", "results/images/examples.png", "results/audit/audit.json"),
            *("results/audit/audit.svg", "results/audit/where.png", "results/explanation/explanation.json"),
        ),
        ("report",),
    ),
}


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(change(file.read_bytes()))


def _digit(content: bytes) -> bytes:
    """One digit in the second half made another: a value that was edited."""
    at = next((k for k in range(len(content) // 2, len(content)) if content[k : k + 1].isdigit()), 0)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "absent": Path.unlink,
    "folder": _folder,
    "empty": _bytes(lambda content: b""),
    "cut": _bytes(lambda content: content[: len(content) // 2]),
    "NUL bytes": _bytes(lambda content: content[:200] + bytes(50) + content[250:]),
    "UTF-16": _bytes(lambda content: content.decode("latin-1").encode("utf-16")),
    "another type": _bytes(lambda content: b'{"a": [1]}\n'),
    "nested deep": _bytes(lambda content: b"[" * 100_000),
    "long cell": _bytes(lambda content: content[:300] + b"x" * 10**7 + content[300:]),
    "row deleted": _lines(lambda lines: lines[: len(lines) // 2] + lines[len(lines) // 2 + 1 :]),
    "first row deleted": _lines(lambda lines: lines[1:]),
    "row twice": _lines(lambda lines: [*lines, lines[-1]]),
    "value edited": _bytes(_digit),
    "commas": _bytes(lambda content: content.replace(b",", b",,", 40)),
}


def run(folder: Path, command: str) -> tuple[str, str]:
    """Run a command of cxrflow in ``folder``: "went on", "sentence" or "traceback", and the words."""
    os.chdir(folder)
    done = CliRunner().invoke(app, [command])
    if isinstance(done.exception, CxrflowError | OSError):  # the command line prints these as one sentence
        return "sentence", " ".join(str(done.exception).split())
    if done.exception is None or isinstance(done.exception, SystemExit):
        return "went on", ""
    return "traceback", repr(done.exception)[:300]


def main() -> None:
    """Damage the files of a copy of the run one after the other."""
    whole, names = Path(sys.argv[1]).absolute(), sys.argv[2:]
    chosen = {file: commands for file, commands in READERS.items() if not names or Path(file).name in names}
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        for file, commands in chosen.items():
            for damage, make in DAMAGES.items():
                for command in commands:
                    folder = Path(place) / "run"
                    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("demo"))
                    (folder / "data" / "demo").symlink_to(whole / "data" / "demo")
                    make(next(folder.glob(file)))
                    did, said = run(folder, command)
                    if did != "sentence":
                        again, more = run(folder, command)
                        did, said = (again, f"again: {more}") if again != did else (did, said)
                    counted[did] += 1
                    print(
                        f"{file:48} {damage:18} {command:12} {did:10} {said.replace(str(folder), '')[:200]}", flush=True
                    )
                    os.chdir(place)
                    shutil.rmtree(folder)
    print(", ".join(f"{did}: {count}" for did, count in counted.most_common()))
    sys.exit(counted["traceback"] > 0)


if __name__ == "__main__":
    main()
