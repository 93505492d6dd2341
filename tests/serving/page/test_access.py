"""The page by keyboard, on narrow windows, for axe-core; hostile texts; the token."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NewPage = Callable[..., Any]
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe"
#: How the page writes that name: nothing in it acts on the text around it.
HARMLESS = "<img src=x onerror=alert(1)>\\u202egnp.exe"


def test_the_strip_stays_in_sight(new_page: NewPage) -> None:
    page = new_page(height=600)
    page.sample()
    page.mouse.wheel(0, 5000)
    page.locator("#foot").scroll_into_view_if_needed()
    assert page.evaluate("scrollY") > 300
    assert page.locator(".strip").bounding_box()["y"] == pytest.approx(0, abs=1)


def test_everything_can_be_done_with_the_keyboard(new_page: NewPage) -> None:
    page = new_page()

    def tab_to(selector: str, key: str = "Tab") -> None:
        for _ in range(40):
            page.keyboard.press(key)
            ring = "e => e.matches(':focus-visible') && getComputedStyle(e).outlineStyle != 'none'"
            assert page.locator(":focus").evaluate_all(f"all => all.every({ring})")
            if page.locator(f"{selector}:focus").count():
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    tab_to(".skip")
    page.keyboard.press("Enter")
    tab_to("#choose-files")
    tab_to("#samples button")
    page.keyboard.press("Enter")
    page.lines(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the second sample
    page.lines(2)
    page.seen()
    tab_to("#list button")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#chosen-title").inner_text().startswith("2.")
    page.seen()
    tab_to(".stage canvas")
    before = page.shot()
    for key in ("+", "+", "ArrowLeft", "i"):
        page.keyboard.press(key)
        after = page.shot()
        assert (after != before).any(), key
        before = after
    assert page.locator("[data-is=zoom]").inner_text() == "156 %"
    page.keyboard.press("Shift+ArrowLeft")
    assert (page.shot() != before).any()
    page.keyboard.press("r")
    page.expect("[data-is=width]").to_have_text("100 %")
    tab_to("[name=opacity]")
    page.keyboard.press("ArrowRight")
    page.shot()
    assert page.locator("[data-is=opacity]").inner_text() == "65 %"
    tab_to("#compare", "Shift+Tab")
    page.keyboard.press("ArrowDown")
    page.seen(1)
    tab_to("#csv")
    tab_to("#card summary")
    page.keyboard.press("Enter")
    assert page.locator("#card table").is_visible()


@pytest.mark.parametrize("width", [360, 390, 640, 1280])  # 640: of 1280 pixels at 200 %
def test_nothing_is_cut_and_the_page_does_not_scroll_sideways(width: int, new_page: NewPage) -> None:
    page = new_page(width=width, height=844)
    page.show_everything()
    scrolled = page.evaluate("document.documentElement.scrollWidth")
    beyond = """all => all.filter(e => e.checkVisibility() && !e.closest(".skip, thead, .scroll")).filter(e => {
        const {left, right} = e.getBoundingClientRect();
        return right > innerWidth + 1 || left < -1;
    }).map(e => e.outerHTML)"""
    assert (scrolled, page.locator("body *").evaluate_all(beyond)) == (width, [])


@pytest.mark.skipif(find_spec("axe_core_python") is None, reason="axe-core-python is not installed (extra dev)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_against_the_page(scheme: str, new_page: NewPage) -> None:
    (package,) = find_spec("axe_core_python").submodule_search_locations
    axe = (Path(package) / "axe.min.js").read_text()
    page = new_page(color_scheme=scheme)
    page.show_everything()
    page.evaluate(axe)
    run = """axe.run(document).then(({passes, violations}) => [passes.length,
        violations.map(v => [v.id, v.help, v.nodes.slice(0, 4).map(n => n.html)])])"""
    for entry in (0, 2):  # with an answer, and without
        page.locator("#list button").nth(entry).click()
        passes, violations = page.evaluate(run)
        assert violations == []
        assert passes > 20
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == scheme


def test_hostile_names_notes_and_cards_are_shown_as_text(new_page: NewPage, samples: list[bytes]) -> None:
    page = new_page()

    def hostile(route: Any) -> None:
        body = route.fetch().json()
        for result in body["results"]:
            result |= {"note": HOSTILE, "flags": [HOSTILE]}
        route.fulfill(json=body)

    page.route("**/predict*", hostile)
    page.give((HOSTILE, samples[0]))
    (line,) = page.lines(1)
    assert line.startswith(f"1. {HARMLESS} ")
    assert line.endswith("· 1 warning")
    page.seen()
    assert page.locator("#chosen-title").inner_text() == f"1. {HARMLESS}"
    warned = page.locator("#case .warnings").inner_text()
    assert f"This image {HARMLESS}." in warned
    assert f"File header: {HARMLESS}" in warned
    assert HARMLESS in page.locator("figcaption").inner_text()
    page.locator("#card summary").click()
    card = page.locator("#card .card-text")
    assert card.locator("h3").inner_text() == "Model card: one"
    assert card.locator("h3 em").inner_text() == "one"
    assert card.locator("p").first.inner_text() == "A paragraph with code and <b>markup</b>."
    assert card.locator("li").all_inner_texts() == ["first", "second, strong"]
    assert card.locator("td").all_inner_texts() == ["1", "words (javascript:alert(1))"]
    assert page.locator("img, a:not(.skip)").count() == 0


def test_a_token_is_asked_for_and_kept_in_memory_alone(new_page: NewPage, token: str) -> None:
    page = new_page(known=False)
    dialog = page.locator("#token")
    for tried, again in (("wrong", False), (token, True)):
        page.expect("#token").to_contain_text("does not accept" if again else "kept until this page is closed")
        dialog.locator("input").fill(tried)
        page.keyboard.press("Enter")
    page.locator("#samples button").first.wait_for()
    assert dialog.is_hidden()
    page.sample()
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert token not in page.content()
    page.reload()
    page.expect("#token").to_be_visible()
