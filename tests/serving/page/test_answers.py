"""What goes into the page, and what it says of it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cxrflow.outputs.tables import csv_table
from cxrflow.predictor import Predictor
from cxrflow.reading import EXTENSIONS

NewPage = Callable[..., Any]


def test_a_sample_is_scored_at_once_as_the_predictor_scores_it(
    new_page: NewPage, samples: list[bytes], page_folder: Path
) -> None:
    page, predictor = new_page(), Predictor(page_folder)
    page.sample()
    (result,) = predictor.results(samples[:1])
    names = predictor.bundle.task.names
    score = sorted(result.scores.items(), key=lambda item: -item[1])
    said = page.locator(".bars li").all_inner_texts()
    assert [re.split(r"\s*\n\s*", text) for text in said] == [[names[name], f"{value:.2f}"] for name, value in score]
    bars = page.locator(".bar").evaluate_all(
        "all => all.map(bar => bar.firstChild.getBoundingClientRect().width / bar.clientWidth)"
    )
    assert bars == pytest.approx([value for _, value in score], abs=0.01)
    points = page.locator(".points").inner_text()
    for name, at in predictor.bundle.thresholds.items():
        word = "positive" if result.positive_at[name] else "negative"
        assert re.search(rf"{word} for COVID-19: [\d.]+ is (at least|below) the threshold {at.threshold:.2f}", points)
    assert "chosen for a specificity of 0.9" in points
    assert "On val: sensitivity 0.80, specificity 0.91; optimistic, because selected there." in points
    held = [names[name] for name in result.prediction_set or ()]
    assert page.locator(".set").inner_text().startswith(", ".join(held) or "no class")
    assert "90 % of new patients" in page.locator("#case .answer").inner_text()
    assert "not a medical device" in page.locator(".strip").inner_text()
    assert "drawings" in page.locator(".strip").inner_text()


def test_a_drop_of_dicom_and_broken_files_lists_every_outcome_and_is_downloaded_as_predict_writes_it(
    new_page: NewPage, scan: bytes, samples: list[bytes], page_folder: Path, tmp_path: Path
) -> None:
    page = new_page(accept_downloads=True)
    whole, broken = tmp_path / "Doe_Jane.dcm", tmp_path / "broken.png"
    whole.write_bytes(scan)
    broken.write_bytes(samples[0][:2000])
    bodies: list[bytes] = []
    page.on("request", lambda request: bodies.append(request.post_data_buffer or b""))
    drop(page, [whole, broken])
    first, second = page.lines(2)
    assert first.startswith("1. Doe_Jane.dcm ")
    assert "0." in first
    assert second.startswith("2. broken.png No answer: ")
    assert "2 done: 1 scored, 1 without an answer." in page.locator("#status").inner_text()
    assert bodies
    assert all(b"Doe_Jane" not in body and b"broken" not in body for body in bodies)
    page.locator("#list button").nth(1).click()
    assert page.locator("#case .warnings").inner_text().startswith("No answer.")
    assert page.locator("#case .answer").inner_text() == ""

    predictor = Predictor(page_folder)
    results = list(predictor.results([whole.read_bytes(), broken.read_bytes()]))
    assert downloaded(page, "csv") == b"".join(csv_table(predictor.bundle, results, paths=False))
    table = json.loads(downloaded(page, "json"))
    assert [row["image"] for row in table] == [result.image for result in results]
    assert table[0]["scores"] == results[0].scores
    assert not {"look", "words", "path"} & set(table[0])
    page.locator("#names").check()
    assert b",Doe_Jane.dcm," in downloaded(page, "csv")


def test_places_with_text_are_in_the_csv_of_a_service_that_looks_for_text(
    new_page: NewPage, samples: list[bytes], page_folder: Path
) -> None:
    page = new_page(accept_downloads=True)

    def with_text(route: Any) -> None:
        body = route.fetch().json()
        for result in body["results"]:
            result["text_places"] = 2
        route.fulfill(json=body)

    page.route("**/about", lambda route: route.fulfill(json=route.fetch().json() | {"burned_in_text": True}))
    page.route("**/predict*", with_text)
    page.reload()
    page.sample()
    predictor = Predictor(page_folder)
    (result,) = predictor.results([samples[0]])
    expected = [result.model_copy(update={"text_places": 2})]
    assert downloaded(page, "csv") == b"".join(csv_table(predictor.bundle, expected, paths=False, burned_in_text=True))
    page.locator(".identity summary").click()
    assert "Places with text burned in\n2" in page.locator(".identity").inner_text()


def downloaded(page: Any, button: str) -> bytes:
    with page.expect_download() as expected:
        page.locator(f"#{button}").click()
    return Path(expected.value.path()).read_bytes()


def drop(page: Any, paths: list[Path]) -> None:
    """As a person drops files and folders from the desktop."""
    session = page.session()
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 200, "data": data})


@pytest.mark.parametrize("how", ["dropped", "chosen"])
def test_a_folder_is_searched_for_radiographs(
    how: str, new_page: NewPage, samples: list[bytes], tmp_path: Path
) -> None:
    page, folder = new_page(), tmp_path / "study"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    for name in ("10.png", "9.png", "deep/1.2.840.113619", "deep/.hidden/no.png"):
        (folder / name).write_bytes(samples[len(name) % 2])
    (folder / "notes.txt").write_text("not a radiograph")
    if how == "dropped":
        drop(page, [folder])
    else:
        page.locator("#folder").set_input_files(folder)
    page.expect("#status").to_have_text("3 done: 3 scored, 0 without an answer; 2 other files passed over.")
    names = [line.split()[1] for line in page.lines(3)]
    assert names == ["9.png", "10.png", "1.2.840.113619"]


def test_a_busy_service_is_asked_again_and_a_refused_group_file_by_file(
    new_page: NewPage, samples: list[bytes]
) -> None:
    page, asked = new_page(), []

    def refuse(route: Any) -> None:
        asked.append(route.request.post_data_buffer.count(b'name="files"'))
        if len(asked) == 1:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"detail": "busy", "request": "1"})
        elif asked[-1] > 1:
            route.fulfill(status=413, json={"detail": "together too much", "request": "2"})
        elif len(asked) == 4:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "slow", "request": "3"})
        elif len(asked) == 6:
            route.fulfill(status=500, json={"detail": "the service failed", "request": "4"})
        else:
            route.continue_()

    page.route("**/predict*", refuse)
    names = ("one.png", "two.png", "three.png")
    page.give(*zip(names, samples, strict=True))
    found = page.lines(3)
    assert asked == [3, 3, 1, 1, 1, 1]
    assert ["No answer: The service failed." in line for line in found] == [False, False, True]


def test_cancelled_files_stay_listed(new_page: NewPage, samples: list[bytes]) -> None:
    page, held = new_page(), []
    page.route("**/predict*", lambda route: held.append(route) if held else route.continue_() or held.append(None))
    names = [f"{n}.png" for n in range(9)]
    page.give(*zip(names, samples * 3, strict=True))
    page.expect("#status").to_have_text("4 of 9 done.")
    page.locator("#cancel").click()
    found = page.lines(9)
    assert [line.endswith("No answer: Cancelled before it was scored.") for line in found] == [False] * 4 + [True] * 5
    assert page.locator("#progress").is_hidden()
    page.locator("#clear").click()
    assert page.locator("#list li").count() == 0
    assert page.locator("#results").is_hidden()
    page.unroute("**/predict*")
    page.sample()
    assert page.locator("#chosen-title").inner_text().startswith("1.")


def test_a_picture_that_was_let_go_is_asked_for_again(new_page: NewPage, samples: list[bytes]) -> None:
    page, looks = new_page(), []
    page.on("request", lambda sent: looks.append(sent.url.rpartition("=")[2]) if "predict" in sent.url else None)
    page.give(*((f"{n}.png", samples[n % 3]) for n in range(5)))
    page.lines(5)
    page.seen()
    assert sorted(looks) == ["false", "false", "true"]  # five in two groups, and the picture of the first
    for _ in range(2):  # twice the same: the picture is kept
        for number in (1, 0):
            page.locator("#list button").nth(number).click()
            page.expect("figcaption").to_contain_text(f"{number + 1}. ")
    assert looks.count("true") == 2


def test_what_the_page_repeats_of_the_package_is_the_same(new_page: NewPage) -> None:
    page = new_page()
    assert page.evaluate("import('/static/files.js').then(each => each.EXTENSIONS)") == list(EXTENSIONS)
    inferno = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    assert page.evaluate("import('/static/inferno.js').then(each => each.INFERNO)") == inferno.tolist()
