"""Stages run without DVC: in order, when something changed, and with the digests that DVC computes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cxrflow.errors import CxrflowError
from cxrflow.flow import run
from cxrflow.flow.run import run_study
from cxrflow.flow.stages import read_stages

DVC = Path(sys.executable).with_name("dvc")
WRITE = f"{sys.executable} write.py"
STAGES = {
    "last": {"cmd": f"{WRITE} out/c.txt middle", "deps": ["middle"], "params": ["b"], "outs": ["out/c.txt"]},
    "first": {"cmd": f"{WRITE} out/a.txt in", "deps": ["${place}"], "params": [{"params.yaml": ["a.x"]}],
              "outs": [{"out/a.txt": {"persist": True}}]},
    "middle": {"cmd": f"{WRITE} middle/b.txt out/a.txt", "deps": ["out/a.txt"], "outs": ["middle"]},
}  # fmt: skip
#: Appends to a log, and writes what it found of the output and what the input holds.
SCRIPT = """
import sys
from pathlib import Path
out, source = Path(sys.argv[1]), Path(sys.argv[2])
print(out, file=open("log.txt", "a"))
before = out.read_text() if out.exists() else "new"
out.parent.mkdir(exist_ok=True)
held = sorted(source.rglob("*")) if source.is_dir() else [source]
out.write_text(before[:3] + "".join(path.read_text() for path in held if path.is_file()))
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "write.py").write_text(SCRIPT)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "x.txt").write_text("one\r\n")
    (tmp_path / "in" / "ü.txt").write_text("two")
    (tmp_path / "params.yaml").write_text("place: in\na: {x: 1, y: 1}\nb: 1\n")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    return tmp_path


def ran(folder: Path) -> list[str]:
    """What ran since the last call, by the files written."""
    log = folder / "log.txt"
    names = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return names


def test_stages_run_in_the_order_of_what_they_need_and_once(study: Path) -> None:
    run_study(study)
    assert ran(study) == ["out/a.txt", "middle/b.txt", "out/c.txt"]
    run_study(study)
    assert ran(study) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda study: (study / "in" / "new.txt").write_text("three"), ["out/a.txt", "middle/b.txt", "out/c.txt"]),
        (lambda study: (study / "params.yaml").write_text("place: in\na: {x: 1, y: 2}\nb: 1\n"), []),
        (lambda study: (study / "params.yaml").write_text("place: in\na: {x: 1, y: 1}\nb: 2\n"), ["out/c.txt"]),
        (lambda study: (study / "out" / "c.txt").unlink(), ["out/c.txt"]),
        (lambda study: (study / "middle" / "b.txt").write_text("edited"), ["middle/b.txt"]),
        (lambda study: (study / "in" / "ü.txt").touch(), []),
    ],
)  # fmt: skip
def test_what_changed_runs_again_and_nothing_else(study: Path, change, expected: list[str]) -> None:
    run_study(study)
    ran(study)
    change(study)
    run_study(study)
    assert ran(study) == expected


def test_an_output_is_removed_first_unless_it_persists(study: Path) -> None:
    run_study(study)
    (study / "in" / "ü.txt").write_text("four")
    run_study(study)
    assert (study / "out" / "a.txt").read_text() == "newone\r\nfour".replace("\r\n", "\n")
    assert (study / "middle" / "b.txt").read_text().startswith("newnew")


def test_dvc_agrees_in_both_directions(study: Path) -> None:
    subprocess.run([DVC, "init", "--no-scm", "--quiet"], cwd=study, check=True, capture_output=True)
    run_study(study)
    ours = yaml.safe_load((study / "dvc.lock").read_text())
    subprocess.run([DVC, "commit", "--force", "--quiet"], cwd=study, check=True, capture_output=True)  # into its cache
    told = subprocess.run([DVC, "repro"], cwd=study, check=True, capture_output=True, text=True).stdout
    assert "Running" not in told
    assert ours == yaml.safe_load((study / "dvc.lock").read_text())
    (study / "dvc.lock").unlink()
    subprocess.run([DVC, "repro", "--quiet", "--force"], cwd=study, check=True, capture_output=True)
    ran(study)
    theirs = yaml.safe_load((study / "dvc.lock").read_text())
    assert ours == theirs
    run_study(study)
    assert ran(study) == []


def test_what_dvcignore_names_is_no_part_of_a_folder_and_dvc_agrees(study: Path) -> None:
    (study / ".dvcignore").write_text("*.log\n")
    (study / "in" / "a.log").write_text("1")
    (study / ".dvc" / "tmp").mkdir(parents=True)
    (study / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    run_study(study, ["first"])
    ran(study)
    (study / "in" / "a.log").write_text("2")
    run_study(study, ["first"])
    assert ran(study) == []
    told = subprocess.run([DVC, "status", "first"], cwd=study, check=True, capture_output=True, text=True).stdout
    assert "changed outs" in told  # which are not in its cache
    assert "changed deps" not in told


def test_a_dry_run_says_the_first_and_runs_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_study(study, dry=True)
    assert "[1/3] first: would run (it has not run to its end)" in capsys.readouterr().out
    assert ran(study) == []
    assert not (study / "dvc.lock").exists()


def test_a_named_stage_runs_with_what_it_needs_alone(study: Path) -> None:
    run_study(study, ["middle"])
    assert ran(study) == ["out/a.txt", "middle/b.txt"]
    with pytest.raises(CxrflowError, match=r"midle: no stage .* last, first, middle; did you mean middle"):
        run_study(study, ["midle"])


def test_a_stage_that_fails_is_named_and_not_current_afterwards(study: Path) -> None:
    run_study(study)
    ran(study)
    script = (study / "write.py").read_text()
    (study / "write.py").write_text("raise SystemExit(4)")
    (study / "params.yaml").write_text("place: in\na: {x: 1}\nb: 3\n")
    with pytest.raises(CxrflowError, match=r"last: `.*` ended with status 4; see above"):
        run_study(study)
    (study / "params.yaml").write_text("place: in\na: {x: 1}\nb: 1\n")
    (study / "write.py").write_text(script)
    run_study(study)
    assert ran(study) == ["out/c.txt"]


def test_a_stage_that_is_interrupted_is_ended_and_runs_again(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study(study)
    ran(study)
    script = (study / "write.py").read_text()
    (study / "write.py").write_text(
        "import signal, sys, time\n"
        "def end(*_):\n    open('ended', 'w')\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\nopen('begun', 'w')\ntime.sleep(60)\n"
    )
    (study / "params.yaml").write_text("place: in\na: {x: 1}\nb: 3\n")
    monkeypatch.setattr(run, "_PATIENCE", (0.2, 5.0))

    def interrupt(*_: object) -> None:
        if (study / "begun").exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_study(study)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (study / "ended").exists()
    assert set(yaml.safe_load((study / "dvc.lock").read_text())["stages"]) == {"first", "middle"}
    (study / "params.yaml").write_text("place: in\na: {x: 1}\nb: 1\n")
    (study / "write.py").write_text(script)
    run_study(study)
    assert ran(study) == ["out/c.txt"]


def test_what_changes_while_a_stage_runs_is_seen_by_the_next_run(study: Path) -> None:
    (study / "write.py").write_text(SCRIPT + "open('in/later.txt', 'w').write('later')\n")
    run_study(study, ["first"])
    ran(study)
    run_study(study, ["first"])
    assert ran(study) == ["out/a.txt"]


def test_a_value_that_two_keys_share_can_be_read_again(study: Path) -> None:
    stages = STAGES | {"first": STAGES["first"] | {"params": ["a", "a.list"]}}
    (study / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (study / "params.yaml").write_text("place: in\na: {x: 1, list: [1, 2]}\nb: 1\n")
    run_study(study, ["first"])
    ran(study)
    run_study(study, ["first"])
    assert ran(study) == []


@pytest.mark.parametrize("held", ["stages: [1]", "stages: {first: 1}", "stages: {first: {deps: {a: b}}}"])
def test_a_damaged_lock_is_one_sentence(study: Path, held: str) -> None:
    (study / "dvc.lock").write_text(held)
    with pytest.raises(CxrflowError, match=r"dvc\.lock: is damaged"):
        run_study(study)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first": {"deps": ["absent"]}}, "first: absent is absent, which it depends on"),
        ({"first": {"foreach": [1, 2]}}, r"dvc\.yaml: stage first: foreach is nothing that `cxrflow run` can follow"),
        ({"first": {"cmd": None}}, "first: no cmd is nothing"),
        ({"first": {"deps": ["${a.z}"]}}, r"\$\{a\.z\} is not in .*params\.yaml"),
        ({"first": {"deps": ["out/c.txt"]}}, "need one another"),
        ({"first": {"frozen": True}}, "first: frozen is nothing"),
        ({"first": {"wdir": "in"}}, "first: wdir is nothing"),
        ({"first": {"deps": "in"}}, "first: deps that is no list is nothing"),
        ({"first": {"cmd": "cxrflow demo && cxrflow metadata"}}, "first: `cxrflow demo && .*` is not one program"),
        ({"first": {"cmd": "cxrflow demo 'x"}}, "first: cmd has a quotation mark that is not closed"),
        ({"first": {"params": ["a.w"]}}, r"first: .*params\.yaml has no a\.w, which it depends on"),
        ({"first": {"params": [{"none.yaml": ["a"]}]}}, r"first: none\.yaml is absent"),
        ({"first": {"outs": ["../a"]}}, r"first: the output \.\./a is not below the study"),
        ({"first": {"outs": ["."]}}, r"first: the output \. is not below the study"),
        ({"first": {"outs": ["none"]}}, "first: did not write none, its output"),
        ({"first": {"cmd": "no-such-program x"}}, "first: `no-such-program x`: No such file"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(study: Path, changes: dict[str, dict], said: str) -> None:
    stages = {name: stage | changes.get(name, {}) for name, stage in STAGES.items()}
    (study / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    with pytest.raises(CxrflowError, match=said) as stopped:
        run_study(study)
    assert "\n" not in str(stopped.value)


def test_values_of_parameters_stand_in_for_their_names(study: Path) -> None:
    assert {stage.name: stage.deps for stage in read_stages(study)}["first"] == ("in",)
