"""Parts of a study's own files and of other packages: found, refused in one sentence, known again by their code."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from cxrflow import plugins
from cxrflow.audit import registry
from cxrflow.bundle_files import read_description
from cxrflow.bundle_networks import plugins_of, read_networks
from cxrflow.cli import app
from cxrflow.engines import LocalEngine
from cxrflow.errors import CxrflowError
from cxrflow.flow.code import CODE, code_yaml
from cxrflow.images.prepare import steps_digest
from cxrflow.images.registry import prepare_image, steps_in_force
from cxrflow.models import find_model, plugin_of
from cxrflow.models.measure import check_size
from cxrflow.outputs.registry import find_output
from cxrflow.params import Images, Params
from cxrflow.params_file import load_params
from cxrflow.parts import all_parts, check_parts, plugin_digests
from cxrflow.plugins import in_files, in_packages
from cxrflow.predictor import Predictor
from cxrflow.sources import SOURCES, extra_collections, find_collections
from cxrflow.task import Task

#: What is looked for once in a process.
CACHES = (in_packages.offered, in_packages.part_in_package, in_packages.package_digest)
INVERTED = "def inverted(image):\n    return 255 - image\n"
NETWORK = """
from torch import nn
from cxrflow.models.model import Model

def build(channels, classes):
    first = nn.Conv2d(channels, 4, 3, 2)
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, classes))

tiny = Model(build, lambda network, size: network[0], 32)
"""
SOURCE = """
from cxrflow.sources.collection import Collection

COLLECTION = Collection("{name}", ("{folder}",), lambda *given: iter(()), "anything")
OWN = Collection("{name}", (), lambda *given: iter(()))
"""
AUDIT = """
from cxrflow.audit.verdicts import AuditTest, Limit

TEST = AuditTest("{name}", "Is it so?", Limit(0.5), lambda task: 1, "picture", lambda context: None)
"""
OUTPUTS = """
def lines(bundle, results):
    return (f"{result.path}|{result.prediction or result.left_out}\\n".encode() for result in results)

def bad(bundle, results):
    return [1 / 0]
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, whose files this process has not asked for before."""
    monkeypatch.setattr(in_files, "_named", {})
    monkeypatch.setattr(in_files, "_of_study", set())
    monkeypatch.setattr(plugins, "_told", set())
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Installs a package of one module, with entry points, as pip would; its folder."""

    def install(name: str, content: str, **points: str) -> Path:
        folder, module = tmp_path / f"site-{name}", name.replace("-", "_")
        (folder / f"{module}-1.2.dist-info").mkdir(parents=True)
        (folder / f"{module}-1.2.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"
        )
        listed = "".join(f"[cxrflow.{kind}]\n{point}\n" for kind, point in points.items())
        (folder / f"{module}-1.2.dist-info" / "entry_points.txt").write_text(listed.replace("MODULE", module))
        (folder / f"{module}.py").write_text(content)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, module, raising=False)  # of another test
        for known in CACHES:
            known.cache_clear()
        return folder

    yield install
    for known in CACHES:
        known.cache_clear()


@pytest.fixture
def images(demo_params: Params) -> Images:
    return demo_params.images.model_copy(update={"size": 32, "extra": ("steps.py:inverted",)})


def with_extra(params: Params, **extra: tuple[str, ...]) -> Params:
    update = {key: getattr(params, key).model_copy(update={"extra": names}) for key, names in extra.items()}
    return params.model_copy(update=update)


# Files of a study


def test_an_image_step_of_a_file_changes_the_square_image_here_and_in_worker_processes(
    study: Path, images: Images, picture: Callable[[int], np.ndarray]
) -> None:
    (study / "steps.py").write_text(INVERTED)
    plain = prepare_image(picture(1), images.model_copy(update={"extra": ()})).image
    assert (prepare_image(picture(1), images).image == 255 - plain).all()
    twice = images.model_copy(update={"extra": ("steps.py:inverted", "steps.py:inverted")})
    assert (prepare_image(picture(1), twice).image == plain).all()
    steps_digest(images)  # as the stage does before any work: what it has read goes along
    (study / "steps.py").unlink()
    (there,) = LocalEngine().map(lambda grey: prepare_image(grey, images).image, [picture(1)])
    assert (there == 255 - plain).all()


def test_what_is_outside_of_the_lungs_stays_black(
    study: Path, images: Images, picture: Callable[[int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    (study / "steps.py").write_text(INVERTED)
    lungs = np.zeros((32, 32), np.bool_)
    lungs[8:24, 6:14] = True
    monkeypatch.setattr("cxrflow.lungs.opencv.lung_mask", lambda image: lungs)
    alone = images.model_copy(update={"lungs": "opencv", "lungs_use": "mask"})
    assert [step.name for step in steps_in_force(alone)][-3:] == ["lungs found", "steps.py:inverted", "lungs alone"]
    prepared = prepare_image(picture(1), alone)
    assert (prepared.lungs == lungs).all()
    assert (prepared.image[~lungs] == 0).all()
    assert (prepared.image[lungs] == prepare_image(picture(1), images).image[lungs]).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("def inverted(image): return 255 - image.astype(int)", "step steps.py:inverted failed .*int64"),
        ("def inverted(image): return 1 / 0", "steps.py:inverted failed .ZeroDivisionError"),
        ("def other(image): return image", "steps.py defines no inverted"),
        ("inverted = 3", "type int, not a function of one image"),
        ("def inverted(", "steps.py cannot be run .SyntaxError"),
        ("import helpers", "No module named 'helpers'.*stands alone"),
        ("raise SystemExit(3)", "cannot be run .SystemExit"),
        (None, "steps.py cannot be read"),
        ("#" * (2**20 + 1), "larger than 1 MiB"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(
    study: Path, images: Images, picture: Callable[[int], np.ndarray], content: str | None, said: str
) -> None:
    if content is not None:
        (study / "steps.py").write_text(content)
    with pytest.raises(CxrflowError, match=said) as stopped:
        prepare_image(picture(1), images)
    assert "\n" not in str(stopped.value)


def test_what_a_part_raises_is_one_sentence_that_names_it(study: Path) -> None:
    (study / "net.py").write_text(NETWORK.replace("first = ", "first = 1 / 0 + "))
    (study / "mine.py").write_text(AUDIT.format(name="mine").replace(": None", ": context.nothing"))
    with pytest.raises(CxrflowError, match=r"the network net\.py:tiny failed .ZeroDivisionError: division by zero"):
        check_size("net.py:tiny", 1, 32, 3)
    with pytest.raises(CxrflowError, match=r"the audit test mine\.py:TEST failed .AttributeError"):
        registry.tests_of(["mine.py:TEST"])["mine"].run(None)


def test_a_file_outside_of_the_working_folder_is_refused(study: Path) -> None:
    (study.parent / "steps.py").write_text(INVERTED)
    (study / "linked.py").symlink_to(study.parent / "steps.py")
    for file in ("../steps.py", "linked.py"):
        with pytest.raises(CxrflowError, match="outside of the working folder"):
            plugins.find("image_steps", f"{file}:inverted", None, "images.extra")
    with pytest.raises(CxrflowError, match="not of the form"):
        plugins.find("image_steps", f"{study.parent}/steps.py:inverted", None, "images.extra")


def test_what_was_read_is_run_though_the_file_changes(study: Path, images: Images) -> None:
    (study / "steps.py").write_text(INVERTED)
    black = np.zeros((32, 32), np.uint8)
    before, inverted = steps_digest(images), prepare_image(black, images).image
    (study / "steps.py").write_text("def inverted(image):\n    return image\n")
    assert steps_digest(images) == before
    assert (prepare_image(black, images).image == inverted).all()
    assert (inverted == 255 - prepare_image(black, images.model_copy(update={"extra": ()})).image).all()


@pytest.mark.parametrize("name", ["../a b.py:f", "a.py:f()", "a.py:", "a b", "1x", ""])
def test_a_name_that_is_none_is_refused_with_its_key(tmp_path: Path, name: str) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"images": {"extra": [name]}}))
    with pytest.raises(CxrflowError, match=r"images\.extra"):
        load_params(tmp_path / "params.yaml")


# Packages


def test_parts_of_a_package_are_found_by_name_and_named_with_their_origin(
    study: Path, install: Callable[..., Path], demo_params: Params
) -> None:
    content = INVERTED + NETWORK + SOURCE.format(name="ward", folder="ward-2026") + AUDIT.format(name="mine")
    install(
        "my-parts", content, sources="ward = MODULE:COLLECTION", models="mine_tiny = MODULE:tiny",
        image_steps="negative = MODULE:inverted", audit_tests="mine = MODULE:TEST", outputs="list = MODULE:inverted",
    )  # fmt: skip
    assert list(find_model("mine_tiny").architecture(1, 3).children())
    (ward,) = extra_collections(["ward"])
    (study / "root" / "ward-2026").mkdir(parents=True)
    assert find_collections(study / "root", extra=[ward])[1] == [(ward, "ward-2026")]
    assert list(registry.tests_of(["mine"])) == [*registry.TESTS, "mine"]
    assert find_output("list")
    theirs = [part for part in all_parts(None) if part.origin == "my-parts 1.2"]
    assert [(part.name, part.problem) for part in theirs] == [
        ("ward", ""), ("mine_tiny", ""), ("negative", ""), ("mine", ""), ("list", ""),
    ]  # fmt: skip
    check_parts(with_extra(demo_params, sources=("ward",), images=("negative",), audit=("mine",)))


def test_a_broken_package_is_one_sentence_and_breaks_nothing_else(
    study: Path, install: Callable[..., Path], demo_params: Params
) -> None:
    install("bad-parts", "import absent_library", models="bad = MODULE:tiny", sources="bad-ward = MODULE:X")
    assert find_model("crnn")
    assert plugin_of("crnn") is None
    check_parts(demo_params)
    with pytest.raises(
        CxrflowError, match=r"entry point bad .cxrflow.models. of bad-parts cannot be loaded .*absent_lib"
    ):
        find_model("bad")
    with pytest.raises(CxrflowError, match=r"crnm; .*did you mean crnn"):
        find_model("crnm")
    shown = CliRunner().invoke(app, ["list"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "bad-parts 1.2, refused" in shown.stdout
    assert "Refused: training.model: the entry point bad" in shown.stdout
    listed = json.loads(CliRunner().invoke(app, ["list", "--json"], catch_exceptions=False).stdout)
    assert {each["name"] for each in listed if each["problem"]} == {"bad", "bad-ward"}


def test_a_name_or_folder_of_another_is_refused(study: Path, install: Callable[..., Path]) -> None:
    install("one", NETWORK, models="net = MODULE:tiny\ncrnn = MODULE:tiny")
    install("two", NETWORK + AUDIT.format(name="gap"), models="net = MODULE:tiny", audit_tests="mine = MODULE:TEST")
    install("three", SOURCE.format(name="nih", folder="x"), sources="a = MODULE:COLLECTION\nown = MODULE:OWN")
    install("four", SOURCE.format(name="b", folder=SOURCES["nih"].folders[0]), sources="b = MODULE:COLLECTION")
    with pytest.raises(CxrflowError, match="one and two both have a network called net; uninstall one"):
        find_model("net")
    assert find_model("crnn").default_size == 224  # cxrflow's own
    problems = {part.name: part.problem for part in all_parts(None) if part.problem}
    assert "rename the other" in problems["crnn"]
    with pytest.raises(CxrflowError, match="both called gap"):
        registry.tests_of(["mine"])
    with pytest.raises(CxrflowError, match="both called nih"):
        extra_collections(["a"])
    with pytest.raises(CxrflowError, match="names no folder"):
        extra_collections(["own"])
    with pytest.raises(CxrflowError, match=f"both called {SOURCES['nih'].folders[0]}"):
        extra_collections(["b"])
    with pytest.raises(CxrflowError, match=r"csv is cxrflow's own; use --out"):
        find_output("csv")
    with pytest.raises(CxrflowError, match=r"no installed package has an? source called nowhere"):
        extra_collections(["nowhere"])


# Digests


def test_the_code_of_others_counts_in_the_stages_that_use_it(
    study: Path, install: Callable[..., Path], demo_params: Params
) -> None:
    site = install(
        "my-parts", NETWORK + AUDIT.format(name="mine"), models="net = MODULE:tiny", audit_tests="mine = MODULE:TEST"
    )
    (study / "steps.py").write_text(INVERTED)
    assert set(plugin_digests(demo_params).values()) == {""}
    assert code_yaml(plugin_digests(demo_params)) == code_yaml()
    params = with_extra(demo_params, images=("steps.py:inverted",), audit=("mine",))
    params = params.model_copy(update={"training": params.training.model_copy(update={"model": "net"})})
    before = plugin_digests(params)
    assert [stage for stage, digest in before.items() if not digest] == ["metadata", "report"]
    assert set(before) | {"demo"} == set(CODE)
    assert before["training"] == before["evaluation"] != before["audit"]
    plain, used = (yaml.safe_load(text) for text in (code_yaml(), code_yaml(before)))
    assert [stage for stage in CODE if plain[stage] != used[stage]] == [stage for stage in before if before[stage]]
    for known in CACHES:  # as in another process
        known.cache_clear()
    (site / "my_parts.py").write_text(NETWORK + "# changed\n" + AUDIT.format(name="mine"))
    after = plugin_digests(params)
    assert [stage for stage in before if before[stage] != after[stage]] == [
        "training", "evaluation", "explanation", "audit",
    ]  # fmt: skip


# Bundles


@pytest.fixture
def bundle(
    study: Path, bundle_of: Callable[..., Path], task: Task, images: Images, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A bundle with a network and an image step of the study's files, which may be run."""
    monkeypatch.setenv("CXRFLOW_CODE", os.pathsep.join(("steps.py", "net.py")))
    (study / "steps.py").write_text(INVERTED)
    (study / "net.py").write_text(NETWORK)
    sha = {name: hashlib.sha256((study / name).read_bytes()).hexdigest() for name in ("steps.py", "net.py")}
    parts = (
        plugins.Plugin(kind="models", name="net.py:tiny", sha256=sha["net.py"]),
        plugins.Plugin(kind="image_steps", name="steps.py:inverted", sha256=sha["steps.py"]),
    )
    folder = bundle_of(task, "net.py:tiny", images=images, plugins=parts)
    assert plugins_of(read_description(folder).networks) == parts
    return folder


def test_a_bundle_says_which_code_it_was_trained_with(
    study: Path, bundle: Path, capsys: pytest.CaptureFixture[str], picture: Callable[[int], np.ndarray]
) -> None:
    result = next(iter(Predictor(bundle).results([picture(1)])))
    assert sum(result.scores.values()) == pytest.approx(1)
    assert capsys.readouterr().out.count("in this folder is run") == 2
    Predictor(bundle)
    assert capsys.readouterr().out == ""  # said once


def test_a_bundle_elsewhere_says_which_file_has_to_be_there(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sha = hashlib.sha256(INVERTED.encode()).hexdigest()
    with pytest.raises(
        CxrflowError, match=rf"image step steps\.py:inverted, whose file has the SHA-256 {sha}; put that file"
    ):
        Predictor(bundle)
    ran = tmp_path / "ran"
    (tmp_path / "elsewhere" / "steps.py").write_text(f"open({str(ran)!r}, 'w')\n{INVERTED}")
    with pytest.raises(CxrflowError, match=r"the steps\.py here has"):
        Predictor(bundle)
    assert not ran.exists()  # it was not run
    assert (tmp_path / "elsewhere" / "steps.py").exists()


def test_a_file_that_nobody_but_the_bundle_names_is_not_run(
    bundle: Path, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As beside a bundle that a stranger has packed with it."""
    monkeypatch.setenv("CXRFLOW_CODE", "net.py")
    with pytest.raises(
        CxrflowError, match=r"steps\.py in the working folder .* set .* CXRFLOW_CODE=steps\.py, or name"
    ):
        Predictor(bundle)
    (study / "params.yaml").write_text("images: {extra: ['steps.py:inverted']}\n")
    load_params(study / "params.yaml")
    Predictor(bundle)


def test_code_that_lies_in_a_bundle_is_never_run(bundle: Path, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("steps.py", "net.py"):
        (study / name).rename(bundle / name)
    monkeypatch.chdir(bundle)
    with pytest.raises(CxrflowError, match=r"steps\.py lies in the bundle's own folder"):
        Predictor(bundle)


def test_a_bundle_that_hides_its_code_is_damaged(bundle: Path) -> None:
    values = json.loads((bundle / "bundle.json").read_text())
    net, step = values["plugins"]
    for kept, said in [
        ([net], r"plugins must describe steps\.py:inverted"),
        ([step], r"plugins must describe net\.py:tiny"),
        ([net, step | {"kind": "models"}], r"plugins must describe steps\.py:inverted"),
        ([net, step | {"distribution": "numpy", "version": "1"}], "of a package or of a file"),
    ]:
        (bundle / "bundle.json").write_text(json.dumps(values | {"plugins": kept}))
        with pytest.raises(CxrflowError, match=said):
            read_description(bundle)


def test_a_bundle_of_a_package_says_what_to_install(
    study: Path, install: Callable[..., Path], bundle_of: Callable[..., Path], task: Task, demo_params: Params
) -> None:
    site = install("my-parts", NETWORK, models="net = MODULE:tiny")
    part = plugin_of("net")
    images = demo_params.images.model_copy(update={"size": 32})
    folder = bundle_of(task, "net", images=images, plugins=(part,))
    described = read_description(folder)
    assert len(read_networks(folder, described)) == 1
    with pytest.raises(CxrflowError, match="plugins does not describe net"):
        read_networks(folder, described.model_copy(update={"plugins": ()}))
    for known in CACHES:  # as in another process
        known.cache_clear()
    (site / "my_parts.py").write_text(NETWORK + "# another version\n")
    with pytest.raises(
        CxrflowError, match=r"my-parts 1\.2 is installed, whose code is another; install .* my-parts==1\.2"
    ):
        read_networks(folder, described)
    in_packages.offered.cache_clear()
    (site / "my_parts-1.2.dist-info" / "entry_points.txt").unlink()
    with pytest.raises(CxrflowError, match=r"network net of my-parts 1\.2; install that version with"):
        read_networks(folder, described)


def test_a_bundle_without_parts_of_others_is_written_as_before(bundle_of: Callable[..., Path], task: Task) -> None:
    values: dict[str, Any] = json.loads((bundle_of(task) / "bundle.json").read_text())
    assert "plugins" not in values
    assert "extra" not in values["networks"][0]["images"]


# Outputs


def test_predict_writes_the_output_of_a_file(
    study: Path, bundle_of: Callable[..., Path], task: Task, demo_params: Params, picture: Callable[[int], np.ndarray]
) -> None:
    (study / "lines.py").write_text(OUTPUTS)
    folder = bundle_of(task, images=demo_params.images.model_copy(update={"size": 64}))
    cv2.imwrite(str(study / "a.png"), picture(1))
    (study / "b.png").write_text("no picture")
    command = ["predict", "a.png", "b.png", "--bundle", str(folder), "--output"]
    done = CliRunner().invoke(app, [*command, "lines.py:lines=out.txt"], catch_exceptions=False)
    assert done.exit_code == 3
    first, second = (study / "out.txt").read_text().splitlines()
    assert first.removeprefix("|") in task.order  # without --paths no output is told the names of files
    assert second == "|file is a text or a table, not an image"
    for output, said in [
        ("lines.py:bad=x", r"the output lines\.py:bad failed .ZeroDivisionError"),
        ("nothing=x", "has an? output called nothing"),
        ("lines.py:lines", "name an output and a file"),
        ("lines.py:lines=predictions.csv", "is named for the CSV and for lines"),
    ]:
        with pytest.raises(CxrflowError, match=said):
            CliRunner().invoke(app, [*command, output], catch_exceptions=False)
    assert not (study / "x").exists()
