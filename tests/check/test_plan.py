"""The rules of the plan: a table of cases, and what holds whatever the data, the memory and the time are."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrflow.check import room
from cxrflow.check.facts import Cost, Facts, Span
from cxrflow.check.plan import fitted_to_data, fitted_to_time, kind, training_hours
from cxrflow.check.write import check_unedited, how_to_use, plan_file, recipe, write_plan
from cxrflow.errors import CxrflowError
from cxrflow.params import Params, merged
from cxrflow.params_file import DEFAULTS, load_params

SMALL = Facts(
    images=1000, train=650, val=150, positive=200, train_groups=500, rarest=60, rarest_val=12, enough=245, shorter=512
)
LARGE = replace(
    SMALL, images=100_000, train=65_000, val=15_000, positive=5_000, train_groups=20_000, rarest=4_000, rarest_val=800
)
NONE: frozenset[str] = frozenset()


def little(images, training) -> float:
    """Memory that grows with batch and pixels: 1 GB for 100 pictures of 100 x 100."""
    return training.batch_size * images.size**2 / 1e6


def changed(params: Params, **sections) -> Params:
    return Params.model_validate(merged(sections, params.model_dump()))


def cost(seconds: float) -> Cost:
    return Cost(Span(seconds / 2, seconds, seconds * 2), Span(0, 0, 0))


def costs_of(plan, seconds: float) -> dict[str, Cost]:
    return {kind(network): cost(seconds) for network in plan.networks}


@pytest.mark.parametrize(
    ("facts", "memory_gb", "key", "value", "reason"),
    [
        (SMALL, 100, "images.size", 128, "as the recipe"),
        (replace(SMALL, shorter=100), 100, "images.size", 96, "shorter side of 100 pixels"),
        (replace(SMALL, shorter=20), 100, "images.size", 32, "shorter side"),
        (LARGE, 100, "images.size", 224, "20,000 groups"),
        (replace(LARGE, shorter=200), 100, "images.size", 192, "shorter side"),
        (SMALL, 100, "training.folds", 4, "val has only 12 patients"),
        (replace(SMALL, rarest=16), 100, "training.folds", 3, "all 16 of train and val"),
        (replace(SMALL, rarest=9), 100, "training.folds", None, "9 patients of the rarest class, too few"),
        (LARGE, 100, "training.folds", None, "val alone has 800"),
        (SMALL, 100, "training.batch_size", 32, "as the recipe"),
        (SMALL, 0.6, "training.batch_size", 16, "do not fit into 0.3 GB"),
        (replace(SMALL, train=300), 100, "training.batch_size", 16, "300 training images make 10 steps of 32"),
        (replace(SMALL, train=10), 100, "training.batch_size", 8, "steps of"),
        (SMALL, 100, "training.epochs", 14, "as the recipe"),
        (LARGE, 100, "training.epochs", 11, "1,000,000 in all"),  # 60,000 others / 0.67 = 89,552 an epoch
        (replace(LARGE, train=5_000_000), 100, "training.epochs", 3, "1,000,000 in all"),
    ],
)
def test_rules(params, facts, memory_gb, key, value, reason) -> None:
    plan = fitted_to_data(params, facts, memory_gb, little, NONE)
    (choice,) = (choice for choice in plan.choices if choice.key == key)
    assert choice.value == value
    assert reason in choice.reason
    section, name = key.split(".")
    assert plan.params.model_dump()[section][name] == value


def test_entries_of_members_follow(params) -> None:
    entries = [{}, {"size": 640, "epochs": 28, "batch_size": 64}]
    several = changed(params, training={"members": entries, "folds": 4, "sharpness": 1.85})
    plan = fitted_to_data(several, replace(SMALL, train=250), 100, little, NONE)
    assert plan.params.training.members == [{}, {"size": 512, "epochs": 28, "batch_size": 32}]
    assert plan.params.training.sharpness == 1.85  # the networks are those it was fitted for
    other = fitted_to_data(several, replace(SMALL, rarest=12), 100, little, NONE)
    assert (other.params.training.folds, other.params.training.sharpness) == (2, 1.0)
    long = fitted_to_data(several, LARGE, 1000, little, NONE)
    assert [entry.get("epochs") for entry in long.params.training.members] == [None, 22]  # 28 x 11 / 14


def test_folds_divide_the_members(params) -> None:
    three = changed(params, training={"members": [{}, {"seed": 2}, {"seed": 3}]})
    assert fitted_to_data(three, SMALL, 100, little, NONE).params.training.folds == 4
    six = changed(params, training={"members": [{"seed": n} for n in range(6)]})
    assert fitted_to_data(six, SMALL, 100, little, NONE).params.training.folds == 3


def test_what_the_study_sets_stays(params) -> None:
    own = frozenset({"images.size", "training.batch_size", "training.epochs", "training.folds"})
    plan = fitted_to_data(params, replace(LARGE, shorter=64), 100, little, own)
    assert plan.params == params
    assert plan.values == {}
    assert {choice.reason for choice in plan.choices} == {"set in the study"}


def test_a_size_that_a_network_does_not_take_is_not_planned(params) -> None:
    plan = fitted_to_data(params, LARGE, 100, lambda i, t: None if i.size == 224 else 0.1, NONE)
    assert plan.params.images.size == 128
    assert "not every network takes images of 224 pixels" in plan.choices[0].reason


def test_what_does_not_fit_is_refused(params) -> None:
    with pytest.raises(CxrflowError, match=r"about 50\.0 GB even with batches of \d+, and 5\.0 GB may be used"):
        fitted_to_data(params, SMALL, 10, lambda images, training: 50.0, NONE)


def test_hours_are_counted_by_hand(params) -> None:
    plain = changed(params, training={"positive_share": None, "epochs": 10})
    plan = fitted_to_data(plain, replace(SMALL, rarest=9), 100, little, NONE)
    assert training_hours(plan, SMALL, costs_of(plan, 3.6)) == Span(3.25, 6.5, 13.0)  # 10 x 650 x 3.6 s
    folded = fitted_to_data(plain, SMALL, 100, little, NONE)
    hours = training_hours(folded, SMALL, costs_of(folded, 3.6))
    assert hours.mid == pytest.approx(4 * 10 * 600 / 1000)  # four networks, three quarters of 800 images
    shared = changed(plain, training={"positive_share": 0.25})
    drawn = fitted_to_data(shared, replace(SMALL, rarest=9), 100, little, NONE)
    assert training_hours(drawn, SMALL, costs_of(drawn, 3.6)).mid == pytest.approx(10 * 450 / 0.75 / 1000)
    frozen = changed(plain, training={"freeze": "backbone", "start": "imagenet"})
    once = fitted_to_data(frozen, replace(SMALL, rarest=9), 100, little, NONE)
    forward = {kind(n): Cost(Span(9, 9, 9), Span(3.6, 3.6, 3.6)) for n in once.networks}
    assert training_hours(once, SMALL, forward).mid == pytest.approx(0.8)


def test_less_time_gives_up_folds_then_epochs_then_networks(params) -> None:
    several = changed(params, training={"members": [{}, {"seed": 9}], "epochs": 16, "sharpness": 1.5, "folds": 4})
    whole = fitted_to_data(several, SMALL, 100, little, NONE)
    costs = costs_of(whole, 1.0)
    hours = training_hours(whole, SMALL, costs).mid
    found = []
    for part in (1.0, 0.99, 0.4, 0.2, 0.1, 0.06, 0.01):
        plan = fitted_to_time(whole, SMALL, costs, hours * part, NONE)
        how = plan.params.training
        found.append((how.folds, len(how.members), how.epochs))
        assert Params.model_validate(plan.params.model_dump()) == plan.params
        if part < 1:
            assert any("all of it would take about" in choice.reason for choice in plan.choices)
        assert bool(plan.warning) == (training_hours(plan, SMALL, costs).mid > hours * part)
    assert found == [(4, 2, 16), (None, 2, 16), (None, 2, 8), (None, 1, 8), (None, 1, 4), (None, 1, 4), (None, 1, 4)]


entries = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(32, 700),
        "epochs": st.integers(2, 60),
        "batch_size": st.integers(4, 128),
        "seed": st.integers(0, 9),
    },
)


@settings(max_examples=60)
@given(st.data())
def test_a_plan_is_always_valid_and_within_the_memory(data) -> None:
    draw = data.draw
    recipe = load_params(DEFAULTS)
    members, shares = draw(st.lists(entries, max_size=6)), draw(st.sampled_from([None, 0.25, 0.05]))
    folds = draw(st.sampled_from([None, 4])) if len(members) <= 4 else None
    try:
        recipe = changed(
            recipe,
            images={"size": draw(st.integers(32, 600)), "clahe_tiles": draw(st.sampled_from([8, 16]))},
            training={
                "members": members,
                "folds": folds,
                "sharpness": draw(st.sampled_from([1.0, 1.85])) if members else 1.0,
                "epochs": draw(st.integers(2, 60)),
                "batch_size": draw(st.integers(8, 200)),
                "positive_share": shares,
            },
        )
    except ValueError:
        return  # no recipe
    counts = [draw(st.integers(2, 10**6)) for _ in range(6)]
    train, val, rarest = counts[0], counts[1], counts[2]
    facts = Facts(
        images=train + val,
        train=train,
        val=val,
        positive=min(counts[3], train - 1),
        train_groups=min(counts[4], train),
        rarest=rarest,
        rarest_val=min(rarest, counts[5]),
        enough=245,
        shorter=draw(st.floats(20, 4000)),
    )
    keys = ["images.size", "training.batch_size", "training.epochs", "training.folds", "training.members"]
    own = frozenset(draw(st.sets(st.sampled_from(keys))))
    memory_gb, hours = draw(st.floats(0.05, 100)), draw(st.floats(0.01, 1000))
    plan, refused = None, ""
    try:
        plan = fitted_to_data(recipe, facts, memory_gb, little, own)
    except CxrflowError as error:
        refused = str(error)
    if plan is None:
        assert "may be used, half of what is free" in refused
        return
    plan = fitted_to_time(plan, facts, costs_of(plan, 0.01), hours, own)
    assert max(little(network.images, network.training) for network in plan.networks) <= memory_gb / 2
    # What is written, above the recipe, gives the plan.
    assert Params.model_validate(merged(plan.values, recipe.model_dump())) == plan.params
    assert not own & {f"{section}.{key}" for section, keys in plan.values.items() for key in keys}
    assert all(choice.reason for choice in plan.choices)


def test_the_plan_file_gives_the_plan_and_is_never_replaced_once_edited(params, tmp_path) -> None:
    several = changed(params, training={"members": [{}, {"size": 224, "lungs": "none"}]})
    plan = fitted_to_data(several, SMALL, 100, little, NONE)
    path = plan_file(tmp_path / "params.yaml")
    for _ in range(2):  # its own, unedited file is replaced
        check_unedited(path)
        write_plan(path, plan, ["real"], ["Images: 2 minutes."])
    text = path.read_text()
    assert yaml.safe_load(text) == plan.values
    assert "overrides: [real, plan]" in text
    assert "  # as the recipe\n  size: 128\n" in text
    assert max(map(len, text.splitlines())) <= 120
    path.write_text(text.replace("size: 128", "size: 160"))
    with pytest.raises(CxrflowError, match=r"plan\.yaml: was edited.*rename it"):
        check_unedited(path)
    path.write_text("images: {size: 64}\n")
    with pytest.raises(CxrflowError, match="was edited"):
        check_unedited(path)


def test_how_to_use_it() -> None:
    assert how_to_use([]).endswith("overrides: [plan]")
    assert how_to_use(["real", "pneumonia"]).endswith("overrides: [real, pneumonia, plan]")


def test_memory_is_that_of_the_tensors_counted_by_hand() -> None:
    from torch import nn

    from cxrflow.models import MODELS
    from cxrflow.models.model import Model

    def build(channels: int, classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, classes))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "counted", Model(build, lambda network, size: network, 8))
        weights, activations = room.tensors("counted", 1, 8, 2) or (0, 0)
        assert room.tensors("counted", 1, 9, 2) is None
    assert weights == 4 * (4 * 9 + 4 + 4 * 64 * 2 + 2)
    # Kept for the gradient: the input, 64 numbers, and the output of ReLU, which the linear layer flattens, 256.
    assert activations == 4 * (64 + 256)
    room.tensors.cache_clear()


def test_a_recipe_is_the_study_without_its_plan(tmp_path) -> None:
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "plan.yaml").write_text("images: {size: 64}\n")
    (tmp_path / "params.yaml").write_text("overrides: [plan]\nimages: {channels: 3}\ntraining: {epochs: 9}\n")
    params, names, own = recipe(tmp_path / "params.yaml")
    assert (params.images.size, params.images.channels, params.training.epochs) == (128, 3, 9)
    assert (names, own) == ([], frozenset({"images.channels", "training.epochs"}))
