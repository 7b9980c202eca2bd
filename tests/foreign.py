"""Slim nets, and their weights written in the formats of others, by the rules of those formats and not by our readers."""

import h5py
import numpy as np
import scipy.io
import torch

from transferbench.nets.modules import VGG, initialise
from transferbench.nets.weights import from_net
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

SPEC = NetSpec(name="D", width=1 / 16, crop=64, n_classes=10)
"""fc6 covers 2 x 2 cells, so a wrong order of its inputs shows."""


def state_of(spec=SPEC, seed=1):
    """Random weights for RGB input, as numpy arrays under the names of this program; biases are not zero."""
    net = VGG(spec)
    initialise(net, "glorot", seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.5)
    return {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}


def weights_of(state, spec=SPEC, preprocessing=None):
    """`Weights` that hold such a state as it is."""
    net = VGG(spec)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return from_net(net, preprocessing or Preprocessing(), tuple(map(str, range(spec.n_classes))), {"kind": "test"})


def bgr(state):
    """The same net for BGR input: the first layer's channels in the other order."""
    return {**state, "conv1_1.weight": state["conv1_1.weight"][:, ::-1].copy()}


def layers(state):
    return [name.removesuffix(".weight") for name in state if name.endswith(".weight")]


# ---- Keras ---------------------------------------------------------------------------------------------------------


def keras_name(layer):
    names = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    return names.get(layer) or f"block{layer[4]}_conv{layer[6]}"


def write_keras(path, state, *, top=None):
    """Kernels (height, width, inputs, outputs); dense layers (inputs, outputs), fc1's inputs in order h, w, c."""
    with h5py.File(path, "w") as file:
        group = file.create_group(top) if top else file
        for layer in layers(state):
            kernel = np.einsum("oihw->hwio", state[f"{layer}.weight"])
            if layer.startswith("fc"):
                kernel = np.stack([kernel[..., o].ravel() for o in range(kernel.shape[-1])], axis=1)
            name = keras_name(layer)
            inner = group.create_group(name)
            inner.create_dataset(f"{name}_W_1:0", data=kernel)
            inner.create_dataset(f"{name}_b_1:0", data=state[f"{layer}.bias"])
        group.create_group("block1_pool")
    return path


# ---- MatConvNet ----------------------------------------------------------------------------------------------------


def _cell(values):
    cell = np.empty((1, len(values)), dtype=object)
    for position, value in enumerate(values):
        cell[0, position] = value
    return cell


def write_matconvnet(path, state, *, old=False, mean=(123.68, 116.779, 103.939), more=()):
    """Kernels (height, width, inputs, outputs), also of fc6; old versions call them filters."""
    entries = []
    for layer in layers(state):
        kernel = np.einsum("oihw->hwio", state[f"{layer}.weight"])
        bias = state[f"{layer}.bias"][None]
        entry = {"name": layer, "type": "conv", "stride": np.array([[1.0, 1.0]])}
        entry |= {"filters": kernel, "biases": bias} if old else {"weights": _cell([kernel, bias])}
        entries += [entry, {"name": f"relu_{layer}", "type": "relu"}]
    image = np.array(mean).reshape(1, 1, 3)
    place = {"normalization": {"averageImage": np.tile(image, (4, 4, 1)) if old else image}}
    scipy.io.savemat(path, {"layers": _cell([*entries, *more]), **(place if old else {"meta": place})})
    return path


# ---- Caffe ---------------------------------------------------------------------------------------------------------


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, wire, payload):
    head = varint(number << 3 | wire)
    return head + (varint(len(payload)) + payload if wire == 2 else payload)


def blob(array, *, new, packed):
    values = np.ascontiguousarray(array, dtype="<f4")
    if new:
        shape = field(7, 2, field(1, 2, b"".join(map(varint, values.shape))))
    else:
        four = (1,) * (4 - values.ndim) + values.shape
        shape = b"".join(field(n, 0, varint(side)) for n, side in enumerate(four, 1))
    data = values.tobytes()
    body = field(5, 2, data) if packed else b"".join(field(5, 5, data[i : i + 4]) for i in range(0, len(data), 4))
    return shape + body


def write_caffe(path, state, *, new=False, packed=True):
    """Blobs (outputs, inputs, height, width); inner products (outputs, inputs), fc6's inputs in order c, h, w."""
    outer, name_field, blob_field, type_field = (100, 1, 7, 2) if new else (2, 4, 6, 5)
    message = [field(1, 2, b"VGG_ILSVRC_16_layers")]
    for layer in layers(state):
        kernel = state[f"{layer}.weight"]
        if layer.startswith("fc"):
            kernel = kernel.reshape(len(kernel), -1)
        kind = field(type_field, 2, b"Convolution") if new else field(type_field, 0, varint(4))
        body = field(name_field, 2, layer.encode()) + kind
        body += field(blob_field, 2, blob(kernel, new=new, packed=packed))
        body += field(blob_field, 2, blob(state[f"{layer}.bias"], new=new, packed=packed))
        message += [field(outer, 2, body), field(outer, 2, field(name_field, 2, f"relu_{layer}".encode()))]
    path.write_bytes(b"".join(message))
    return path


# ---- PyTorch -------------------------------------------------------------------------------------------------------


def torch_state(state, classifier):
    """``features.N`` counts ReLUs and poolings too; the classifier is made of matrices, fc6's inputs in order c, h, w."""
    out, place, block = {}, 0, 1
    for layer in layers(state):
        if layer.startswith("conv"):
            if int(layer[4]) != block:
                place, block = place + 1, int(layer[4])
            key = f"features.{place}"
            place += 2
            kernel = state[f"{layer}.weight"]
        else:
            key = f"classifier.{classifier[int(layer[2]) - 6]}"
            kernel = state[f"{layer}.weight"].reshape(len(state[f"{layer}.weight"]), -1)
        out[f"{key}.weight"] = torch.from_numpy(kernel.copy())
        out[f"{key}.bias"] = torch.from_numpy(state[f"{layer}.bias"].copy())
    return out


def write_torch(path, state, classifier=(0, 3, 6)):
    torch.save(torch_state(state, classifier), path)
    return path


WRITERS = {
    "keras": lambda path, state: write_keras(path.with_suffix(".h5"), bgr(state)),
    "matconvnet": lambda path, state: write_matconvnet(path.with_suffix(".mat"), state),
    "caffe": lambda path, state: write_caffe(path.with_suffix(".caffemodel"), bgr(state)),
    "pytorch-bgr": lambda path, state: write_torch(path.with_suffix(".pth"), bgr(state), (1, 4, 6)),
}
"""The four layouts in which the authors' weights are published, each from the same state for RGB input."""
