"""Training of the lung segmenter on the human-checked masks of covid-chestxray (v7labs), split by patient.

Training needs the extra ``lungs`` (MONAI, ONNX); using the segmenter does not. docs/lungs.md gives the results.
"""

import hashlib
import logging
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cxrflow.errors import CxrflowError
from cxrflow.files import Root, code_digest, digest, write_json, write_whole
from cxrflow.lungs.learned import SIZE, WEIGHTS, lung_map, network_input
from cxrflow.progress import progress
from cxrflow.reading import read_radiograph, to_uint8
from cxrflow.state import is_whole_archive
from cxrflow.terminal import console, track

# Hides Lightning's list of devices and its product recommendations.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)

#: Folder of the lung masks, relative to covid-chestxray's; a mask has the name of its image.
MASKS = Path("annotations") / "v7labs-lung-masks"
_SOURCE = "covid-chestxray"
_EMPTY = 0.02  # masks that cover less than this share of the image, as of lateral views, are not used
#: Number of networks trained with different random seeds; the segmenter is their mean.
_MEMBERS = 2
_BATCH, _RATE, _DECAY, _AVERAGING = 8, 2e-3, 1e-2, 0.99


def masked(records: pd.DataFrame, root: Root) -> pd.DataFrame:
    """The kept frontal radiographs that have a lung mask: columns image_id, path, split, mask (path of the file).

    records  records of the metadata stage, of any collections
    Raises CxrflowError if a side of the split has none, or the training side has less than one batch.
    """
    rows = records[(records.source == _SOURCE) & records.left_out.isna()].copy()
    folders = {path.partition("/")[0] for path in rows.path}
    masks = {(name, file.stem): file for name in folders for file in (root.folder / name / MASKS).glob("*")}
    rows["mask"] = [masks.get((path.partition("/")[0], Path(path).stem)) for path in rows.path]
    rows = rows[rows["mask"].notna()]
    rows = rows[[(read_mask(file) > 127).mean() > _EMPTY for file in rows["mask"]]]
    if absent := {"train", "val", "test"} - set(rows.split):
        raise CxrflowError(
            f"{root.folder}: no {' or '.join(sorted(absent))} radiograph has a mask; covid-chestxray with {MASKS} is "
            "needed."
        )
    if (count := int((rows.split == "train").sum())) < _BATCH:
        raise CxrflowError(f"{root.folder}: {count} training radiographs have a mask; at least {_BATCH} are needed.")
    return rows[["image_id", "path", "split", "mask"]].reset_index(drop=True)


def read_mask(file: Path) -> NDArray[np.uint8]:
    """The mask in a file: uint8 (height, width), 255 inside the lungs. Raises CxrflowError if it cannot be read."""
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise CxrflowError(f"{file}: the mask cannot be read; remove or replace it.")
    return mask.astype(np.uint8)


def pair(root: Root, row: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An image, uint8 (height, width), and its mask, bool, resized to the same shape if stored at another size."""
    picture = to_uint8(read_radiograph(root.file(row.path)))
    mask = cv2.resize(read_mask(row.mask), picture.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return picture, mask > 127


def train_segmenter(rows: pd.DataFrame, root: Root, epochs: int, out: Path) -> bytes:
    """Train on the rows of split ``train``; returns the network as an ONNX file.

    rows  from ``masked``
    out   an interrupted training on the same rows and code resumes from the last complete epoch in ``out/checkpoints``
    Raises CxrflowError if the extra ``lungs`` is not installed.
    """
    set_determinism = _monai("utils").set_determinism
    here = Path(__file__).parent
    key = digest([rows.astype(str).to_numpy().tolist(), epochs, code_digest(here, ("train.py", "learned.py"))])
    used = list(rows[rows.split == "train"].itertuples())
    data = _Pairs([pair(root, row) for row in track(used, "reading masks")])
    members = []
    for seed in range(_MEMBERS):
        set_determinism(seed)
        module = _Module(_network(), epochs, len(data) // _BATCH)
        _fit(module, data, epochs, out / "checkpoints" / key[:16] / f"member{seed}", _MEMBERS - seed)
        members.append(module.network)
    return _to_onnx(_Mean(members).eval(), out)


def _fit(module: lightning.LightningModule, data: Dataset[Any], epochs: int, checkpoints: Path, networks: int) -> None:
    """networks: that are left to train, this one included."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        callbacks=[
            EMAWeightAveraging(decay=_AVERAGING),
            ModelCheckpoint(checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False),
            *progress(networks),
        ],
        enable_model_summary=False,
    )
    last = checkpoints / "last.ckpt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
        batches = DataLoader(data, _BATCH, shuffle=True, drop_last=True)
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
        trainer.fit(module, batches, ckpt_path=last if is_whole_archive(last) else None, weights_only=True)
    # Load the averaged weights: if no epoch was left to train, Lightning leaves the plain ones in the module.
    module.load_state_dict(torch.load(last, weights_only=True)["state_dict"])


def measure(rows: pd.DataFrame, root: Root, weights: Path) -> dict[str, Any]:
    """Dice coefficient of a network on whole radiographs at their original size, and its speed.

    rows     rows of one side, from ``masked``
    weights  the network's ONNX file
    Returns images (their number); mean, p10 (10th percentile) and least Dice; empty (number of predicted masks without
    lungs); milliseconds (median per image, on one core).
    """
    found, seconds = [], []
    for row in track(list(rows.itertuples()), "measuring"):
        picture, truth = pair(root, row)
        started = time.perf_counter()
        chance = lung_map(picture, weights)
        seconds.append(time.perf_counter() - started)
        mask = cv2.resize(chance, picture.shape[::-1], interpolation=cv2.INTER_LINEAR) > 127
        found.append((dice(mask, truth), mask.any()))
    values = np.array([value for value, _ in found])
    return {
        "images": len(values),
        "mean": float(values.mean()),
        "p10": float(np.quantile(values, 0.1)),
        "least": float(values.min()),
        "empty": sum(not any_lung for _, any_lung in found),
        "milliseconds": 1000 * float(np.median(seconds)),
    }


def run(records: pd.DataFrame, root: Root, epochs: int, out: Path) -> dict[str, Any]:
    """Train; write the network (``out/lungs.onnx``) and its figures on val and test (``out/lungs.json``)."""
    rows = masked(records, root)
    network = train_segmenter(rows, root, epochs, out)
    weights = out / WEIGHTS.name
    write_whole(weights, network)
    sides = {side: measure(rows[rows.split == side], root, weights) for side in ("val", "test")}
    figures = {"trained_on": int((rows.split == "train").sum()), "epochs": epochs, **sides}
    write_json(out / "lungs.json", figures | {"sha256": hashlib.sha256(network).hexdigest(), "bytes": len(network)})
    return figures


def print_segmenter(figures: dict[str, Any], out: Path) -> None:
    """Print the figures that ``run`` returned, and the path of the network."""
    for side in ("val", "test"):
        f = figures[side]
        console().print(
            f"{side}: Dice {f['mean']:.3f} (mean), {f['p10']:.3f} (10th percentile), {f['least']:.3f} (minimum); "
            f"{f['empty']} of {f['images']} predicted masks empty; {f['milliseconds']:.0f} ms per image."
        )
    console().print(f"Network: {out / WEIGHTS.name}", soft_wrap=True)


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice coefficient of two bool masks of the same shape: 2 |A and B| / (|A| + |B|); 1 if both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0


class _Pairs(Dataset[dict[str, torch.Tensor]]):
    """Images and masks at SIZE x SIZE, with random augmentation that imitates radiographs of other hospitals."""

    def __init__(self, pairs: list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]) -> None:
        change = _monai("transforms")
        self._pairs = [
            {
                "image": network_input(picture)[None],
                "mask": cv2.resize(mask.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)[None] > 0.5,
            }
            for picture, mask in pairs
        ]
        both = ["image", "mask"]
        self._change = change.Compose(
            [
                change.Rand2DElasticd(
                    both,
                    spacing=(SIZE // 8, SIZE // 8),
                    magnitude_range=(0, SIZE / 64),
                    prob=0.9,
                    rotate_range=0.2,
                    shear_range=0.1,
                    translate_range=0.08 * SIZE,
                    scale_range=(-0.25, 0.2),
                    mode=("bilinear", "nearest"),
                    padding_mode=("border", "zeros"),
                ),
                change.RandFlipd(both, prob=0.5, spatial_axis=1),
                change.RandAdjustContrastd("image", prob=0.5, gamma=(0.6, 1.6)),
                change.RandHistogramShiftd("image", prob=0.2, num_control_points=(5, 10)),
                change.RandGaussianNoised("image", prob=0.3, std=0.2),
                change.RandGaussianSmoothd("image", prob=0.2, sigma_x=(0.5, 1.2), sigma_y=(0.5, 1.2)),
            ]
        )

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        made = self._change({name: value.astype(np.float32) for name, value in self._pairs[position].items()})
        image, mask = (torch.as_tensor(np.asarray(made[name])) for name in ("image", "mask"))
        return {"image": (image - image.mean()) / (image.std() + 1e-3), "mask": mask}


class _Module(lightning.LightningModule):
    """Dice plus cross-entropy loss, AdamW, one-cycle learning-rate schedule (Smith and Topin 2018)."""

    def __init__(self, network: nn.Module, epochs: int, batches: int) -> None:
        super().__init__()
        self.network = network
        self._steps = epochs * batches
        self._loss = _monai("losses").DiceCELoss(sigmoid=True)

    def training_step(self, batch: dict[str, torch.Tensor], position: int) -> torch.Tensor:
        loss: torch.Tensor = self._loss(self.network(batch["image"]), batch["mask"])
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimiser = torch.optim.AdamW(self.parameters(), _RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=self._steps, pct_start=0.15)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _network() -> nn.Module:
    """MONAI's residual U-Net (Kerfoot et al. 2018): (n, 1, SIZE, SIZE) to logits of the same shape."""
    # Batch normalisation, because it can be fused into the convolutions for inference.
    how: dict[str, Any] = {"strides": (2, 2, 2, 2), "num_res_units": 2, "norm": "batch"}
    network: nn.Module = _monai("networks.nets").UNet(2, 1, 1, channels=(16, 32, 64, 112, 144), act="LEAKYRELU", **how)
    return network


def _monai(module: str) -> Any:
    """A module of MONAI, imported on demand because that takes seconds. Raises CxrflowError if MONAI is missing."""
    try:
        return import_module(f"monai.{module}")
    except ImportError:
        raise CxrflowError("lungs: training needs MONAI and ONNX; `pip install 'cxrflow[lungs]'`.") from None


class _Mean(nn.Module):
    """Mean of the logits of several networks, over the image and its mirror image."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        both = torch.cat([image, image.flip(-1)])
        mean = torch.stack([member(both) for member in self.members]).mean(dim=0)
        as_it_is, mirrored = mean.chunk(2)
        return (as_it_is + mirrored.flip(-1)) / 2


def _to_onnx(network: nn.Module, out: Path) -> bytes:
    """The network as an ONNX file, batch size 1; weights are stored as int8 and converted to float32 at run time."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path = out / "float32.onnx"
    example = torch.zeros(1, 1, SIZE, SIZE)
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"]}
    torch.onnx.export(network, (example,), path, dynamo=True, external_data=False, verbose=False, **names)
    model = onnx.load(path)
    path.unlink()
    graph = model.graph
    for weights in [w for w in graph.initializer if w.data_type == TensorProto.FLOAT and len(w.dims) > 1]:
        values = numpy_helper.to_array(weights)
        scale = np.abs(values).max(axis=(1, 2, 3), keepdims=True) / 127  # one per output plane
        scale = np.maximum(scale, np.finfo(np.float32).tiny)
        whole, real, name = np.rint(values / scale).astype(np.int8), scale.astype(np.float32), weights.name
        graph.initializer.remove(weights)
        graph.initializer.append(numpy_helper.from_array(whole, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(real, f"{name}_scale"))
        graph.node.insert(0, helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]))
        graph.node.insert(0, helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float"], to=TensorProto.FLOAT))
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]  # source locations in the Python code: a tenth of the file
    onnx.checker.check_model(model)
    file: bytes = model.SerializeToString()
    return file
