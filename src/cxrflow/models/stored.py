"""An imported network: an ONNX graph, converted to a PyTorch module that can be trained further.

onnx2torch builds the module from the graph; the weights are stored separately, as its ``state_dict``.
"""

import math
import re
from typing import Any

import torch
from torch import fx, nn

from cxrflow.errors import CxrflowError, one_line

#: Model name of a network outside the registry, built from the graph in its bundle.
STORED = "onnx"
#: Float tensors with more elements than this are weights, which ``structure`` omits. Smaller ones may be arguments of
#: operations, which are not in the ``state_dict``.
_SMALL = 16
#: ONNX files hold at most 2 GB, of weights in 4 bytes each.
_MOST_WEIGHTS = 2**29
#: Names of nodes as TensorFlow and PyTorch give them.
_HARMLESS = re.compile(r"[\w/.:;,+\-@() \[\]]*")


class StoredNetwork(nn.Module):
    """Float (n, channels, size, size) to logits (n, classes), as the ONNX graph computes them.

    structure      the graph without its weights; together with the ``state_dict`` it rebuilds the network
    gradcam_layer  the last layer whose output is a map
    order          int64 (classes,), part of the ``state_dict``: the output column of the graph for each logit
    """

    order: torch.Tensor

    def __init__(self, graph: bytes) -> None:
        """Build the network from an ONNX file with one input and one output; weights missing in it are set to 0.

        Raises CxrflowError if onnx2torch is not installed or cannot convert the graph.
        """
        super().__init__()
        try:
            import onnx
            from onnx2torch import convert
        except ImportError:
            raise CxrflowError("the network is an ONNX graph; `pip install 'cxrflow[onnx]'` to use it.") from None
        try:
            model = onnx.load_model_from_string(graph)
            _check(model.graph)
            floats = [w for w in model.graph.initializer if w.data_type == w.FLOAT and not w.float_data]
            weights = [w for w in floats if math.prod(w.dims) > _SMALL]
            for weight in weights:
                weight.raw_data = weight.raw_data or bytes(4 * math.prod(weight.dims))
            network = convert(model, attach_onnx_mapping=True)
            inferred = onnx.shape_inference.infer_shapes(model).graph
            self._gradcam = _module_of(network, _last_map(inferred))
            classes = inferred.output[0].type.tensor_type.shape.dim[1].dim_value
        except Exception as error:  # a damaged file can raise anything
            reason = one_line(str(error))
            raise CxrflowError(f"the ONNX graph is damaged, or onnx2torch cannot convert it ({reason}).") from None
        _fix_shapes(network)
        _make_trainable(network)
        self.network = network
        self.register_buffer("order", torch.arange(classes))
        for weight in weights:
            weight.ClearField("raw_data")
        self.structure = model.SerializeToString()

    @property
    def gradcam_layer(self) -> nn.Module:
        """The layer that Grad-CAM uses."""
        layer: nn.Module = self.network.get_submodule(self._gradcam)
        return layer

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of images (n, channels, size, size)."""
        logits: torch.Tensor = self.network(images)[:, self.order]
        return logits


def _check(graph: Any) -> None:
    """Raise ValueError if a graph would read other files, run code or take more memory than any network here.

    onnx2torch makes a module of each node, under the node's name, and torch.fx writes that name into the Python code
    of the module's forward pass, between quotes but without escaping it.
    """
    tensors = list(graph.initializer)
    for node in graph.node:
        if not _HARMLESS.fullmatch(f"{node.domain}/{node.name}"):
            raise ValueError(f"a node is called {one_line(node.name, 80)!r}")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise ValueError(f"the node {node.name} holds a graph of its own")
            tensors += [attribute.t, *attribute.tensors]
    if any(tensor.data_location == tensor.EXTERNAL for tensor in tensors):
        raise ValueError("its weights lie in another file")
    if any(size < 0 for tensor in tensors for size in tensor.dims):
        raise ValueError("a weight has a negative size")
    if sum(math.prod(tensor.dims) for tensor in tensors) > _MOST_WEIGHTS:
        raise ValueError(f"it declares more than {_MOST_WEIGHTS:,} weights")


def _last_map(graph: Any) -> str:
    """Name of the last map (n, channels, height, width) before the output: the result of a convolution, or of layers
    after it that do not transpose the axes.

    graph  an ONNX graph with inferred shapes
    """
    made_by = {value: node for node in graph.node for value in node.output}
    dims = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    found, value = "", graph.output[0].name
    while value in made_by:
        node = made_by[value]
        if len(shape := dims.get(value, ())) == 4 and min(shape[2].dim_value, shape[3].dim_value) > 1:
            found = "" if node.op_type == "Transpose" else found or value
            if node.op_type == "Conv":
                return found
        value = next((name for name in node.input if name in made_by), "")
    raise ValueError("no convolution leads to the output")


def _module_of(network: fx.GraphModule, value: str) -> str:
    """Name of the layer that computes a value of the ONNX graph."""
    layers: list[tuple[str, Any]] = list(network.named_children())
    return next(
        name for name, layer in layers if hasattr(layer, "onnx_mapping") and value in layer.onnx_mapping.outputs
    )


def _fix_shapes(network: fx.GraphModule) -> None:
    """Make the shapes in reshape operations constants instead of tensors, so that the network can be traced and
    exported."""
    for node in list(network.graph.nodes):
        if node.op == "call_module" and type(network.get_submodule(node.target)).__name__ == "OnnxReshape":
            images, shape = node.args
            if shape.op == "get_attr":
                constants: Any = network.initializers
                name = shape.target.rpartition(".")[2]
                numbers = constants.get_buffer(name).tolist()
                with network.graph.inserting_before(node):
                    node.replace_all_uses_with(network.graph.call_method("reshape", (images, *numbers)))
                network.graph.erase_node(node)
                network.graph.erase_node(shape)
                delattr(constants, name)
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()


def _make_trainable(network: fx.GraphModule) -> None:
    """Turn the weights and biases of dense layers, which onnx2torch treats as constants, into parameters."""
    constants = getattr(network, "initializers", nn.Module())  # absent if there are none
    for name, value in list(constants.named_buffers()):
        if value.is_floating_point() and value.ndim > 0:
            delattr(constants, name)
            constants.register_parameter(name, nn.Parameter(value))
