"""Pictures of docs/gallery.md, of a finished study on drawn radiographs.

    python benchmarks/gallery.py studies/demo report.png gradcam.png
    python benchmarks/gallery.py my-study within-sources.svg reliability.svg audit.svg seen.png

Copies the plots that the stages wrote, puts the examples of the stage explanation side by side, explains an image, and
photographs the report; without names, all of them. Needs Chromium, and the extra dev.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
_GAP = 12


def side_by_side(pictures: list[Path], out: Path) -> None:
    """Write the pictures of right and wrong examples, a row of each, as one PNG."""
    rows = [[Image.open(path) for path in pictures if kind in path.name] for kind in ("-right-", "-wrong-")]
    wide = max(sum(each.width + _GAP for each in row) for row in rows) - _GAP
    high = sum(max((each.height for each in row), default=-_GAP) + _GAP for row in rows) - _GAP
    sheet = Image.new("RGB", (wide, high), "white")
    top = 0
    for row in filter(None, rows):
        left = 0
        for each in row:
            sheet.paste(each, (left, top))
            left += each.width + _GAP
        top += max(each.height for each in row) + _GAP
    sheet.save(out, optimize=True)


def one_of_each(folder: Path) -> list[Path]:
    """The first right and the first wrong example of each class."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.png")):
        found.setdefault(re.sub(r"-\d+\.png$", "", path.name), path)
    return list(found.values())


def explained(study: Path, out: Path) -> None:
    """Explain an image of the drawn hospital."""
    command = [sys.executable, "-m", "cxrflow.cli", "explain", "data/demo/demo-hospital/images/0001.png"]
    subprocess.run([*command, "--out", str(out.absolute())], cwd=study, check=True)


def photographed(study: Path, out: Path) -> None:
    """Photograph the first screen of the report."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium on this machine; the report cannot be photographed")
    page = (study / "results/report/index.html").absolute().as_uri()
    options = ["--no-sandbox", "--hide-scrollbars", "--window-size=1160,860", f"--screenshot={out.absolute()}"]
    subprocess.run([chromium, "--headless", *options, page], check=True, capture_output=True)


#: How each picture is made, of a study and into a file.
MADE: dict[str, Callable[[Path, Path], object]] = {
    "report.png": photographed,
    "within-sources.svg": lambda study, out: shutil.copy(study / "results/evaluation/plots/within_sources.svg", out),
    "reliability.svg": lambda study, out: shutil.copy(study / "results/evaluation/plots/reliability.svg", out),
    "gradcam.png": lambda study, out: side_by_side(one_of_each(study / "results/explanation"), out),
    "audit.svg": lambda study, out: shutil.copy(study / "results/audit/audit.svg", out),
    "seen.png": explained,
}


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("pictures", nargs="*", metavar="picture", help=f"one of {', '.join(MADE)}")
    parser.add_argument("--out", type=Path, default=PICTURES)
    asked = parser.parse_args()
    if unknown := set(asked.pictures) - set(MADE):
        parser.error(f"{', '.join(sorted(unknown))}: name {', '.join(MADE)}")
    for name in asked.pictures or MADE:
        MADE[name](asked.study, asked.out / name)


if __name__ == "__main__":
    main()
