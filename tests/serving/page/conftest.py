"""The page in a real browser, against the real service on loopback."""

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxrflow.bundle import OperatingPoint, PredictionSets
from cxrflow.params import Images
from cxrflow.serving.samples import jobs, sample
from cxrflow.task import Task

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 (of a service that lives as long as a test)
CARD = """# Model card: *one*

A paragraph with `code` and <b>markup</b>.

- first
- second, **strong**

| a | b |
| --- | --- |
| 1 | [words](javascript:alert(1)) |
"""
#: The pixels of a viewer, after it has been painted.
SHOT = """pane => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
    done(document.querySelectorAll(".pane .stage canvas")[pane].toDataURL()))))"""


class Opened:
    """A page of Playwright, and what tests of this page do with it."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def __getattr__(self, name: str) -> Any:
        return getattr(self._page, name)

    def expect(self, selector: str) -> Any:
        """Assertions that wait."""
        return playwright.expect(self.locator(selector))

    def session(self) -> Any:
        """The DevTools protocol, for what Playwright has no method for."""
        return self._page.context.new_cdp_session(self._page)

    def give(self, *files: tuple[str, bytes]) -> None:
        """Choose files, each a name and a content."""
        kind = "application/octet-stream"
        given = [{"name": name, "mimeType": kind, "buffer": content} for name, content in files]
        self.locator("#files").set_input_files(given)

    def sample(self, number: int = 0) -> None:
        """Try a sample, and wait until it is shown."""
        there = self.locator("#list li").count()
        self.locator("#samples button").nth(number).click()
        self.lines(there + 1)
        self.seen()

    def lines(self, count: int) -> list[str]:
        """What the list says of its files, as soon as there are so many and none is waited for."""
        self.locator(f"#list li:nth-child({count}) button:not(.waiting)").wait_for()
        self.expect("#list .waiting").to_have_count(0)
        return [text.replace("\n", " ") for text in self.locator("#list li").all_inner_texts()]

    def seen(self, pane: int = 0) -> None:
        """Wait until a pane shows a picture."""
        self.locator(".pane").nth(pane).locator("[data-do=fit]:enabled").wait_for()

    def shot(self, pane: int = 0) -> NDArray[np.uint8]:
        """The pixels of a viewer, RGB."""
        return decoded(self.evaluate(SHOT, pane))

    def slider(self, name: str, value: int) -> None:
        """Set a slider of the first pane."""
        self.locator(f"[name={name}]").first.fill(str(value))

    def show_everything(self) -> None:
        """What the page can show at once: two radiographs, a file without an answer, everything unfolded."""
        self.sample(0)
        self.give(("Long_" * 20 + ".png", sample(1)), ("broken.png", b"\x89PNG\r\n\x1a\n"))
        self.lines(3)
        self.locator("#compare").select_option(index=2)
        self.seen(1)
        for summary in self.locator("summary").all():
            summary.click()


def decoded(url: str) -> NDArray[np.uint8]:
    """The RGB of a picture in a data URL."""
    stored = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.fixture(scope="session")
def of_url() -> Callable[[str], NDArray[np.uint8]]:
    """The RGB of a picture in a data URL."""
    return decoded


@pytest.fixture(scope="session")
def samples() -> list[bytes]:
    """The PNG of each sample of the service."""
    return [sample(number) for number in range(len(jobs()))]


@pytest.fixture(scope="session")
def token() -> str:
    """What the service of these tests asks for."""
    return TOKEN


@pytest.fixture(scope="session")
def page_folder(bundle_of: Callable[..., Path], task: Task, small: Images) -> Path:
    """A bundle with random weights that looks for lungs, with operating points, prediction sets and a card."""
    points = {
        "specificity": OperatingPoint(wanted=0.9, threshold=0.25, sensitivity=0.8, specificity=0.91),
        "cost_ratio": OperatingPoint(wanted=10, prevalence=0.1, threshold=0.75, sensitivity=0.6, specificity=0.97),
    }
    sets = PredictionSets(coverage=0.9, least=dict.fromkeys(task.order, 0.3))
    folder = bundle_of(task, images=small, thresholds=points, prediction_sets=sets, drawn=True)
    (folder / "model-card.md").write_text(CARD)
    return folder


@pytest.fixture(scope="session")
def address(page_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of ``cxrflow serve``."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"someone: {TOKEN}\n")
    command = [sys.executable, "-u", "-m", "cxrflow.cli", "serve", "--bundle", str(page_folder), "--port", "0"]
    command += ["--token-file", str(tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            assert process.stdout
            yield next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        finally:
            process.kill()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield running
        running.close()


@pytest.fixture
def new_page(browser: Any, address: str) -> Iterator[Callable[..., Opened]]:
    """Opens the page, with the token unless ``known`` is false. What a test does with it must not make its console
    complain, and must not reach another server."""
    said: list[str] = []
    hosts: set[str] = set()
    contexts = []

    def start(width: int = 1280, height: int = 1000, known: bool = True, **more: Any) -> Opened:
        headers = {"Authorization": f"Bearer {TOKEN}"} if known else {}
        window = {"width": width, "height": height}
        context = browser.new_context(viewport=window, extra_http_headers=headers, reduced_motion="reduce", **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda sent: hosts.add(urlsplit(sent.url).netloc) if sent.url.startswith("http") else None)
        page.goto(address)
        if known:
            page.locator("#samples button").first.wait_for()
        return Opened(page)

    yield start
    for context in contexts:
        context.close()
    # The browser itself reports each answer that is an error; that is how the service refuses.
    assert [line for line in said if not line.startswith("Failed to load resource")] == []
    assert hosts == {urlsplit(address).netloc}
