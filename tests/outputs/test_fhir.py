"""FHIR bundles: checked by fhir.resources, and against values worked out by hand."""

import json
import uuid
from collections.abc import Callable
from typing import Any, Literal

import pytest
from fhir.resources.bundle import Bundle as BundleR5
from fhir.resources.R4B.bundle import Bundle as BundleR4
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrflow.bundle import Bundle
from cxrflow.outputs.fhir import Version, fhir_bundle, fhir_lines
from cxrflow.result import Result

VERSIONS: tuple[Version, ...] = ("R4", "R5")
READERS = {"R4": BundleR4, "R5": BundleR5}
EMPTY: dict[str, Any] = {"scores": {}, "prediction": None, "positive_at": {}, "prediction_set": None, "frontal": None}


def by_type(made: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in made["entry"] if entry["resource"]["resourceType"] == kind]


@pytest.fixture
def results(result_of: Callable[..., Result]) -> list[Result]:
    """Of two images of a study; the second was left out."""
    left_out = EMPTY | {"flags": (), "note": None, "look": None, "left_out": "image is of 0 x 0 pixels"}
    return [result_of(b"1"), result_of(b"2", instance="1.2.3.4.6", **left_out)]


@pytest.mark.parametrize("version", VERSIONS)
def test_fhir_resources_reads_the_same_back(version: Version, results: list[Result], bundle: Bundle) -> None:
    made = fhir_bundle(results, bundle, version)
    assert json.loads(READERS[version].model_validate(made).model_dump_json()) == made
    other: Literal["R4", "R5"] = "R5" if version == "R4" else "R4"
    with pytest.raises(ValueError, match="Extra inputs"):  # names differ, and what is a list
        READERS[other].model_validate(made)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_number_stands_where_it_belongs(version: Version, results: list[Result], bundle: Bundle) -> None:
    made = fhir_bundle(results, bundle, version)
    assert (made["resourceType"], made["type"]) == ("Bundle", "collection")
    (device,), reports = by_type(made, "Device"), by_type(made, "DiagnosticReport")
    assert [each["value"] for each in device["version"]] == ["9.8", "ab" * 32]
    assert device["deviceName" if version == "R4" else "name"][0]["type"] == "user-friendly-name"
    assert [each["status"] for each in reports] == ["preliminary", "cancelled"]
    study = [{"type": "ImagingStudy", "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}}]
    assert all(each["imagingStudy" if version == "R4" else "study"] == study for each in reports)
    at = {entry["fullUrl"]: entry["resource"] for entry in made["entry"]}
    assert len(at) == len(made["entry"]) == 1 + 2 + 7 + 1
    assert all(uuid.UUID(url.removeprefix("urn:uuid:")).version == 5 for url in at)
    observed = [at[each["reference"]] for each in reports[0]["result"]]
    clear, viral, bacterial, other, most, held, frontal = observed
    assert [each["valueQuantity"]["value"] for each in (clear, viral, bacterial, other)] == [0.5, 0.125, 0.25, 0.125]
    assert bacterial["code"]["coding"][0]["system"] == "http://snomed.info/sct"
    assert bacterial["code"]["coding"][0]["code"] == "53084003"
    points = [
        (each["valueQuantity"]["value"], each["interpretation"][0]["coding"][0]["code"], each["code"]["text"])
        for each in bacterial["component"]
    ]
    assert points == [
        (0.25, "POS", "threshold chosen for a specificity of 0.9"),
        (0.125, "NEG", "threshold chosen as if a missed case cost 5 false alarms"),
    ]
    assert not any("component" in each for each in (clear, viral, other))
    assert most["valueCodeableConcept"]["coding"][0]["code"] == "17621005"
    *classes, coverage = held["component"]
    assert [(each["code"]["text"], each["valueBoolean"]) for each in classes] == [
        ("clear", True),
        ("viral", False),
        ("bacterial", True),
        ("other pneumonia", False),
    ]
    assert coverage["valueQuantity"]["value"] == 0.9
    assert frontal["valueQuantity"]["value"] == 0.75
    assert [each["text"] for each in frontal["note"]] == [
        "The image was stored inverted and has been corrected.",
        "BodyPartExamined is HAND",
    ]
    for each in observed:
        assert each["device"]["reference"] == made["entry"][0]["fullUrl"]
        assert each["derivedFrom"] == study
        assert each["focus"][0]["identifier"]["value"] == "urn:oid:1.2.3.4.5"


def test_a_left_out_image_has_its_reason_and_no_value(results: list[Result], bundle: Bundle) -> None:
    made = fhir_bundle(results[1:], bundle, "R4")
    (report,), (observation,) = by_type(made, "DiagnosticReport"), by_type(made, "Observation")
    assert report["conclusion"] == "Research use only. No answer: image is of 0 x 0 pixels."
    assert observation["dataAbsentReason"]["text"] == "image is of 0 x 0 pixels"
    assert observation["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert not [key for key in observation if key.startswith("value")]


def test_everything_is_marked_as_research_and_nothing_names_a_patient_or_file(
    results: list[Result], bundle: Bundle
) -> None:
    named = [each.model_copy(update={"path": "Doe^Jane/1.dcm"}) for each in results]
    made = fhir_bundle(named, bundle, "R5")
    for resource in [made, *(entry["resource"] for entry in made["entry"])]:
        assert resource["meta"]["security"][0]["code"] == "HRESCH"
        assert "subject" not in resource
    assert all("Research use only" in report["conclusion"] for report in by_type(made, "DiagnosticReport"))
    assert "not for diagnosis" in by_type(made, "DiagnosticReport")[0]["conclusion"]
    assert "Doe" not in json.dumps(made)


def test_a_picture_is_named_by_its_sha_256_and_a_file_asked_about_twice_stands_once(
    result_of: Callable[..., Result], bundle: Bundle
) -> None:
    result = result_of(b"1", study="", series="", instance="")
    made = fhir_bundle([result, result], bundle, "R4")
    BundleR4.model_validate(made)
    (report,) = by_type(made, "DiagnosticReport")
    assert "imagingStudy" not in report
    assert by_type(made, "Observation")[0]["focus"][0]["identifier"] == {"value": result.image}


def test_what_is_said_after_a_search_for_text_has_urns_of_its_own(
    result_of: Callable[..., Result], bundle: Bundle
) -> None:
    made = [fhir_bundle([result_of(b"1", text_places=places)], bundle, "R4") for places in (None, 0, 2)]
    device, *others = ([entry["fullUrl"] for entry in each["entry"]] for each in made)
    assert {urns[0] for urns in others} == {device[0]}
    assert len({urn for urns in (device, *others) for urn in urns[1:]}) == 3 * (len(device) - 1)


PROBABILITIES = st.lists(st.floats(0, 1), min_size=4, max_size=4)


@pytest.mark.parametrize("version", VERSIONS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    scores=PROBABILITIES, held=st.sets(st.integers(0, 3)), text=st.text(min_size=1, max_size=40), points=st.booleans()
)
def test_any_result_is_a_valid_bundle_of_one_line(
    version: Version,
    scores: list[float],
    held: set[int],
    text: str,
    points: bool,
    result_of: Callable[..., Result],
    bundle: Bundle,
) -> None:
    order = bundle.task.order
    fields: dict[str, Any] = {
        "scores": dict(zip(order, scores, strict=True)),
        "prediction_set": tuple(order[number] for number in sorted(held)),
        "positive_at": {"specificity": True} if points else {},
        "note": text.strip() or None,
    }
    (line,) = fhir_lines([[result_of(b"1", **fields)]], bundle, version)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    made = json.loads(line)
    READERS[version].model_validate(made)
    assert [each["valueQuantity"]["value"] for each in by_type(made, "Observation")[:4]] == scores
