"""The audit's verdicts are shown of the bundle that was audited, and of no other."""

from pathlib import Path

import pytest

from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.bundle_networks import read_bundle
from cxrflow.errors import CxrflowError
from cxrflow.predictor import Predictor
from cxrflow.serving.about import about
from cxrflow.serving.settings import Settings
from cxrflow.state import write_sealed


def audit_of(weights: str | None) -> dict[str, object]:
    test = {"question": "Does it?", "verdict": "cannot be told", "words": "Too few.", "figures": {}}
    return {"alarm": False, "tests": {"swaps": test}} | ({"weights": weights} if weights else {})


@pytest.fixture
def results(folder: Path, tmp_path: Path) -> Path:
    """Folder of the results of a run, with a bundle whose weights are known."""
    import pandas as pd

    bundle, modules = read_bundle(folder)
    bundle = bundle.model_copy(update={"digests": {"weights": "f" * 64}})
    empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
    write_bundle(tmp_path / "training" / "bundle", modules, bundle, seen_rows(empty))
    (tmp_path / "audit").mkdir()
    return tmp_path


def weights_of(results: Path) -> str:
    return Predictor(results / "training" / "bundle").bundle.digests["weights"]


def test_the_audit_beside_the_bundle_is_shown_if_it_is_of_its_weights(results: Path) -> None:
    predictor, file = Predictor(results / "training" / "bundle"), results / "audit" / "audit.json"
    assert about(predictor, Settings()).audit is None
    for other in ("0" * 64, None):
        write_sealed(file, audit_of(other))
        assert about(predictor, Settings()).audit is None
    write_sealed(file, audit_of(weights_of(results)))
    (verdict,) = about(predictor, Settings()).audit or []
    assert verdict.model_dump() == {
        "test": "swaps", "question": "Does it?", "verdict": "cannot be told", "text": "Too few."
    }  # fmt: skip


def test_an_audit_that_is_named_is_shown_unless_it_says_that_it_is_of_others(results: Path, tmp_path: Path) -> None:
    predictor, file = Predictor(results / "training" / "bundle"), tmp_path / "mine.json"
    for own in (weights_of(results), None):
        write_sealed(file, audit_of(own))
        assert len(about(predictor, Settings(audit=file)).audit or []) == 1
    write_sealed(file, audit_of("0" * 64))
    with pytest.raises(CxrflowError, match="is the audit of other weights"):
        about(predictor, Settings(audit=file))
    file.unlink()
    with pytest.raises(CxrflowError, match="is absent; name the audit"):
        about(predictor, Settings(audit=file))


def test_the_model_card_is_that_of_the_folder(results: Path) -> None:
    folder = results / "training" / "bundle"
    assert about(Predictor(folder), Settings()).model_card is None
    (folder / "model-card.md").write_text("# Card\n")
    assert about(Predictor(folder), Settings()).model_card == "# Card\n"
    (folder / "model-card.md").write_bytes(b"\xff")
    with pytest.raises(CxrflowError, match="not UTF-8"):
        about(Predictor(folder), Settings())
