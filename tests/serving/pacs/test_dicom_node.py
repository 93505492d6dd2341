"""The DICOM node between dcmtk's storescu and storescp: what it acknowledges is answered, whatever happens."""

import signal
import stat

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

ROOT = "1.2.826.0.1.3680043.8.498"


def test_studies_are_answered_the_bad_ones_too(node, archive, radiograph, until) -> None:
    archive.up()
    running = node("--kinds", "sr,sc,map").wait()
    assert running.store(radiograph(1, 1), radiograph(1, 2), radiograph(2, 1)) == 3
    assert stat.S_IMODE(running.spool.stat().st_mode) == 0o700

    def done(studies: int) -> None:
        until(lambda: len(list((running.spool / "done").iterdir())) == studies)

    done(2)
    held = archive.held()
    assert sorted((each.StudyInstanceUID, each.Modality) for each in held) == sorted(
        (f"{ROOT}.{study}", kind) for study, count in ((1, 2), (2, 1)) for kind in ("SR", "OT", "OT") * count
    )
    assert {str(each.PatientName) for each in held} == {"DOE^JANE"}
    assert not running.held("")  # input and results are deleted
    # The archive forwards everything: what is cxrflow's own is not scored. Nor is a study that is sent again.
    picture = next(path for path in archive.folder.iterdir() if path.name.startswith("SC"))
    assert running.store(picture.read_bytes(), radiograph(1, 1)) == 2
    running.wait_for("a result of cxrflow came back").wait_for("an image came again")
    assert not running.held("")
    assert len(archive.held()) == len(held)
    # A late image is answered on its own; so are images that cannot be scored, if a report can be filed with them.
    bad = [
        radiograph(1, 3),
        radiograph(3, PixelData=None),
        radiograph(4, ViewPosition="LL"),
        radiograph(5, Rows=60_000, StudyDate="today", PatientName="A" * 60_000),
    ]
    assert running.store(*bad) == 4
    done(5)
    until(lambda: len(archive.held()) == len(held) + 3 + 3)
    assert archive.studies() == [f"{ROOT}.{study}" for study in range(1, 6)]
    assert not running.held("")
    names = "".join(str(path) for path in running.spool.rglob("*"))
    records = "".join(path.read_text() for path in (running.spool / "done").iterdir())
    for secret in ("DOE", "AAAA", "MRN-4711", "ACC99", ROOT):
        assert secret not in running.log() + names + records
    assert " ERROR " not in running.log()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(120) == 0
    assert running.log().splitlines()[-1].endswith("stopped")


def test_what_was_acknowledged_survives_kill_9_and_a_destination_that_is_down(node, archive, radiograph, until) -> None:
    first = node().wait()
    assert first.store(*(radiograph(study) for study in range(5))) == 5
    first.kill()
    second = node().wait()
    until(lambda: second.held("sending"))  # it goes on with what lies in the spool
    assert second.store(radiograph(5)) == 1
    until(lambda: "nothing can be sent" in second.log())
    assert node().process.wait(120) == 1
    assert "another run (process" in second.log()  # both write into one file
    second.kill()
    archive.up()
    third = node()
    until(lambda: archive.studies() == [f"{ROOT}.{study}" for study in range(6)])
    until(lambda: not third.held(""))
    assert len(archive.held()) == 6
