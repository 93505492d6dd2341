"""The lung segmenter: what ships, what training gives, and the masks it learns from."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from torch import nn

from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.files import Root
from cxrflow.lungs import learned, train
from cxrflow.metadata.build import build_records
from cxrflow.params import Metadata, Sources
from cxrflow.task import Task

FOLDER = "covid-chestxray-dataset"


@pytest.fixture
def collection(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    """Drawn chests, dark ovals in a bright body, with their masks: 8 to train on, 2 on the other sides."""
    root = tmp_path / "root"
    (root / FOLDER / "images").mkdir(parents=True)
    (root / FOLDER / train.MASKS).mkdir(parents=True)
    rows = []
    y, x = np.mgrid[0:150, 0:120] / 120
    for k, split in enumerate(["train"] * 8 + ["val", "val", "test", "test"]):
        shift = 0.05 * np.sin(k)
        lungs = sum(((x - c - shift) / 0.15) ** 2 + ((y - 0.6) / 0.35) ** 2 < 1 for c in (0.28, 0.72)) > 0
        noise = np.random.default_rng(k).normal(0, 10, lungs.shape)
        picture = np.clip(np.where(lungs, 70, 190) + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / FOLDER / "images" / f"{k}.png"), picture)
        cv2.imwrite(str(root / FOLDER / train.MASKS / f"{k}.png"), lungs.astype(np.uint8) * 255)
        rows.append(
            {"image_id": f"c:{k}", "source": "covid-chestxray", "path": f"{FOLDER}/images/{k}.png", "split": split}
        )
    return root, pd.DataFrame(rows).assign(left_out=None)


def test_dice_by_hand() -> None:
    one, two = np.zeros((2, 4), dtype=bool), np.zeros((2, 4), dtype=bool)
    assert train.dice(one, two) == 1
    one[0, :3], two[:, 0] = True, True
    assert train.dice(one, two) == pytest.approx(2 * 1 / 5)


def test_only_kept_radiographs_with_two_lungs_in_their_mask_are_used(collection) -> None:
    root, records = collection
    train_more = records.iloc[:4].assign(
        image_id=[f"c:more{k}" for k in range(4)], path=records.path.iloc[4:8].tolist()
    )
    records = pd.concat([records, train_more], ignore_index=True)
    records.loc[0, "left_out"] = "view is L, not frontal"
    (root / FOLDER / train.MASKS / "1.png").unlink()
    cv2.imwrite(str(root / FOLDER / train.MASKS / "2.png"), np.zeros((50, 50), np.uint8))  # as lateral views have
    records.loc[3, "source"] = "nih"
    used = [f"c:{k}" for k in (*range(4, 12), "more0", "more1", "more2", "more3")]
    assert train.masked(records, Root(root)).image_id.tolist() == used
    with pytest.raises(CxrflowError, match="4 training radiographs have a mask; at least 8"):
        train.masked(records.iloc[:12], Root(root))
    with pytest.raises(CxrflowError, match="no test radiograph has a mask"):
        train.masked(records[records.split != "test"], Root(root))


def test_masks_of_another_size_fit_their_picture(collection) -> None:
    root, records = collection
    file = root / FOLDER / train.MASKS / "5.png"
    half = cv2.resize(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), (60, 75), interpolation=cv2.INTER_NEAREST)
    whole = next(train.masked(records, Root(root)).iloc[5:].itertuples())
    _, before = train.pair(Root(root), whole)
    cv2.imwrite(str(file), half)
    picture, after = train.pair(Root(root), whole)
    assert picture.shape == after.shape == (150, 120)
    assert train.dice(before, after) > 0.97


def test_a_mask_that_cannot_be_read_is_named(collection) -> None:
    root, records = collection
    (root / FOLDER / train.MASKS / "5.png").write_bytes(b"not a picture")
    with pytest.raises(CxrflowError, match=r"5\.png: the mask cannot be read"):
        train.masked(records, Root(root))


def test_training_writes_a_network_that_finds_drawn_lungs(collection, tmp_path: Path, monkeypatch) -> None:
    root, records = collection
    monkeypatch.setattr(train, "_MEMBERS", 1)
    monkeypatch.setattr(train, "_AVERAGING", 0.5)  # of 24 steps, not a thousand
    out, weights, export = tmp_path / "out", [], train._to_onnx

    def once(network: nn.Module, folder: Path) -> bytes:  # an export takes seconds: the same weights, the same file
        weights.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return export(network, folder) if len(weights) == 1 else (folder / "lungs.onnx").read_bytes()

    monkeypatch.setattr(train, "_to_onnx", once)
    figures = train.run(records, Root(root), 24, out)
    assert figures["trained_on"] == 8
    assert figures["test"]["images"] == 2
    assert figures["test"]["empty"] == 0
    assert figures["test"]["mean"] > 0.85
    train.run(records, Root(root), 24, out)  # goes on after its last epoch: there is nothing left to do
    first, again = weights
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_file_computes_what_the_networks_do(tmp_path: Path) -> None:
    """The mean over members, and over the picture and its mirror image, by hand; weights are rounded to 8 bits of
    the greatest of their plane."""
    torch.manual_seed(0)
    members: list[nn.Module] = [train._network().eval() for _ in range(2)]
    for weights in [w for member in members for w in member.parameters() if w.dim() > 1]:
        steps = weights.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / 127
        weights.data = (weights.data / steps).round() * steps
    path = tmp_path / "lungs.onnx"
    path.write_bytes(train._to_onnx(train._Mean(members).eval(), tmp_path))
    picture = np.random.default_rng(0).integers(0, 256, (300, 200)).astype(np.uint8)
    image = torch.from_numpy(learned.network_input(picture))[None, None]
    with torch.no_grad():
        parts = [m(image) for m in members] + [m(image.flip(-1)).flip(-1) for m in members]
    logits = torch.stack(parts).mean(dim=0)[0, 0].numpy()
    chance = 255 / (1 + np.exp(-logits))
    found = learned.lung_map(picture, path)
    kept = found > 0
    assert kept.any()
    assert np.abs(found[kept] - chance[kept]).max() < 1.5


def test_two_regions_are_kept_and_no_more() -> None:
    mask = np.zeros((60, 60), dtype=bool)
    mask[5:30, 5:15] = mask[5:30, 30:45] = mask[45:49, 50:54] = True
    kept = learned._two_largest(mask)
    assert kept[5:30, 5:15].all()
    assert kept[5:30, 30:45].all()
    assert not kept[45:49, 50:54].any()


def test_what_ships_is_small_and_holds_no_python() -> None:
    assert learned.WEIGHTS.stat().st_size <= 4_000_000
    model = onnx.load(learned.WEIGHTS)
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} == {""}


def test_lungs_of_patients_that_it_never_saw(
    real_data: Path, how: Metadata, task: Task, engine: Engine, tmp_path: Path
) -> None:
    """Against human masks (v7labs), on the test side: the figures of docs/lungs.md."""
    sources = Sources(root=str(real_data / "sources"), collections=None)
    built = build_records(sources, how, task, engine, tmp_path)
    rows = train.masked(built.records, built.root)
    figures = train.measure(rows[rows.split == "test"], built.root, learned.WEIGHTS)
    assert figures["images"] > 50
    assert figures["mean"] > 0.95
    assert figures["p10"] > 0.92
    assert figures["empty"] == 0
