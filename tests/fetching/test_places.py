"""The table of places, docs/fetch.md and docs/collections.md say the same."""

import re
from pathlib import Path

import pytest

from cxrflow.fetching.places import PLACES
from cxrflow.fetching.published import ByHand, Git, Http, Kaggle, Listing, PhysioNet, Published
from cxrflow.fetching.space import in_units
from cxrflow.sources import SOURCES

ROOT = Path(__file__).parents[2]
#: Totals that the pages give in parts.
PARTS = {2_905: (219, 1_341, 1_345), 21_165: (3_616, 10_192, 1_345, 6_012), 18_000: (15_000, 3_000)}


def row(name: str, place: Published) -> str:
    """The line of docs/fetch.md about a collection."""
    ways = {
        Git: "git", Http: "download", Listing: "download", PhysioNet: "PhysioNet, with your account",
        Kaggle: "Kaggle's client, with your key", ByHand: "by hand: `fetch` prints the steps",
    }  # fmt: skip
    way = ways[type(place.way)]
    if isinstance(place.way, Git) and place.way.commit:
        way += f", commit `{place.way.commit[:7]}`"
    size = in_units(place.size) if place.size else "not known"
    folder = SOURCES[name].folders[0]
    return f"| [`{name}`]({place.page}) | {way} | `{folder}` | {size} | {place.checksums or 'counts'} |"


def test_docs_fetch_lists_the_places() -> None:
    page = (ROOT / "docs" / "fetch.md").read_text(encoding="utf-8")
    listed = page.partition("<!-- places -->\n")[2].partition("<!-- end -->")[0].splitlines()
    head = ["| collection | how | folder | size | checked by |", "|---|---|---|---|---|"]
    assert listed == [*head, *(row(name, place) for name, place in PLACES.items())]


@pytest.mark.parametrize("name", PLACES)
def test_docs_collections_names_page_licence_and_number(name: str) -> None:
    place, folder = PLACES[name], SOURCES[name].folders[0]
    lines = (ROOT / "docs" / "collections.md").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith("|") and f"`{folder}`" in line.split("|")[2])
    _, _, _, numbers, licence, _ = re.split(r" ?\| ?", line)
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", licence).partition(";")[0]
    assert plain.removesuffix(", in the table") in place.licence
    assert re.sub(r"\d+\.\d+\.\d+/$", "", place.page).rstrip("/") in line
    shown = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", numbers)}
    for count in place.images:
        parts = PARTS.get(count, (count,))
        assert sum(parts) == count
        assert shown.issuperset(parts)
