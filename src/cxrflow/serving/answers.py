"""What the service answers, typed: the schemas of ``/openapi.json``."""

from pydantic import BaseModel, ConfigDict

from cxrflow.bundle import Bundle
from cxrflow.outputs.words import in_words
from cxrflow.result import Result
from cxrflow.serving.work import Pictures


class Problem(BaseModel):
    """Why a request was not answered.

    detail   one sentence
    request  its id, as in X-Request-ID and in the service's logs
    """

    detail: str
    request: str


class Seen(BaseModel):
    """Where the networks looked: PNGs of one size as ``data:`` URLs (``work.Pictures``), and the class that the heat
    speaks for."""

    label: str
    width: int
    height: int
    picture: str
    heat: str
    lungs: str | None


class Answer(Result):
    """The result of one file, with the same in words, and where the networks looked if that was asked for."""

    words: tuple[str, ...]
    look: Seen | None = None  # type: ignore[assignment]


class Answers(BaseModel):
    """The results of a request's files, in their order."""

    request: str
    results: list[Answer]


class ClassShown(BaseModel):
    """A class of the task, its display name, and its colour, ``#RRGGBB``."""

    name: str
    shown: str
    color: str


class Point(BaseModel):
    """An operating point: its threshold, sensitivity and specificity on val, and how it was chosen in words."""

    name: str
    threshold: float
    sensitivity: float
    specificity: float
    words: str


class Verdict(BaseModel):
    """What one test of the audit found."""

    test: str
    question: str
    verdict: str
    text: str


class Most(BaseModel):
    """What one request may hold: files, bytes of its body, and pixels of an image."""

    files: int
    bytes: int
    pixels: int


class Sample(BaseModel):
    """A drawn radiograph to try, and what is drawn."""

    url: str
    said: str


class About(BaseModel):
    """What a bundle is, and what is known of it.

    name, bundle  what its networks are called, and the digest of its description (``Result.bundle``)
    drawn         whether it was trained on drawings
    coverage      of its prediction sets; None if it has none
    model_card    Markdown, or None
    audit         its verdicts; None if it was not audited
    burned_in_text  whether this service looks for text burned into the pictures
    """

    model_config = ConfigDict(protected_namespaces=())

    name: str
    cxrflow: str
    bundle: str
    purpose: str
    drawn: bool
    classes: list[ClassShown]
    positive: str
    operating_points: list[Point]
    coverage: float | None
    model_card: str | None
    audit: list[Verdict] | None
    burned_in_text: bool
    limits: Most
    samples: list[Sample]


def answer(result: Result, bundle: Bundle, pictures: Pictures | None) -> Answer:
    """A result as the service gives it."""
    fields = {name: getattr(result, name) for name in Result.model_fields if name != "look"}
    seen = Seen(label=result.look.label, **pictures._asdict()) if result.look and pictures else None
    return Answer(**fields, words=tuple(in_words(result, bundle)), look=seen)
