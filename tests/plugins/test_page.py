"""The page on plug-ins: each kind in less than 40 lines of code, which keep the contract as the page says."""

import re
import runpy
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "plug-ins.md"
FILES = ["ward.py", "small.py", "sharpen.py", "brightness.py", "lines.py"]


def test_the_code_of_the_page_is_short_and_keeps_the_contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert re.findall(r"As\s`(\w+\.py)`:", text) == FILES
    assert len(blocks) == len(FILES) + 1
    assert all(len(block.splitlines()) < 40 for block in blocks)
    for file, block in zip([*FILES, "check.py"], blocks, strict=True):
        (tmp_path / file).write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("cxrflow.testing.networks._check_onnx", lambda network, images: None)  # takes seconds
    for file in FILES:
        monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
    runpy.run_path("check.py")
