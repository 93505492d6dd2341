"""A result as a Comprehensive 3D SR: TID 1500, Measurement Report, of PS3.16.

A measurement group (TID 1501) for each class has its probability, one for each operating point the threshold and what
it says, one the prediction set and what was found of the image; each names the algorithm (TID 4019) and the image. What
is text has no place in TID 1501: it stands under Qualitative Evaluations, a row of TID 1500 that highdicom does not
build by itself.
"""

from collections.abc import Iterator

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from cxrflow.bundle import Bundle
from cxrflow.outputs import codes as ours
from cxrflow.outputs.codes import Coded, class_code
from cxrflow.outputs.dicom_source import device_uid, for_highdicom, named, refer, uid, without_study
from cxrflow.outputs.words import DRAWN, chosen
from cxrflow.result import Result

_UNIT = codes.UCUM.NoUnits
_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
_NO_STUDY = "The header of the image names no study: this report's study UID is derived from the image's."


def texts(result: Result, bundle: Bundle) -> list[str]:
    """All that a report holds of texts in other characters than ASCII: they have to fit its character set."""
    return [*bundle.task.names.values(), bundle.name, *(said for _, said in _said(result, bundle))]


def report(result: Result, bundle: Bundle, source: Dataset) -> Comprehensive3DSR:
    """The structured report; preliminary and unverified, because no person has looked at it."""
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(result),
        name="cxrflow",
        manufacturer_name="cxrflow",
        model_name=bundle.name,
        serial_number=result.bundle,
    )
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, device),
        ),
        procedure_reported=concept(ours.CHEST_XRAY),
        imaging_measurements=list(_groups(result, bundle, source)),
    )
    remarks = [*_said(result, bundle), *([(ours.HEADER, _NO_STUDY)] if without_study(source) else [])]
    evaluations = ContainerContentItem(_EVALUATIONS, relationship_type="CONTAINS")
    evaluations.ContentSequence = ContentSequence(
        [TextContentItem(concept(what), said, "CONTAINS") for what, said in remarks]
    )
    content[0].ContentSequence.append(evaluations)
    made = Comprehensive3DSR(
        evidence=[for_highdicom(source)],
        content=content[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[CodingSchemeIdentificationItem(ours.PRIVATE, "cxrflow", result.cxrflow)],
        **named(result, bundle, source, "sr", "classifier's report"),
    )
    refer(made, source)
    return made


def concept(code: Coded) -> CodedConcept:
    """A code as highdicom takes it."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def _groups(result: Result, bundle: Bundle, source: Dataset) -> Iterator[MeasurementsAndQualitativeEvaluations]:
    task = bundle.task
    for name, score in result.scores.items():
        measured = [(ours.PROBABILITY, score)]
        yield _group(result, bundle, source, f"Class: {task.names[name]}", class_code(task, name), measured)
    for name, positive in result.positive_at.items():
        at = bundle.thresholds[name]
        yield _group(
            result,
            bundle,
            source,
            f"Operating point: {chosen(name, at)}",
            class_code(task, task.positive),
            [(ours.THRESHOLD, at.threshold)],
            [(ours.OPERATING_POINT, ours.POSITIVE if positive else ours.NEGATIVE)],
        )
    found = [(ours.FRONTAL, result.frontal), (ours.AS_FAR, result.as_far)]
    measured = [(what, value) for what, value in found if value is not None]
    called = [] if result.prediction is None else [(ours.MOST_PROBABLE, class_code(task, result.prediction))]
    if result.prediction_set is not None and bundle.prediction_sets:
        measured.append((ours.COVERAGE, bundle.prediction_sets.coverage))
        held = [class_code(task, name) for name in result.prediction_set] or [ours.NO_CLASS]
        called += [(ours.NOT_RULED_OUT, code) for code in held]
    yield _group(result, bundle, source, "Image", None, measured, called)


def _group(
    result: Result,
    bundle: Bundle,
    source: Dataset,
    name: str,
    finding: Coded | None,
    measured: list[tuple[Coded, float]],
    called: list[tuple[Coded, Coded]] | None = None,
) -> MeasurementsAndQualitativeEvaluations:
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid(result, source, "group", name), name),
        finding_type=concept(finding) if finding else None,
        algorithm_id=AlgorithmIdentification(
            f"cxrflow, {bundle.name}", result.cxrflow, parameters=[f"bundle SHA-256 {result.bundle}"]
        ),
        measurements=[Measurement(concept(what), value, _UNIT) for what, value in measured],
        qualitative_evaluations=[QualitativeEvaluation(concept(what), concept(value)) for what, value in called or []],
        source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
    )


def _said(result: Result, bundle: Bundle) -> Iterator[tuple[Coded, str]]:
    yield ours.USE, f"Research use only. {result.purpose}"
    if bundle.drawn:
        yield ours.WARNING, DRAWN
    for flag in result.flags:
        yield ours.WARNING, f"The image {flag}."
    if result.note:
        yield ours.HEADER, result.note
    if result.left_out is not None:
        yield ours.NO_ANSWER, f"No answer: {result.left_out}."
