"""Pictures of the page of ``cxrflow serve`` with a drawn radiograph: docs/pictures/serve.png and serve-phone.png.

    python benchmarks/page_pictures.py --bundle results/training/bundle

Needs Chromium, and the extras serve and dev.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
#: As in tests/serving/page/conftest.py: Chromium asks no other server.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def shown(browser: Any, url: str, sample: int, **how: Any) -> Any:
    """The page after one of its samples has been scored."""
    page = browser.new_context(reduced_motion="reduce", **how).new_page()
    page.goto(url)
    page.locator("#samples button").nth(sample).click()
    page.locator(".pane [data-do=fit]:enabled").wait_for(timeout=60_000)
    page.wait_for_timeout(500)  # painted
    return page


def main() -> None:
    """Start the service, look at its page, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("results/training/bundle"))
    parser.add_argument("--out", type=Path, default=PICTURES)
    asked = parser.parse_args()
    command = [sys.executable, "-u", "-m", "cxrflow.cli", "serve", "--bundle", str(asked.bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, sync_playwright() as started:
        try:
            url = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
            browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
            page = shown(browser, url, 2, viewport={"width": 1280, "height": 1500})
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=asked.out / "serve.png")
            phone = {"width": 390, "height": 844}
            page = shown(browser, url, 0, viewport=phone, color_scheme="dark", is_mobile=True, has_touch=True)
            page.screenshot(path=asked.out / "serve-phone.png")
            browser.close()
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
