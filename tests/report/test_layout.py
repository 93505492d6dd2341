"""The page in a browser: nothing is cut or squeezed on a phone, on a tablet or at a desk."""

import html
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cxrflow.params import Params
from cxrflow.report.page import write_report
from cxrflow.report.tables import labelled
from cxrflow.task import Task

WIDTHS = (360, 390, 768, 1280)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Posts, once the page has loaded: its width, what ends beyond the window, what scrolls sideways, what is squeezed.
MEASURE = """
addEventListener("load", () => {
  const wide = document.documentElement.clientWidth, named = e => `${e.tagName}.${e.getAttribute("class") || ""} `
    + (e.textContent || e.alt || "").trim().slice(0, 40);
  for (const closed of document.querySelectorAll("details")) closed.open = true;
  const hidden = "pre, thead, .again, .skip, script";
  const all = [...document.body.querySelectorAll("*")].filter(e => e.checkVisibility() && !e.closest(hidden));
  const within = (e, outer) => e.getBoundingClientRect().right <= outer + 1 && e.getBoundingClientRect().left >= -1;
  const squeezed = e => e.textContent.trim().length > 9 && e.clientWidth < 60 && e.clientHeight > 90;
  parent.postMessage({
    wide, page: document.documentElement.scrollWidth,
    beyond: all.filter(e => !within(e, wide)).map(named),
    scrolled: all.filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX == "auto").map(named),
    squeezed: all.filter(e => e.matches("th, td, td > div, p, li, figcaption, caption") && squeezed(e)).map(named),
  }, "*");
});
"""


def in_browser(page: str, script: str, widths: tuple[int, ...], folder: Path) -> list[Any]:
    """What ``script``, at the end of the page, posts to its parent from windows of these widths.

    A window of headless Chromium is 500 pixels wide or more; a frame can be narrower.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    folder.mkdir(exist_ok=True)
    (folder / "page.html").write_text(page.replace("</body>", f"<script>{script}</script></body>"))
    frames = "".join(f'<iframe src="page.html?{wide}" width="{wide}" height="900"></iframe>' for wide in widths)
    wrapper = folder / "frames.html"
    wrapper.write_text(
        "<style>iframe { border: 0 }</style><pre></pre><script>const said = []; addEventListener('message', e => {"
        "said.push(e.data); document.querySelector('pre').textContent = JSON.stringify(said); });"
        f"</script>{frames}"
    )
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=20000",
        "--window-size=1400,1000",
        "--dump-dom",
        wrapper.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    (said,) = re.findall(r"<pre>(.*?)</pre>", dom, re.DOTALL)
    posted = json.loads(html.unescape(said))
    assert len(posted) == len(widths)
    return posted


@pytest.fixture(scope="module")
def page(results: Callable[[Task], Path], task: Task, demo_params: Params) -> str:
    """The page of a made-up run."""
    return write_report(demo_params, results(task)).read_text()


def test_nothing_is_cut_or_squeezed_at_any_width(page: str, tmp_path: Path) -> None:
    posted = {found["wide"]: found for found in in_browser(page, MEASURE, WIDTHS, tmp_path)}
    assert sorted(posted) == sorted(WIDTHS)
    for wide, found in posted.items():
        assert found == {"wide": wide, "page": wide, "beyond": [], "scrolled": [], "squeezed": []}


def test_a_cell_carries_the_name_of_its_column_and_a_header_its_scope() -> None:
    head = '<thead><tr><th>Class<th class="n">Rows<th><span class="class">x &amp; y</span></tr></thead>'
    rows = '<tr><th>a<td class="n">3<td><b>4</b></tr><tr><th colspan="3">All</tr><tr><th>b<td><td colspan="2">none</tr>'
    assert labelled(f"<p>before<table>{head}<tbody>{rows}</tbody></table>") == (
        '<p>before<table><thead><tr><th scope="col">Class<th class="n" scope="col">Rows'
        '<th scope="col"><span class="class">x &amp; y</span></tr></thead><tbody>'
        '<tr><th scope="row">a<td class="n" data-label="Rows"><div>3</div>'
        '<td data-label="x &amp; y"><div><b>4</b></div></tr><tr><th colspan="3" scope="rowgroup">All</tr>'
        '<tr><th scope="row">b<td><td colspan="2"><div>none</div></tr></tbody></table>'
    )


@pytest.mark.skipif(find_spec("axe_core_python") is None, reason="axe-core-python is not installed (extra dev)")
def test_axe_finds_nothing_against_the_page(page: str, tmp_path: Path) -> None:
    """axe-core: names of pictures and controls, order of headings, landmarks, headers of tables, contrast, focus."""
    (package,) = find_spec("axe_core_python").submodule_search_locations
    axe = (Path(package) / "axe.min.js").read_text()
    opened = "for (const closed of document.querySelectorAll('details')) closed.open = true;"
    said = "[found.passes.length, found.violations.map(v => [v.id, v.help, v.nodes.slice(0, 4).map(n => n.html)])]"
    run = f"addEventListener('load', () => {{ {opened} axe.run(document).then(found => parent.postMessage({said}, '*'))"
    run += " });"
    for passes, violations in in_browser(page, f"{axe}</script><script>{run}", (390, 1280), tmp_path):
        assert violations == []
        assert passes > 20


def test_every_figure_is_numbered_explained_and_to_be_had_as_it_is_shown(page: str, task: Task, tmp_path: Path) -> None:
    numbers = [int(number) for number in re.findall(r"<figcaption><b>Figure (\d+)\.</b>", page)]
    assert numbers == list(range(1, 10))
    assert len(re.findall(r'<span class="take"><a href="#word-[\w-]+">Definition</a>', page)) == len(numbers)
    click = """const links = document.querySelectorAll("a[download]");
    addEventListener("load", () => parent.postMessage([...links].map(link => {
      link.addEventListener("click", event => event.preventDefault());
      link.click();
      return [link.download, decodeURIComponent(link.href)];
    }), "*"))"""
    (files,) = in_browser(page, click, (1280,), tmp_path)
    taken = dict(files)
    assert len(taken) == len(files) == 13
    for name, address in taken.items():
        kind = "image/svg+xml" if name.endswith(".svg") else "text/csv"
        assert address.startswith(f"data:{kind};charset=utf-8,")
    drawing = ET.fromstring(taken["curves.svg"].partition(",")[2])  # noqa: S314 (our own)
    assert len(drawing.findall("{http://www.w3.org/2000/svg}svg")) == len(task.order)
    table = pd.read_csv(io.StringIO(taken["curves.csv"].partition(",")[2]))
    assert table["class"].tolist() == [name for name in task.order for _ in range(2)]
    assert table.high.tolist() == [0.2, 1] * len(task.order)
    table = pd.read_csv(io.StringIO(taken["calibration.csv"].partition(",")[2]))
    assert table.to_dict("records")[0] == {
        "curve": "reliability", "x": 0.6, "value": 0.77, "low": 0.66, "high": 0.88, "images": 40, "groups": 30,
    }  # fmt: skip


def test_the_glossary_is_in_order_and_every_word_of_it_is_linked(page: str) -> None:
    words = re.findall(r'<dt id="(word-[\w-]+)">(.*?)</dt><dd>(.*?)</dd>', page)
    assert [name for _, name, _ in words] == sorted((name for _, name, _ in words), key=str.lower)
    assert {word for word, _, _ in words} == set(re.findall(r'href="#(word-[\w-]+)"', page))
    assert all(re.fullmatch(r"[^.]+(\.\d[^.]+)*\.", meaning) for _, _, meaning in words)  # a sentence each


def test_what_is_cut_and_what_is_squeezed_is_found(tmp_path: Path) -> None:
    cut = '<p style="width: 500px">A line</p><div style="overflow-x: auto"><p style="width: 300px">Another</p></div>'
    squeezed = '<p style="width: 9px; overflow-wrap: anywhere">Letter by letter</p>'
    (found,) = in_browser(f"<!doctype html><body>{cut}{squeezed}</body>", MEASURE, (360,), tmp_path)
    assert found["page"] > found["wide"] == 360
    assert found["beyond"] == ["P. A line"]
    assert found["squeezed"] == ["P. Letter by letter"]
