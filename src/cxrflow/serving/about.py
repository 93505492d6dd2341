"""What the service says of its bundle: classes, operating points, model card, the audit's verdicts, samples."""

from pathlib import Path

from cxrflow import __version__
from cxrflow.errors import CxrflowError
from cxrflow.files import digest
from cxrflow.model_card import CARD
from cxrflow.outputs.words import chosen
from cxrflow.predictor import Predictor
from cxrflow.serving.answers import About, ClassShown, Most, Point, Sample, Verdict
from cxrflow.serving.samples import jobs
from cxrflow.serving.settings import Settings
from cxrflow.state import read_bytes, read_sealed
from cxrflow.text import name_text

#: Where the audit's verdicts are beside a bundle's folder, as the stages write both.
_AUDIT = Path("..", "..", "audit", "audit.json")
#: The same of the evaluation's model card.
_EVALUATED = Path("..", "..", "evaluation", CARD)


def about(predictor: Predictor, settings: Settings) -> About:
    """What ``/about`` answers. Raises CxrflowError if the model card or the audit's file cannot be read, or that file
    is of another bundle."""
    bundle, bounds = predictor.bundle, settings.bounds
    task = bundle.task
    return About(
        name=bundle.name,
        cxrflow=__version__,
        bundle=digest(bundle.model_dump(mode="json")),
        purpose=bundle.purpose,
        drawn=bundle.drawn,
        classes=[ClassShown(name=name, shown=task.names[name], color=task.colours[name]) for name in task.order],
        positive=task.positive,
        operating_points=[
            Point(
                **at.model_dump(include={"threshold", "sensitivity", "specificity"}), name=name, words=chosen(name, at)
            )
            for name, at in bundle.thresholds.items()
        ],
        coverage=bundle.prediction_sets.coverage if bundle.prediction_sets else None,
        model_card=_card(predictor),
        audit=_verdicts(predictor, settings.audit),
        burned_in_text=settings.burned_in_text,
        limits=Most(files=bounds.files, bytes=bounds.bytes, pixels=bounds.pixels),
        samples=[
            Sample(url=f"/samples/{number}.png", said=f"Drawn radiograph: {task.names.get(job.kind, job.kind)}")
            for number, job in enumerate(jobs())
        ],
    )


def _card(predictor: Predictor) -> str | None:
    """The evaluation's card, with figures, if it is of these weights; else that of the bundle."""
    weights = predictor.bundle.digests.get("weights", "")[:12]
    evaluated = _text(predictor.folder / _EVALUATED)
    if evaluated and weights and f"weights {weights}" in evaluated:
        return evaluated
    return _text(predictor.folder / CARD)


def _text(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        return read_bytes(path, "restore the file").decode()
    except UnicodeDecodeError:
        raise CxrflowError(f"{name_text(path)}: damaged, not UTF-8 text; restore the file or remove it.") from None


def _verdicts(predictor: Predictor, path: Path | None) -> list[Verdict] | None:
    """Of the file that is named, unless it says that it is of other weights; of the one beside the bundle, if it says
    that it is of these."""
    weights, given = predictor.bundle.digests.get("weights"), path is not None
    path = path or predictor.folder / _AUDIT
    if not given and not path.is_file():
        return None
    values = read_sealed(path, "name the audit.json of this bundle, as `cxrflow audit` wrote it")
    if values.get("weights", weights if given else None) != weights or (weights is None and not given):
        if not given:
            return None
        raise CxrflowError(f"{name_text(path)}: is the audit of other weights; name that of this bundle with --audit.")
    return [
        Verdict(
            test=str(name),
            verdict=str(test["verdict"]),
            question=str(test["question"]),
            text=str(test["words"]),
        )
        for name, test in values["tests"].items()
    ]
