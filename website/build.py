"""``make site``: prepares the pages, adds those that come from the code, and has Zensical build them, strictly.

``build/pages`` is what Zensical reads, ``build/site`` what it writes: open ``build/site/index.html``.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from website.pages import ROOT, navigation, prepared


def build(folder: Path) -> Path:
    """Build the site in ``folder``; the folder that holds it.

    Raises subprocess.CalledProcessError if Zensical finds anything to warn about, such as a link that leads nowhere.
    """
    pages, site = folder / "pages", folder / "site"
    for each in (pages, site, folder / ".cache"):
        shutil.rmtree(each, ignore_errors=True)
    for name, content in prepared().items():
        file = pages / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    settings = folder / "mkdocs.yml"
    inherited = os.path.relpath(ROOT / "mkdocs.yml", folder)
    more = {"INHERIT": inherited, "docs_dir": "pages", "site_dir": "site", "nav": navigation()}
    settings.write_text(yaml.safe_dump(more, sort_keys=False, allow_unicode=True), encoding="utf-8")
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    zensical = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(settings)]
    subprocess.run(zensical, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": path})
    return site


if __name__ == "__main__":
    try:
        print(f"Site: {build(ROOT / 'build') / 'index.html'}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
