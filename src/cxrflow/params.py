"""The parameters of a run as frozen, validated models, one for each section of ``params.yaml`` (params_file.py)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)

from cxrflow.columns import Columns
from cxrflow.errors import CxrflowError, nearest, one_line
from cxrflow.task import Task

#: Values of ``training.start`` that are not paths.
SCRATCH, IMAGENET = "scratch", "imagenet"
#: A part of a file of the study (plugins.py).
PART_IN_FILE = re.compile(r"(?P<file>(?:[\w.-]+/)*[\w.-]+\.py):(?P<name>[A-Za-z_]\w*)")
#: At most this many problems of a file are named.
_NAMED = 5


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):  # YAML reads yes and no as true and false, which Python takes for 1 and 0
        raise ValueError("a number is wanted, not true or false")
    return value


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("contains a control character; remove it")
    return text


def _part(name: str) -> str:
    if not PART_IN_FILE.fullmatch(name) and not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise ValueError("neither the name of a package's entry point nor file.py:name")
    return name


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names a part twice")
    return names


_Number = BeforeValidator(_no_flag)
Fraction = Annotated[float, _Number, Field(ge=0, le=1)]
Positive = Annotated[float, _Number, Field(gt=0)]
Count = Annotated[int, _Number, Field(ge=1, le=100_000)]
#: Not so near 0 or 1 that what is divided by it, or by 1 minus it, loses all digits.
Between = Annotated[float, _Number, Field(ge=1e-6, le=1 - 1e-6)]
#: What numpy, torch and Lightning all accept.
Seed = Annotated[int, _Number, Field(ge=0, le=2**32 - 1)]
Size = Annotated[int, _Number, Field(ge=32, le=2048)]
#: Paths and names. 4096 is the longest path that Linux takes.
Text = Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=4096)]
#: Parts that others bring (plugins.py), in their order.
Parts = Annotated[tuple[Annotated[str, AfterValidator(_part)], ...], AfterValidator(_once), Field(max_length=20)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sources(_Section):
    """The collections: their folder, their names, and how they are read."""

    root: Text
    collections: list[Text] | None
    follow_links: StrictBool = False
    rsna_without_patients: Literal["stop", "accept"] = "stop"
    columns: dict[Text, Columns] = {}
    extra: Parts = ()


class Reading(_Section):
    """Limits of a worker process that reads image files: memory in GB, and seconds per file."""

    memory_gb: Annotated[float, _Number, Field(ge=0.5, le=1024)]
    seconds: Annotated[float, _Number, Field(ge=1, le=86_400)]


class Demo(_Section):
    """The synthetic collections."""

    patients: Annotated[int, _Number, Field(ge=60, le=1_000_000)]
    seed: Seed
    shortcut: Literal["none", "marker", "border", "exposure"]
    shortcut_strength: Fraction


class Spark(_Section):
    """The Spark master."""

    master: Text


class Split(_Section):
    """Shares of the patient groups on each side; they add up to 1."""

    train: Fraction
    val: Fraction
    test: Fraction
    seed: Seed

    @model_validator(mode="after")
    def _adds_up(self) -> "Split":
        if abs(self.train + self.val + self.test - 1) > 1e-9 or min(self.train, self.val, self.test) <= 0:
            raise ValueError("train, val and test must be above 0 and add up to 1")
        return self


class Metadata(_Section):
    """Which rows are kept, and how they are split."""

    paediatric: Literal["leave_out", "train", "keep"]
    files: Literal["required", "ignored"]
    burned_in_text: StrictBool = False
    split: Split

    @model_validator(mode="after")
    def _text_needs_files(self) -> "Metadata":
        if self.burned_in_text and self.files == "ignored":
            raise ValueError("burned_in_text looks into the image files; set files to required")
        return self


class Images(_Section):
    """The image steps (images/steps.py)."""

    size: Size
    channels: Annotated[Literal[1, 3], _Number]
    crop_top: Annotated[float, _Number, Field(ge=0, le=0.5)]
    harmonise: Literal["none", "percentiles"] = "none"  # bundles from before this key lack it
    equalise: Literal["none", "global", "clahe"]
    clahe_clip: Annotated[float, _Number, Field(gt=0, le=1000)]
    clahe_tiles: Annotated[int, _Number, Field(ge=1, le=256)]
    order: Literal["shrink_first", "equalise_first"]
    lungs: Literal["none", "opencv", "learned"]
    lungs_use: Literal["store", "mask", "crop", "both"]
    # Not written if empty, so that digests of bundles from before this key hold.
    extra: Parts = Field(default=(), exclude_if=lambda names: not names)

    @model_validator(mode="after")
    def _tiles_fit(self) -> "Images":
        if self.clahe_tiles > self.size // 2:
            raise ValueError("clahe_tiles must be at most half of size")
        return self


class Augmentation(_Section):
    """Random augmentation of training batches (training/augmentation.py)."""

    flip: Fraction
    rotate_degrees: Annotated[float, _Number, Field(ge=0, le=180)]
    shift: Fraction
    zoom: Annotated[float, _Number, Field(ge=0, le=0.99)]
    aspect: Annotated[float, _Number, Field(ge=0, le=0.99)]
    brightness: Annotated[float, _Number, Field(ge=0, le=0.99)]
    contrast: Annotated[float, _Number, Field(ge=0, le=0.99)]
    gamma: Annotated[float, _Number, Field(ge=0, le=2)]


class Schedule(_Section):
    """The learning rate by epoch (training/module.py)."""

    name: Literal["step", "cosine"]
    step_epochs: Count
    step_factor: Annotated[float, _Number, Field(gt=0, le=1)]
    warmup_epochs: Annotated[int, _Number, Field(ge=0, le=100_000)]


class Training(_Section):
    """Network, batches, optimiser; ``members`` and ``folds`` make several networks of it (``members_of``)."""

    model: Text
    start: Text
    freeze: Literal["none", "backbone"] = "none"
    epochs: Count
    batch_size: Annotated[int, _Number, Field(ge=2, le=65_536)]
    learning_rate: Annotated[float, _Number, Field(gt=0, le=10)]
    weight_decay: Annotated[float, _Number, Field(ge=0, le=100)]
    gradient_clip: Positive | None
    average: Between | None
    schedule: Schedule
    positive_share: Annotated[float, _Number, Field(ge=0, lt=1)] | None
    balance: Literal["positive_share", "replacement", "source_and_class"]
    loss_weights: dict[str, Annotated[float, _Number, Field(ge=1e-6, le=1e6)]]
    robust: Literal["none", "group_dro"]
    robust_step: Annotated[float, _Number, Field(gt=0, le=10)]
    augmentation: Augmentation
    early_stopping_epochs: Count
    seed: Seed
    members: Annotated[list[dict[str, Any]], Field(max_length=20)] = []
    folds: Annotated[int, _Number, Field(ge=2, le=20)] | None = None
    sharpness: Annotated[float, _Number, Field(ge=0.1, le=10)] = 1.0

    @model_validator(mode="before")
    @classmethod
    def _no_former_keys(cls, values: Any) -> Any:
        # Before tasks existed, the keys contained the class: sample_weight_<class>, <class>_share.
        if isinstance(values, dict):
            if former := [key for key in values if str(key).startswith("sample_weight_")]:
                raise ValueError(f"{former[0]} is now positive_share, the share of the task's positive class")
            balance = str(values.get("balance"))
            if balance.endswith("_share") and balance != "positive_share":
                raise ValueError(f"balance: {balance} is now positive_share")
        return values

    @model_validator(mode="after")
    def _consistent(self) -> "Training":
        share = self.positive_share
        if share is not None and not 1 <= round(self.batch_size * share) < self.batch_size:
            raise ValueError("positive_share must leave at least one positive and one other image in a batch")
        if self.balance == "source_and_class" and share is not None:
            raise ValueError("balance: source_and_class draws all images; set positive_share to null")
        if self.balance == "replacement" and share is None:
            raise ValueError("balance: replacement needs positive_share, the share of each batch that is replaced")
        if self.freeze == "backbone" and self.robust != "none":
            raise ValueError("freeze: backbone has no batches for robust to weight; set one of the two to none")
        if self.freeze == "backbone" and self.start.endswith(".ckpt"):
            raise ValueError("freeze: backbone does not continue a checkpoint; set start to the folder of its bundle")
        if self.schedule.name == "cosine" and self.schedule.warmup_epochs >= self.epochs:
            raise ValueError("schedule.warmup_epochs must be below epochs")
        if self.folds and len(self.members) > self.folds and len(self.members) % self.folds:
            raise ValueError("members: their number must be a multiple of folds, so that all folds are left out alike")
        if self.sharpness != 1 and not self.members and self.folds is None:
            raise ValueError("sharpness is of the mean of several networks; set it to 1, or set members or folds")
        return self


#: Keys of the section training that are of all networks of a bundle together.
_OF_ALL = {"members", "folds", "sharpness"}


class Member(NamedTuple):
    """How one network of a bundle is made: its image steps, its training without what is of all networks together, and
    the fold that it leaves out (from 0; None: it is trained on the split train)."""

    images: Images
    training: Training
    fold: int | None


def members_of(images: Images, training: Training) -> list[Member]:
    """The networks that a training makes. An entry of ``training.members`` holds what differs from both sections; with
    more folds than entries, the entries take turns, each time with the next seed.

    Raises ValueError for a key of neither section, or values that do not fit.
    """
    if not training.members and training.folds is None:
        return [Member(images, training, None)]
    sections = images.model_dump(), training.model_dump(exclude=_OF_ALL)
    entries = training.members or [{}]
    members = []
    for number in range(max(len(entries), training.folds or 1)):
        entry = entries[number % len(entries)]
        where = f"training.members: entry {number % len(entries) + 1}"
        if other := [key for key in entry if not any(key in section for section in sections)]:
            near = nearest(str(other[0]), [key for section in sections for key in section])
            raise ValueError(f"{where}: {one_line(str(other[0]), 40)} is a key of neither images nor training{near}")
        here, how = (merged({k: v for k, v in entry.items() if k in section}, section) for section in sections)
        how["seed"] += number // len(entries)
        try:
            made = Images.model_validate(here), Training.model_validate(how)
        except ValidationError as error:
            raise ValueError(f"{where}: {problems_in(error)}") from None
        members.append(Member(*made, None if training.folds is None else number % training.folds))
    return members


def parts_of(member: Member) -> tuple[str, ...]:
    """The names of the network and of the image steps of others that one network of a bundle uses."""
    return (member.training.model, *member.images.extra)


class Evaluation(_Section):
    """Bootstrap intervals, and targets for the operating points and prediction sets that are fitted on val."""

    bootstrap: Annotated[int, _Number, Field(ge=100, le=100_000)]
    seed: Seed
    specificity: Between
    cost_ratio: Annotated[float, _Number, Field(ge=1e-6, le=1e6)]
    prevalence: Between
    set_coverage: Between


class Explanation(_Section):
    """Number of examples shown."""

    per_class: Annotated[int, _Number, Field(ge=1, le=1000)]


class Audit(_Section):
    """Extent of the audit."""

    heat_maps: Count
    retrain_epochs: Annotated[int, _Number, Field(ge=0, le=100_000)]
    retrain_size: Size
    extra: Parts = ()


class Params(_Section):
    """All parameters of a run; the comments in ``params.yaml`` explain each key."""

    overrides: Text | list[Text] | None
    engine: Literal["local", "spark"]
    spark: Spark
    sources: Sources
    reading: Reading
    demo: Demo
    task: Task
    metadata: Metadata
    images: Images
    training: Training
    evaluation: Evaluation
    explanation: Explanation
    audit: Audit

    @model_validator(mode="after")
    def _weights_are_of_classes(self) -> "Params":
        for training in (self.training, *(member.training for member in members_of(self.images, self.training))):
            if others := [name for name in training.loss_weights if name not in self.task.classes]:
                raise ValueError(
                    f"training.loss_weights: {others[0]} is not one of the task's classes {', '.join(self.task.order)}"
                )
        return self


def steps_of(params: Params) -> list[Images]:
    """The image steps that the members need, each different ones once."""
    return different_steps(member.images for member in members_of(params.images, params.training))


def different_steps(steps: Iterable[Images]) -> list[Images]:
    """Each different image steps once. The number of channels makes no difference: it repeats the grey image."""
    return list({each.model_copy(update={"channels": 1}): each for each in steps}.values())


def first_member(params: Params) -> Params:
    """The parameters for the first of several members alone."""
    images, training, _ = members_of(params.images, params.training)[0]
    return params.model_copy(update={"images": images, "training": training})


def check_start(training: Training, out: Path) -> None:
    """Raise CxrflowError if ``training.start`` lies in ``out``, which DVC empties before training writes to it."""
    if training.start not in (SCRATCH, IMAGENET) and Path(training.start).resolve().is_relative_to(out.resolve()):
        raise CxrflowError(
            f"training.start: {training.start} lies where training writes its own results, which replace it; move it "
            f"out of {out} first."
        )


def problems_in(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first problems that pydantic found, each with its key, on one line; with the key or value of a choice that
    is spelt most like an unknown one.

    model  that was validated; None where unknown keys cannot be
    """
    found = error.errors(include_url=False, include_input=True)
    said = [
        ": ".join(filter(None, (one_line(".".join(map(str, each["loc"])), 80), _problem(each, model))))
        for each in found
    ]
    more = len(found) - _NAMED
    return "; ".join(said[:_NAMED]).rstrip(".") + (f"; and {more} more" if more > 0 else "")


def _problem(each: Any, model: type[BaseModel] | None) -> str:
    said = one_line(each["msg"].removeprefix("Value error, "))
    if each["type"] == "extra_forbidden" and model is not None:
        *sections, key = each["loc"]
        return f"unknown key{nearest(str(key), _keys(model, sections))}"
    if each["type"] == "literal_error":
        said += nearest(str(each["input"]), re.findall("'([^']*)'", each["ctx"]["expected"]))
    # YAML reads yes, no, on, off, 2020-01-01 and 1e5 as something else than text.
    quotes = each["type"] == "string_type" and isinstance(each["input"], (bool, int, float, date))
    return f"{said}; put the value in quotes" if quotes else said


def _keys(model: type[BaseModel], sections: Sequence[int | str]) -> list[str]:
    """The keys of a section at any depth; the names of entries of mappings, and numbers in lists, lead no deeper."""
    for section in sections:
        field = model.model_fields.get(str(section))
        model = next(_models_in(field.annotation), model) if field else model
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def merged(override: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` updated with ``override``, recursively."""
    together = dict(values)
    for key, value in override.items():
        old = together.get(key)
        together[key] = merged(value, old) if isinstance(value, dict) and isinstance(old, dict) else value
    return together
