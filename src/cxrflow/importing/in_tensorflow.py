"""Reads a TensorFlow 1 meta graph and checkpoint. Runs as a script in an environment with TensorFlow, without cxrflow.

    python in_tensorflow.py job.json

The keys of job.json are meta, checkpoint, input, logits, probabilities (as the options of ``import-tensorflow``), size
(pixels; null: read from the graph) and out, the output folder. The script writes there:

    network.onnx  input to logits, with weights; the input is (n, channels, size, size)
    answers.npz   random images (n, channels, size, size) float32 in [0, 1], and TensorFlow's logits and probabilities
    network.json  {"size": pixels, "channels": count}

If files or names are wrong, the last line on standard error gives the reason, after the prefix "import-tensorflow: ".

Only the operations between the input and the logits or probabilities are run, and variables are read directly from the
checkpoint; nothing else that the author put into the meta graph is ever executed.
"""

import difflib
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf
from tensorflow.python.grappler import tf_optimizer
from tf2onnx import optimizer, tf_loader, tfonnx
from tf2onnx.optimizer import back_to_back_optimizer

tf1 = tf.compat.v1
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
_IMAGES = 3


def main(job: dict[str, Any]) -> None:
    """Convert, run on random images, write the results."""
    tf1.disable_eager_execution()
    out = Path(job["out"])
    names = [job[key] for key in ("input", "logits", "probabilities")]
    graph, side, channels = _network(_read_meta(job["meta"]), job["checkpoint"], names, job["size"])
    images = np.random.default_rng(0).random((_IMAGES, channels, side, side), dtype=np.float32)
    (out / "network.onnx").write_bytes(_to_onnx(graph, names[0], names[1]))
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.import_graph_def(graph, name="")
        logits, probabilities = session.run(names[1:], {names[0]: images.transpose(0, 2, 3, 1)})
    np.savez(out / "answers.npz", images=images, logits=logits, probabilities=probabilities)
    (out / "network.json").write_text(json.dumps({"size": side, "channels": channels}), encoding="utf-8")


def _read_meta(path: str) -> Any:
    meta = tf1.MetaGraphDef()
    try:
        meta.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        _stop(f"{path}: {error.strerror}.")
    except Exception:  # protobuf's DecodeError
        _stop(f"{path}: not a TensorFlow meta graph; name the .meta file.")
    return meta.graph_def


def _network(graph: Any, checkpoint: str, names: list[str], size: int | None) -> tuple[Any, int, int]:
    """The subgraph from the input to the outputs, with variables as constants, for any batch size; and the side and
    channels of its input."""
    nodes = {node.name: node for node in graph.node}
    for name in names:
        if not (name.endswith(":0") and name[:-2] in nodes):
            near = difflib.get_close_matches(name, [f"{known}:0" for known in nodes], 5, 0.5)
            _stop(f"the graph has no tensor {name}; near names: {', '.join(near) or 'none'}.")
    entry = nodes[names[0][:-2]]
    if entry.op not in ("Placeholder", "PlaceholderWithDefault"):
        _stop(f"{names[0]} is not an input of the graph but the result of {entry.op}; name a placeholder.")
    side, channels = _side_and_channels(entry, size)
    del entry.input[:]
    entry.op = "Placeholder"
    entry.attr["shape"].shape.CopyFrom(tf.TensorShape([None, side, side, channels]).as_proto())
    part = tf1.graph_util.extract_sub_graph(graph, [name[:-2] for name in names])
    if entry.name not in _behind(part, names[1][:-2]):
        _stop(f"{names[1]} does not depend on {names[0]}; name the graph's own input and logits.")
    return _frozen(part, checkpoint), side, channels


def _side_and_channels(entry: Any, size: int | None) -> tuple[int, int]:
    shape = [d.size for d in entry.attr["shape"].shape.dim] if "shape" in entry.attr else []
    height, width, channels = shape[1:] if len(shape) == 4 else (-1, -1, 3)
    channels = 3 if channels < 1 else channels
    fixed = {side for side in (height, width) if side > 0}
    if len(fixed) > 1 or channels not in (1, 3):
        _stop(f"{entry.name}:0 takes {height} x {width} x {channels}; square pictures of 1 or 3 channels are needed.")
    side = fixed.pop() if fixed else size
    if side is None:
        _stop(f"{entry.name}:0 takes pictures of any size; say with --size which the network was trained on.")
    if size not in (None, side):
        _stop(f"{entry.name}:0 takes pictures of {side} pixels, not {size}; leave --size out.")
    return side, channels


def _behind(graph: Any, name: str) -> set[str]:
    """Names of all nodes that a node depends on."""
    return {node.name for node in tf1.graph_util.extract_sub_graph(graph, [name]).node}


def _frozen(graph: Any, checkpoint: str) -> Any:
    """The graph with variables replaced by their values in the checkpoint, and placeholders by their defaults (Keras'
    learning phase: prediction)."""
    try:
        reader = tf.train.load_checkpoint(checkpoint)
    except Exception:  # TensorFlow raises errors of many types
        _stop(f"{checkpoint}: not a TensorFlow checkpoint, or a damaged one; name another.")
    if absent := sorted(n.name for n in graph.node if n.op in _VARIABLES and not reader.has_tensor(n.name)):
        _stop(f"{checkpoint}: it lacks values for {len(absent)} of the graph's variables, such as {absent[0]}.")
    resources = _resources(graph)
    frozen = tf1.GraphDef(versions=graph.versions)
    for old in graph.node:
        node = frozen.node.add(name=old.name, op=old.op, input=old.input)
        if old.op in _VARIABLES:
            value = reader.get_tensor(old.name)
            node.op = "Const"
            node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf1.make_tensor_proto(value))
        elif old.op in ("PlaceholderWithDefault", "ReadVariableOp"):
            node.op = "Identity"
            node.attr["T"].CopyFrom(old.attr["dtype"])
        else:
            for key in old.attr:
                if not key.startswith("_"):  # outdated annotations of shapes and devices
                    node.attr[key].CopyFrom(old.attr[key])
            if old.name in resources:
                node.attr["T"].type = resources[old.name]
    return frozen


def _resources(graph: Any) -> dict[str, int]:
    """The nodes that hold or forward a variable's handle, with the type of the variable's value."""
    found = {node.name: node.attr["dtype"].type for node in graph.node if node.op == "VarHandleOp"}
    while more := {
        node.name: found[node.input[0].partition(":")[0]]
        for node in graph.node
        if node.op in ("Identity", "Switch") and node.name not in found and node.input[0].partition(":")[0] in found
    }:
        found |= more
    return found


def _to_onnx(graph: Any, entry: str, logits: str) -> bytes:
    """ONNX with channels-first input. Batch normalisation is not folded into convolutions, so it stays trainable."""
    graph = tf_loader.tf_optimize([entry], [logits], _without_branches(graph, entry, logits))
    back_to_back_optimizer._func_map.pop(("Conv", "BatchNormalization"), None)  # would fold them
    with tf.Graph().as_default() as opened:
        tf1.import_graph_def(graph, name="")
        converted = tfonnx.process_tf_graph(
            opened, opset=13, input_names=[entry], output_names=[logits], inputs_as_nchw=[entry]
        )
    converted = optimizer.optimize_graph(converted)
    onnx: bytes = converted.make_model("network").SerializeToString()
    return onnx


def _without_branches(graph: Any, entry: str, logits: str) -> Any:
    """The graph without the training-only branches that Keras writes."""
    meta = tf1.train.export_meta_graph(graph_def=graph)
    meta.collection_def["train_op"].node_list.value.extend([entry, logits])
    config = tf1.ConfigProto()
    config.graph_options.rewrite_options.optimizers[:] = ["constfold", "loop", "dependency", "pruning"]
    return tf_optimizer.OptimizeGraph(config, meta)


def _stop(problem: str) -> NoReturn:
    sys.exit(f"import-tensorflow: {problem}")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
