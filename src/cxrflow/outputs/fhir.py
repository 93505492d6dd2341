"""Results as FHIR bundles: a DiagnosticReport with its Observations for each image, and the Device that made them.

No person has looked at a result, so reports and observations are ``preliminary``; of an image that was left out they
are ``cancelled``, with the reason. The patient is not in a ``Result`` and not in a bundle: study and image are named by
their DICOM UIDs, by which the receiver knows the patient. ``conclusionCode`` stays empty, because a score is no
diagnosis. docs/dicom.md shows an example.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from cxrflow.bundle import Bundle
from cxrflow.outputs import codes
from cxrflow.outputs.codes import Coded, class_code, uuid_of
from cxrflow.outputs.words import chosen, in_words
from cxrflow.result import Result

Version = Literal["R4", "R5"]
_Json = dict[str, Any]

_HL7 = "http://terminology.hl7.org/CodeSystem"
_OWN = f"urn:uuid:{uuid_of('codes')}"
#: URIs of coding schemes, by their designators in DICOM.
_SYSTEMS = {"SCT": "http://snomed.info/sct", "DCM": "http://dicom.nema.org/resources/ontology/DCM", codes.PRIVATE: _OWN}
_UNITS = "http://unitsofmeasure.org"
_URI = "urn:ietf:rfc:3986"
#: For research alone: HL7's label for the purpose of use, and in plain words.
_META = {
    "security": [{"system": f"{_HL7}/v3-ActReason", "code": "HRESCH", "display": "healthcare research"}],
    "tag": [{"system": _OWN, "code": "research-use-only", "display": "Research use only. Not a medical device."}],
}


def fhir_lines(studies: Iterable[Sequence[Result]], bundle: Bundle, version: Version) -> Iterator[bytes]:
    """For each study a FHIR bundle as a line of JSON."""
    for results in studies:
        yield json.dumps(fhir_bundle(results, bundle, version), allow_nan=False, ensure_ascii=False).encode() + b"\n"


def fhir_bundle(results: Sequence[Result], bundle: Bundle, version: Version) -> _Json:
    """A FHIR Bundle of the type ``collection`` as JSON (hl7.org/fhir/R4 or R5).

    results  of the images of one study, or of one image; at least one
    bundle   description of the bundle that gave them
    Its entries: the device, and for each image a report and its observations. Their URNs are derived from image, bundle
    and version of the program: what is written again has the same.
    """
    device = _urn(results[0], "device", image=False)
    entries = [{"fullUrl": device, "resource": _device(results[0], bundle, version)}]
    for result in results:
        observed = [
            (_urn(result, name), {"resourceType": "Observation", "meta": _META, **_about(result, device), **fields})
            for name, fields in _observations(result, bundle)
        ]
        urn = _urn(result, "report")
        report = _report(result, bundle, version, urn, [{"reference": each} for each, _ in observed])
        entries += [{"fullUrl": each, "resource": fields} for each, fields in [(urn, report), *observed]]
    once = {entry["fullUrl"]: entry for entry in entries}  # one file may have been asked about twice
    return {"resourceType": "Bundle", "meta": _META, "type": "collection", "entry": list(once.values())}


def _device(result: Result, bundle: Bundle, version: Version) -> _Json:
    kind = {"text": "software that classifies chest radiographs"}
    name = f"cxrflow, {bundle.name}"
    named: _Json = {"name": [{"value": name, "type": "user-friendly-name"}], "type": [kind]}
    if version == "R4":
        named = {"deviceName": [{"name": name, "type": "user-friendly-name"}], "type": kind}
    return {
        "resourceType": "Device",
        "meta": _META,
        "identifier": [{"system": _URI, "value": _urn(result, "device", image=False)}],
        "manufacturer": "cxrflow",
        "modelNumber": bundle.name,
        **named,
        "version": [
            {"type": {"text": "cxrflow"}, "value": result.cxrflow},
            {"type": {"text": "SHA-256 of the bundle's description"}, "value": result.bundle},
        ],
        "note": [{"text": result.purpose}],
    }


def _report(result: Result, bundle: Bundle, version: Version, urn: str, observed: list[_Json]) -> _Json:
    study = {"imagingStudy" if version == "R4" else "study": [_study(result)]} if result.study else {}
    return {
        "resourceType": "DiagnosticReport",
        "meta": _META,
        "identifier": [{"system": _URI, "value": urn}],
        "status": _status(result),
        "category": [{"coding": [{"system": f"{_HL7}/v2-0074", "code": "RAD", "display": "Radiology"}]}],
        "code": _concept(codes.CHEST_XRAY),
        **study,
        "result": observed,
        "conclusion": " ".join(["Research use only.", *in_words(result, bundle)]),
    }


def _about(result: Result, device: str) -> _Json:
    """What each observation of an image has: what it is about, and what made it."""
    if result.instance:
        image = {"identifier": _uid(result.instance), "display": "DICOM image"}
    else:
        image = {"identifier": {"value": result.image}, "display": "image, by the SHA-256 of its file"}
    return {
        "status": _status(result),
        "category": [{"coding": [{"system": f"{_HL7}/observation-category", "code": "imaging", "display": "Imaging"}]}],
        "focus": [image],
        **({"derivedFrom": [_study(result)]} if result.study else {}),
        "device": {"reference": device},
    }


def _observations(result: Result, bundle: Bundle) -> Iterator[tuple[str, _Json]]:
    """Each observation of an image: a name for its URN, and what it says."""
    task = bundle.task
    if result.left_out is not None:
        absent = {
            "coding": [{"system": f"{_HL7}/data-absent-reason", "code": "not-performed"}],
            "text": result.left_out,
        }
        yield "prediction", {"code": _concept(codes.MOST_PROBABLE), "dataAbsentReason": absent}
        return
    for name, score in result.scores.items():
        said: _Json = {
            "code": _concept(class_code(task, name), task.names[name]),
            "valueQuantity": _number(score, "probability"),
        }
        if name == task.positive and result.positive_at:
            said["component"] = list(_operating_points(result, bundle))
        yield f"class {name}", said
    if result.prediction is not None:
        most = _concept(class_code(task, result.prediction), task.names[result.prediction])
        yield "prediction", {"code": _concept(codes.MOST_PROBABLE), "valueCodeableConcept": most}
    if result.prediction_set is not None and bundle.prediction_sets:
        held = [
            {"code": _concept(class_code(task, name), task.names[name]), "valueBoolean": name in result.prediction_set}
            for name in task.order
        ]
        coverage = _number(bundle.prediction_sets.coverage, "probability")
        components = [*held, {"code": _concept(codes.COVERAGE), "valueQuantity": coverage}]
        yield "prediction set", {"code": _concept(codes.NOT_RULED_OUT), "component": components}
    if result.frontal is not None:
        notes = [*(f"The image {flag}." for flag in result.flags), *([result.note] if result.note else [])]
        noted = {"note": [{"text": note} for note in notes]} if notes else {}
        yield "frontal", {"code": _concept(codes.FRONTAL), "valueQuantity": _number(result.frontal, "score"), **noted}


def _operating_points(result: Result, bundle: Bundle) -> Iterator[_Json]:
    """For each operating point its threshold, interpreted as what the image is there."""
    for name, positive in result.positive_at.items():
        at = bundle.thresholds[name]
        code, display = ("POS", "Positive") if positive else ("NEG", "Negative")
        yield {
            "code": _concept(codes.OPERATING_POINT, f"threshold {chosen(name, at)}"),
            "valueQuantity": _number(at.threshold, "probability"),
            "interpretation": [
                {"coding": [{"system": f"{_HL7}/v3-ObservationInterpretation", "code": code, "display": display}]}
            ],
        }


def _status(result: Result) -> str:
    return "preliminary" if result.left_out is None else "cancelled"


def _study(result: Result) -> _Json:
    return {"type": "ImagingStudy", "identifier": _uid(result.study)}


def _uid(uid: str) -> _Json:
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def _concept(code: Coded, shown: str = "") -> _Json:
    coding = {"system": _SYSTEMS[code.scheme], "code": code.value, "display": code.meaning}
    return {"coding": [coding], "text": shown or code.meaning}


def _number(value: float, unit: str) -> _Json:
    return {"value": value, "unit": unit, "system": _UNITS, "code": "1"}


def _urn(result: Result, name: str, image: bool = True) -> str:
    about = [result.image] if image else []
    if image and result.text_places is not None:  # with the search for text, the flags may differ
        about.append(f"text {result.text_places}")
    return f"urn:uuid:{uuid_of(*about, result.bundle, result.cxrflow, name)}"
