"""The question that a study asks: labels from findings, what is refused, and tasks in parameters."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from cxrflow.errors import CxrflowError
from cxrflow.findings import FINDINGS
from cxrflow.params import Params
from cxrflow.params_file import load_params, resolved_yaml
from cxrflow.task import NO_FINDING_GIVEN, Task

PROJECT = Path(__file__).parents[1]
SICK = Task(classes={"sick": ("pneumonia",), "well": ("no finding",)}, positive="sick")
KINDS = Task(
    classes={
        "covid": ("pneumonia/viral/covid-19",),
        "viral": ("pneumonia/viral",),
        "bacterial": ("pneumonia/bacterial",),
        "clear": ("no finding",),
    },
    positive="covid",
    names={"covid": "COVID-19"},
)
OPACITY = Task(classes={"opaque": ("lung opacity", "consolidation"), "rest": ("no finding", "mass")}, positive="opaque")


@pytest.mark.parametrize(
    ("task", "findings", "label"),
    [
        (SICK, ["pneumonia/viral/covid-19"], "sick"),
        (SICK, ["no finding"], "well"),
        (KINDS, ["pneumonia/viral/covid-19"], "covid"),  # the longest path
        (KINDS, ["pneumonia/viral/sars"], "viral"),
        (KINDS, ["pneumonia/viral"], "viral"),
        # what is special in one finding overrules what is general in another
        (KINDS, ["pneumonia/viral", "pneumonia/viral/covid-19"], "covid"),
        (KINDS, ["pneumonia/viral/sars", "pneumonia/viral/covid-19"], "covid"),
        (KINDS, ["pneumonia/bacterial/klebsiella", "pneumonia/viral/covid-19"], "covid"),  # three parts against two
        # a finding of no class changes nothing
        (KINDS, ["pneumonia/bacterial/klebsiella", "effusion"], "bacterial"),
        # two findings of one class
        (OPACITY, ["lung opacity", "consolidation"], "opaque"),
        (OPACITY, ["mass", "pneumonia"], "rest"),
    ],
)
def test_an_image_belongs_to_the_class_of_its_most_specific_finding(task, findings, label) -> None:
    assert task.label_of(findings) == (label, None)
    assert task.label_of(tuple(reversed(findings))) == (label, None)


@pytest.mark.parametrize(
    ("task", "findings", "reason"),
    [
        (SICK, [], NO_FINDING_GIVEN),
        (SICK, ["effusion"], "finding is not one of sick, well"),
        # unknown is not negative
        (SICK, ["not determined"], "finding is not one of sick, well"),
        (SICK, ["abnormal without lung opacity"], "finding is not one of sick, well"),
        # general is not special: a pneumonia may be of any kind
        (KINDS, ["pneumonia"], "finding is not one of covid, viral, bacterial, clear"),
        (KINDS, ["pneumonia/bacterial", "pneumonia/viral"], "findings of more than one class (viral, bacterial)"),
        (OPACITY, ["lung opacity", "mass"], "findings of more than one class (opaque, rest)"),
    ],
)
def test_an_image_of_no_class_or_of_two_has_no_label_and_a_reason(task, findings, reason) -> None:
    assert task.label_of(findings) == (None, reason)


def test_an_uncertain_finding_takes_a_class_that_it_would_change() -> None:
    assert KINDS.label_of(["pneumonia/viral"], ["effusion", "pneumonia"]) == ("viral", None)
    assert KINDS.label_of(["pneumonia/viral/covid-19"], ["pneumonia/viral"]) == ("covid", None)
    none = "may have a finding of another class (pneumonia/viral/covid-19)"
    assert KINDS.label_of(["pneumonia/viral"], ["pneumonia/viral/covid-19"]) == (None, none)
    assert OPACITY.label_of(["mass"], ["consolidation", "mass"])[0] is None


TWO = {"sick": ["pneumonia"], "well": ["no finding"]}
SEVERAL = {f"c{n}": [finding] for n, finding in enumerate(list(FINDINGS)[:9])}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"classes": TWO | {"well": ["no findings"]}},
            "well: no findings is not a known finding; did you mean no finding",
        ),
        ({"classes": TWO | {"well": ["pneumonia/viral/sarss"]}}, "did you mean pneumonia/viral/sars"),
        ({"classes": TWO | {"well": ["xyzzy"]}}, "xyzzy is not a known finding; `cxrflow findings` lists them"),
        ({"classes": TWO | {"ill": ["pneumonia"]}}, "pneumonia is in two classes, sick and ill; keep it in one"),
        ({"classes": {"sick": ["pneumonia"]}}, "a task has 2 to 8 classes, not 1"),
        ({"classes": SEVERAL, "positive": "c0"}, "a task has 2 to 8 classes, not 9"),
        ({"classes": TWO | {"empty": []}}, "empty has no findings; name at least one"),
        ({"classes": TWO | {"all": ["mass"]}}, "all cannot name a class"),
        ({"classes": TWO | {"source": ["mass"]}}, "source cannot name a class"),
        ({"classes": TWO | {"value": ["mass"]}}, "value cannot name a class"),  # a key of every figure in JSON
        ({"classes": TWO | {"COVID": ["mass"]}}, "COVID cannot name a class: use lower-case letters"),
        ({"classes": TWO | {"a b": ["mass"]}}, "a b cannot name a class"),
        ({"classes": TWO | {"": ["mass"]}}, "cannot name a class"),
        ({"classes": TWO, "positive": "ill"}, "positive: ill is not one of the classes sick, well"),
        ({"classes": TWO, "names": {"ill": "Ill"}}, "names: ill is not one of the classes sick, well"),
        ({"classes": TWO, "labels": {}}, "labels"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(values, says) -> None:
    with pytest.raises(ValidationError) as refused:
        Task.model_validate({"positive": "sick"} | values)
    assert says in str(refused.value)


def test_what_is_derived_follows_the_order_of_the_classes() -> None:
    assert KINDS.order == ("covid", "viral", "bacterial", "clear")
    assert KINDS.pairs[:4] == (("covid", "viral"), ("covid", "bacterial"), ("covid", "clear"), ("viral", "bacterial"))
    assert len(KINDS.pairs) == 6
    assert SICK.pairs == (("sick", "well"),)
    assert KINDS.names == {"covid": "COVID-19", "viral": "viral", "bacterial": "bacterial", "clear": "clear"}
    assert (KINDS.positive_column, KINDS.positive_name) == (0, "COVID-19")
    assert KINDS.numbers(["clear", "covid", "clear"]).tolist() == [3, 0, 3]
    with pytest.raises(KeyError):
        KINDS.numbers(["normal"])


def test_eight_classes_have_eight_colours() -> None:
    eight = Task(classes=dict(list(SEVERAL.items())[:8]), positive="c0")
    assert len(set(eight.colours.values())) == 8
    assert tuple(eight.colours) == eight.order


def test_a_class_is_found_by_its_name_and_by_what_people_read() -> None:
    assert KINDS.finding_named(" Covid-19 ") == KINDS.finding_named("covid") == "pneumonia/viral/covid-19"
    assert OPACITY.finding_named("opaque") == "lung opacity"
    assert KINDS.finding_named("normal") is None


def test_two_tasks_ask_the_same_where_classes_findings_and_positive_are_the_same() -> None:
    turned = {"well": ("no finding", "mass"), "sick": ("pneumonia", "effusion")}
    task = Task(classes={"sick": ("effusion", "pneumonia"), "well": ("mass", "no finding")}, positive="sick")
    assert task.same_question(Task(classes=turned, positive="sick", names={"sick": "Ill"}))
    assert not task.same_question(Task(classes=turned, positive="well"))
    assert not task.same_question(SICK)
    assert not SICK.same_question(Task(classes={"ill": ("pneumonia",), "well": ("no finding",)}, positive="ill"))


@pytest.fixture
def params(tmp_path) -> Path:
    (tmp_path / "params").mkdir()
    (tmp_path / "params.yaml").write_text("{}\n")
    return tmp_path / "params.yaml"


def with_overrides(path: Path, named: object, **files: dict) -> Params:
    """The parameters with these files of overrides laid over."""
    for name, values in files.items():
        (path.parent / "params" / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"overrides": named}, sort_keys=False))
    return load_params(path)


def test_the_default_task_is_the_papers(demo_params) -> None:
    task = demo_params.task
    assert task.classes == {
        "covid": ("pneumonia/viral/covid-19",),
        "normal": ("no finding",),
        "pneumonia": ("pneumonia",),
    }
    assert (task.positive, task.names["covid"]) == ("covid", "COVID-19")


@pytest.mark.parametrize("task", [SICK, KINDS, OPACITY])
def test_a_task_is_read_as_it_is_written(params, tmp_path, task) -> None:
    loaded = with_overrides(params, "mine", mine={"task": task.model_dump(mode="json")})
    assert loaded.task == task
    assert loaded.task.order == task.order
    (tmp_path / "resolved.yaml").write_text(resolved_yaml(loaded))
    assert load_params(tmp_path / "resolved.yaml") == loaded


def test_another_task_replaces_the_whole_one_and_its_weights(params) -> None:
    given = {"task": {"classes": TWO, "positive": "sick"}}
    first = {"training": {"loss_weights": {"covid": 5.0}}}
    loaded = with_overrides(params, ["first", "mine"], first=first, mine=given)
    assert loaded.task.order == ("sick", "well")
    assert loaded.task.names == {"sick": "sick", "well": "well"}  # nothing is left of COVID-19
    assert loaded.training.loss_weights == {}
    weighted = given | {"training": {"loss_weights": {"sick": 2.0}}}
    assert with_overrides(params, "mine", mine=weighted).training.loss_weights == {"sick": 2.0}
    wrong = given | {"training": {"loss_weights": {"covid": 2.0}}}
    with pytest.raises(CxrflowError, match=r"loss_weights: covid is not one of the task's classes sick, well"):
        with_overrides(params, "mine", mine=wrong)


def test_overrides_are_laid_over_in_their_order(params) -> None:
    one, two = {"images": {"size": 64, "crop_top": 0.1}}, {"images": {"size": 96}}
    loaded = with_overrides(params, ["one", "two"], one=one, two=two)
    assert (loaded.images.size, loaded.images.crop_top) == (96, 0.1)
    assert with_overrides(params, ["two", "one"]).images.size == 64
    assert with_overrides(params, []).images.size == with_overrides(params, None).images.size
    with pytest.raises(CxrflowError, match=r"overrides: absent is neither .*\(children, "):
        with_overrides(params, ["one", "absent"])
    with pytest.raises(CxrflowError, match=r"three\.yaml: overrides, sources can be set in .*params\.yaml only"):
        with_overrides(params, ["one", "three"], three={"overrides": "one", "sources": {"root": "x"}})


@pytest.mark.parametrize("shown", ["", "a[b]", "$x$", "two\nlines", "x" * 41])
def test_a_display_name_cannot_break_tables_and_plots(shown: str) -> None:
    with pytest.raises(ValidationError, match="use 1 to 40 characters"):
        Task(classes={"sick": ("pneumonia",), "well": ("no finding",)}, positive="sick", names={"sick": shown})


def test_two_classes_cannot_have_one_display_name() -> None:
    with pytest.raises(ValidationError, match="two classes have the same name"):
        Task(classes={"sick": ("pneumonia",), "well": ("no finding",)}, positive="sick", names={"sick": "Well"})
