"""A plan derived from the data and the machine: image size, batches, folds, members and epochs, each with its reason.

It starts from a recipe, the parameters of the study, and changes only what the data, the memory or the time asks for.
The rules, in their order, are in docs/check.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from cxrflow.check.facts import Cost, Facts, Span
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.limits import FEW, HALF_WIDTH
from cxrflow.params import Images, Member, Params, Training, members_of, merged
from cxrflow.text import number_of

#: Sizes are multiples of this, which convolutions with strides of 2 divide without a rest.
_STEP = 16
#: From so many patients to train on, pictures have _LARGE pixels: CheXNet's, trained on the 112,120 images of NIH
#: (Rajpurkar et al., arXiv 1711.05225, section 2.2).
_MANY, _LARGE = 10_000, 224
#: Share of the available memory that a training may take; other programs need the rest.
_OF_MEMORY = 0.5
#: Steps that an epoch has at least, where the images allow it, and the smallest batch for that.
_STEPS, _SMALLEST = 10, 8
#: Folds at most: more moved nothing on the sample, at a higher cost (docs/training.md).
_FOLDS = 4
#: Training images seen in all epochs together at most, and the fewest epochs: CheXpert's baseline saw its 223,414
#: images in 3 epochs (Irvin et al., AAAI 2019, section 4).
_SEEN, _FEWEST_EPOCHS = 1_000_000, 3

#: (image steps, training) -> gigabytes that a training of this network takes; None if it does not take the size.
Memory = Callable[[Images, Training], float | None]


@dataclass(frozen=True)
class Choice:
    """A planned value: its key, the value, why, and whether the study sets it itself, so that the plan cannot."""

    key: str
    value: Any
    reason: str
    given: bool = False


@dataclass(frozen=True)
class Plan:
    """The parameters as planned, and how each was chosen.

    params   of the recipe, with the choices; valid
    choices  in the order of the rules
    warning  what the plan could not achieve, in a sentence; else empty
    """

    params: Params
    choices: tuple[Choice, ...] = ()
    warning: str = ""

    @property
    def networks(self) -> list[Member]:
        """The networks that a training makes."""
        return members_of(self.params.images, self.params.training)

    @property
    def values(self) -> dict[str, Any]:
        """What an override file holds: the choices that the study leaves to it, by section."""
        sections: dict[str, Any] = {}
        for choice in self.choices:
            if not choice.given:
                section, key = choice.key.split(".")
                sections.setdefault(section, {})[key] = choice.value
        return sections

    def chosen(self, key: str, value: Any, reason: str, given: bool = False) -> "Plan":
        """The plan with one more choice, in place of an earlier one of the key. Raises ValueError if not valid."""
        section, name = key.split(".")
        params = Params.model_validate(merged({section: {name: value}}, self.params.model_dump()))
        others = tuple(choice for choice in self.choices if choice.key != key)
        return replace(self, params=params, choices=(*others, Choice(key, value, reason, given)))


def fitted_to_data(recipe: Params, facts: Facts, memory_gb: float, memory: Memory, given: frozenset[str]) -> Plan:
    """The plan as data and memory ask for it, whatever it takes: size, batches, folds, epochs.

    recipe     the parameters to start from
    memory_gb  available for training
    given      keys that the study sets itself, such as ``images.size``; they stay as they are
    Raises CxrflowError if no batch fits into the memory.
    """
    plan = _with_size(Plan(recipe), facts, memory, given)
    plan = _with_folds(plan, facts, given)
    plan = _with_batch(plan, facts, memory_gb, memory, given)
    return _with_epochs(plan, facts, given)


def fitted_to_time(plan: Plan, facts: Facts, costs: Mapping[str, Cost], hours: float, given: frozenset[str]) -> Plan:
    """The plan reduced until all trainings together take at most ``hours``, if it can be; the last reduction else.

    costs  by ``kind`` of the networks of ``plan``
    """
    whole = in_hours(training_hours(plan, facts, costs).mid)
    for each, why in _reductions(plan, given):
        last = each if not why else _told(each, plan, f"{why}, because all of it would take about {whole}")
        taken = training_hours(last, facts, costs).mid
        if taken <= hours:
            return last
    return replace(
        last,
        warning=f"The trainings take about {in_hours(taken)}, more than the {in_hours(hours)} wanted; a GPU, a smaller "
        "network, smaller images or `--hours` with more would do.",
    )


def training_hours(plan: Plan, facts: Facts, costs: Mapping[str, Cost]) -> Span:
    """Hours of all trainings of the plan, one after the other, if none stops early."""
    total = Span(0, 0, 0)
    for network in plan.networks:
        train, val = facts.images_an_epoch(network.training, plan.params.training.folds)
        cost = costs[kind(network)]
        if network.training.freeze == "backbone":  # features once, without a gradient; the head takes seconds
            total += cost.forward * ((train + val) / 3600)
        else:
            total += (cost.train * train + cost.forward * val) * (network.training.epochs / 3600)
    return total


def kind(network: Member) -> str:
    """What a network's cost for one image depends on, in words."""
    images, training, _ = network
    frozen = ", frozen" if training.freeze == "backbone" else ""
    return (
        f"{training.model}, {images.size} x {images.size} x {images.channels}, batches of {training.batch_size}{frozen}"
    )


def _with_size(plan: Plan, facts: Facts, memory: Memory, given: frozenset[str]) -> Plan:
    key, recipe = "images.size", plan.params.images.size
    if key in given:
        return plan.chosen(key, recipe, "set in the study", given=True)
    largest = max(_STEP * int(facts.shorter // _STEP), 2 * _STEP)
    wanted, reason = recipe, "as the recipe"
    if facts.train_groups >= _MANY and recipe < _LARGE:
        wanted, reason = _LARGE, f"{facts.train_groups:,} groups of patients to train on; CheXNet's size"
    if largest < wanted:
        wanted, reason = largest, f"half of the images have a shorter side of {facts.shorter:,.0f} pixels or less"
    capped = [
        entry | ({"size": min(entry["size"], largest)} if "size" in entry else {})
        for entry in plan.params.training.members
    ]
    try:
        sized = plan.chosen(key, wanted, reason)
        if capped != plan.params.training.members and "training.members" not in given:
            sized = sized.chosen("training.members", capped, f"no larger than the images, {largest} pixels")
    except ValueError as error:  # another key does not fit the size, such as clahe_tiles
        return plan.chosen(key, recipe, f"as the recipe; {wanted} does not fit it ({_first_line(error)})")
    if any(memory(network.images, network.training) is None for network in sized.networks):
        return plan.chosen(key, recipe, f"as the recipe; not every network takes images of {wanted} pixels")
    return sized


def _with_folds(plan: Plan, facts: Facts, given: frozenset[str]) -> Plan:
    key, training = "training.folds", plan.params.training
    if key in given:
        return plan.chosen(key, training.folds, "set in the study", given=True)
    entries = max(len(training.members), 1)
    if facts.rarest_val >= facts.enough:
        return _folded(
            plan,
            None,
            f"val alone has {facts.rarest_val:,} patients of the rarest class, enough for +-{HALF_WIDTH} "
            "when it calibrates",
            given,
        )
    most = min(_FOLDS, facts.rarest // FEW)
    fitting = [count for count in range(most, 1, -1) if entries <= count or entries % count == 0]
    if not fitting:
        return _folded(
            plan,
            None,
            f"train and val have {number_of(facts.rarest, 'patient')} of the rarest class, too few for {FEW} in each "
            "of several folds",
            given,
        )
    reason = (
        f"val has only {number_of(facts.rarest_val, 'patient')} of the rarest class; with folds all "
        f"{facts.rarest:,} of train and val train and calibrate"
    )
    return _folded(plan, fitting[0], reason, given)


def _folded(plan: Plan, folds: int | None, reason: str, given: frozenset[str]) -> Plan:
    """The plan with these folds, and the sharpness that fits them: that of the recipe is of its own networks alone."""
    key, training = "training.sharpness", plan.params.training
    if key not in given and training.sharpness != 1 and training.folds != folds:
        plan = plan.chosen(key, 1.0, "that of the recipe is of its own networks; `cxrflow cross-validate` fits it")
    if key in given and training.sharpness != 1 and folds is None and not training.members:
        return plan.chosen("training.folds", training.folds, "as the recipe; sharpness is set in the study")
    return plan.chosen("training.folds", folds, reason)


def _with_batch(plan: Plan, facts: Facts, memory_gb: float, memory: Memory, given: frozenset[str]) -> Plan:
    """Halves the batches of all networks until they fit; those that entries of ``members`` set, too."""
    key = "training.batch_size"
    allowed, reasons, now = _OF_MEMORY * memory_gb, [], plan

    def taken(of: Plan) -> float:
        return max(memory(network.images, network.training) or 0.0 for network in of.networks)

    def halved(of: Plan) -> Plan | None:
        if key in given or (_own(of, "batch_size") and "training.members" in given):
            return None
        try:
            changed = _own_scaled(of, "batch_size", lambda size: max(size // 2, 2))
            return changed.chosen(key, of.params.training.batch_size // 2, "")
        except ValueError:  # the share of the positive class asks for more
            return None

    while taken(now) > allowed:
        less = halved(now)
        if less is None or less.params.training.batch_size == now.params.training.batch_size:
            raise CxrflowError(
                f"check: a training takes about {taken(now):.1f} GB even with batches of "
                f"{now.params.training.batch_size}, and {allowed:.1f} GB may be used, half of what is free; take a "
                "smaller network or images.size, or free some memory."
            )
        now = less
    if now is not plan:
        reasons.append(f"larger ones do not fit into {allowed:.1f} GB, half of the free memory")
    while (size := now.params.training.batch_size) // 2 >= _SMALLEST and facts.train < _STEPS * size:
        less = halved(now)
        if less is None:
            break
        now = less
        few = f"{number_of(facts.train, 'training image')} make {ceil(facts.train / size)} steps of {size}"
        reasons = [*(reason for reason in reasons if "steps of" not in reason), few]
    value = now.params.training.batch_size
    if key in given:
        return now.chosen(key, value, "set in the study", given=True)
    room = f"as the recipe, whose learning rate is for it; a training takes about {taken(now):.1f} GB"
    return now.chosen(key, value, "; ".join(reasons) or room)


def _with_epochs(plan: Plan, facts: Facts, given: frozenset[str]) -> Plan:
    key, training = "training.epochs", plan.params.training
    if key in given:
        return plan.chosen(key, training.epochs, "set in the study", given=True)
    images, _ = facts.images_an_epoch(training, training.folds)
    most = max(round(_SEEN / max(images, 1)), _least_epochs(plan))
    if most >= training.epochs:
        return plan.chosen(key, training.epochs, "as the recipe")
    reason = f"an epoch has {images:,.0f} images, and {_SEEN:,} in all are enough"
    return _scaled_epochs(plan, most / training.epochs, reason, given)


def _scaled_epochs(plan: Plan, factor: float, reason: str, given: frozenset[str]) -> Plan:
    """The plan with so many times the epochs, in entries of ``members`` too, never below what the schedule takes."""
    training = plan.params.training
    if "training.epochs" in given:
        return plan
    least = _least_epochs(plan)
    if "training.members" not in given:
        plan = _own_scaled(plan, "epochs", lambda count: min(count, max(round(count * factor), least)))
    return plan.chosen("training.epochs", min(training.epochs, max(round(training.epochs * factor), least)), reason)


def _least_epochs(plan: Plan) -> int:
    warm_up = max(network.training.schedule.warmup_epochs for network in plan.networks)
    return max(_FEWEST_EPOCHS, warm_up + 1)


def _reductions(plan: Plan, given: frozenset[str]) -> Iterator[tuple[Plan, str]]:
    """The plan, then what costs less and less, each with what was given up: first the folds, then epochs, then all
    networks but one."""
    yield plan, ""
    training, now, why = plan.params.training, plan, []
    if training.folds is not None and "training.folds" not in given:
        now = _folded(now, None, "", given)
        why.append("no folds, so that each network is trained once and val calibrates")
        yield now, "; ".join(why)
    if "training.epochs" not in given:
        why.append("half of the epochs")
        yield _scaled_epochs(now, 1 / 2, "", given), "; ".join(why)
        why.pop()
    if len(training.members) > 1 and "training.members" not in given:
        now = now.chosen("training.members", training.members[:1], "")
        if now.params.training.sharpness != 1 and "training.sharpness" not in given:
            now = now.chosen("training.sharpness", 1.0, "of one network")
        why.append("the first network alone")
        yield now, "; ".join(why)
    if "training.epochs" not in given:
        for factor, word in ((1 / 2, "half"), (1 / 4, "a quarter")):
            yield _scaled_epochs(now, factor, "", given), "; ".join([*why, f"{word} of the epochs"])


def _told(plan: Plan, before: Plan, reason: str) -> Plan:
    """The plan with ``reason`` for each choice that differs from the one before."""
    was = {choice.key: choice for choice in before.choices}
    now = {choice.key: choice for choice in plan.choices}
    told = [
        earlier if (earlier := was.get(key)) and earlier.value == choice.value else replace(choice, reason=reason)
        for key, choice in ((key, now[key]) for key in (*was, *(key for key in now if key not in was)))
    ]
    return replace(plan, choices=tuple(told))


def _own(plan: Plan, name: str) -> bool:
    return any(name in entry for entry in plan.params.training.members)


def _own_scaled(plan: Plan, name: str, change: Callable[[int], int]) -> Plan:
    """The plan with the values that entries of ``members`` set themselves changed."""
    if not _own(plan, name):
        return plan
    entries = [entry | ({name: change(entry[name])} if name in entry else {}) for entry in plan.params.training.members]
    earlier = next((choice.reason for choice in plan.choices if choice.key == "training.members"), "")
    return plan.chosen("training.members", entries, earlier or f"with {name} as below")


def in_hours(hours: float) -> str:
    """A duration in words: minutes below two hours."""
    return number_of(round(hours * 60), "minute") if hours < 2 else f"{hours:.1f} hours"


def _first_line(error: ValueError) -> str:
    return str(error).splitlines()[0][:80]
