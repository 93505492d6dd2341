"""For which versions of Python the registry has wheels of all that cxrflow needs: base dependencies and each extra.

    python benchmarks/python_versions.py [--python 3.14] [--glibc 2.31]

Needs uv (`pip install uv`) and the registry. Resolves for Linux on x86-64, once at the versions that constraints.txt
pins and once at the newest ones, and prints a table: a row for cxrflow alone, one with all extras, and, where these
need a package without a wheel, one for each extra that does. Nothing is installed. A package without a wheel is built
from its sdist, which takes a compiler unless it is pure Python.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
#: Have no wheel for any Python, and need no compiler.
PURE = frozenset({"antlr4-python3-runtime", "pyspark"})


def without_wheel(python: str, glibc: str, extras: Sequence[str], pinned: bool) -> tuple[int, list[str]] | str:
    """How many packages are needed, and those without a wheel; or why nothing can be resolved."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "pylock.toml"
        command = [
            "uv", "pip", "compile", "--quiet", ROOT / "pyproject.toml", "--output-file", lock,
            "--python-version", python, "--python-platform", f"x86_64-manylinux_{glibc.replace('.', '_')}",
            *(part for extra in extras for part in ("--extra", extra)),
            *(["--constraint", ROOT / "constraints.txt"] if pinned else []),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return " ".join(done.stderr.split())
        packages = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
    lacking = [p for p in packages if not p.get("wheels") and p["name"] not in PURE]
    return len(packages), [f"{p['name']} {p['version']}" for p in lacking]


def shown(found: tuple[int, list[str]] | str) -> str:
    """A cell of the table."""
    if isinstance(found, str):
        return f"not resolved: {found}"
    number, lacking = found
    return f"{number}, no wheel: {', '.join(lacking)}" if lacking else f"{number}, all"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", action="append", help="version of Python, repeatable")
    parser.add_argument("--glibc", default="2.31", help="glibc of the machine")
    given = parser.parse_args()
    if shutil.which("uv") is None:
        sys.exit("uv is not found; install it with `pip install uv`.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = list(project["optional-dependencies"])
    print("| Python | needed for | pinned | newest |\n|---|---|---|---|")
    for python in given.python or VERSIONS:

        def cells(names: Sequence[str], python: str = python) -> list[str]:
            return [shown(without_wheel(python, given.glibc, names, pinned)) for pinned in (True, False)]

        alone, whole = cells(()), cells(extras)
        rows = {"cxrflow": alone, "with all extras": whole}
        if not all(cell.endswith(", all") for cell in whole):
            each = {f"`{extra}`": cells([extra]) for extra in extras if extra != "dev"}
            rows |= {name: row for name, row in each.items() if not all(cell.endswith(", all") for cell in row)}
        for name, row in rows.items():
            print(f"| {python} | {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
