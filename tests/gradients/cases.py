#!/usr/bin/env python3
"""Writes the models of `cases/`: an operator each, with the result and the gradients that PyTorch computes in FP64.

    pip install torch onnx numpy && python tests/gradients/cases.py

Gradients are those of the sum of the result's elements, weighted by fixed numbers. `cargo test -p bitbudget-tests --test gradients` compares.
"""
import pathlib
import shutil

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper, parser

FOLDER = pathlib.Path(__file__).parent / "cases"
rng = np.random.default_rng(11)
names = []


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def case(family, name, body, compute, x, opset=23, more=(), **weights):
    """`compute` takes x and the weights by name, floating-point ones in FP64. Floating-point weights are parameters but for those named `c_…`."""
    sets = ", ".join([f'"" : {opset}', *(f'"{domain}" : 1' for domain in more)])
    dims, number = ",".join(map(str, x.shape)), len(names)
    text = f'<ir_version: 10, opset_import: [{sets}]>\n{name} (float[{dims}] x) => (float y) {{\n{body}\n}}'
    model = parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    for key, array in weights.items():
        tensor = numpy_helper.from_array(np.asarray(array), key)
        if key.startswith("c_"):
            model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [key], value=tensor))
        else:
            model.graph.initializer.append(tensor)
    given = {key: torch.tensor(np.asarray(array)) for key, array in dict(weights, x=x).items()}
    given = {key: t.double() if t.is_floating_point() else t for key, t in given.items()}
    trained = [key for key, t in given.items() if t.is_floating_point() and not key.startswith("c_")]
    for key in trained:
        given[key].requires_grad_(True)
    y = compute(**given)
    weight = torch.tensor(np.cos(3 * np.arange(y.numel()) + 1).reshape(y.shape))
    gradients = torch.autograd.grad((y * weight).sum(), [given[key] for key in trained], allow_unused=True)
    arrays = {"x": x, "y": y.detach().numpy(), "dy": weight.numpy()}
    for key, gradient in zip(trained, gradients):
        arrays[f"d {key}"] = np.zeros(given[key].shape) if gradient is None else gradient.numpy()
    name = f"{number:02}-{family}-{name}"
    names.append(name)
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    np.savez(FOLDER / f"{name}.npz", **arrays)


def products():
    add = lambda name, body, compute, x, **more: case("products", name, body, compute, x, **more)
    add("Gemm", "y = Gemm <alpha = 0.5, transB = 1> (x, w, b)", lambda x, w, b: 0.5 * x @ w.T + b, f(4, 5), w=f(3, 5), b=f(3))
    add("MatMul", "y = MatMul (x, w)", lambda x, w: x @ w, f(2, 1, 3, 4), w=f(5, 4, 2))
    add("MatMul_vector", "y = MatMul (x, w)", lambda x, w: x @ w, f(2, 3, 4), w=f(4))
    add("Einsum", 'y = Einsum <equation = "bhid,bhjd->bhij"> (x, w)', lambda x, w: torch.einsum("bhid,bhjd->bhij", x, w), f(2, 3, 4, 5), w=f(2, 3, 6, 5))
    add("Conv", "y = Conv <strides = [2, 1], pads = [1, 0, 1, 2], group = 2> (x, w, b)",
        lambda x, w, b: F.conv2d(F.pad(x, (0, 2, 1, 1)), w, b, stride=(2, 1), groups=2), f(2, 4, 6, 5), w=f(6, 2, 3, 3), b=f(6))
    add("Conv_volume", "y = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w, b)", lambda x, w, b: F.conv3d(x, w, b, padding=1), f(1, 2, 3, 4, 3), w=f(3, 2, 3, 3, 3), b=f(3))
    add("ConvTranspose", "y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 0]> (x, w, b)",
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=(1, 0)), f(2, 3, 4, 3), w=f(3, 2, 3, 3), b=f(2))


def normalisations():
    add = lambda name, body, compute, x, **more: case("normalisations", name, body, compute, x, **more)
    image, two = f(3, 4, 5, 2), dict(s=f(4), b=f(4))
    add("LayerNormalization", "y = LayerNormalization <epsilon = 0.01> (x, s, b)", lambda x, s, b: F.layer_norm(x, (6,), s, b, 0.01), f(3, 4, 6), s=f(6), b=f(6))
    add("RMSNormalization", "y = RMSNormalization <epsilon = 0.01> (x, s)", lambda x, s: x / (x.square().mean(-1, keepdim=True) + 0.01).sqrt() * s, f(3, 4, 6), s=f(6))
    add("InstanceNormalization", "y = InstanceNormalization <epsilon = 0.01> (x, s, b)", lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=0.01), image, **two)
    add("GroupNormalization", "y = GroupNormalization <num_groups = 2, epsilon = 0.01> (x, s, b)", lambda x, s, b: F.group_norm(x, 2, s, b, 0.01), image, **two)
    add("BatchNormalization", "y = BatchNormalization <epsilon = 0.01> (x, s, b, c_m, c_v)", lambda x, s, b, c_m, c_v: F.batch_norm(x, None, None, s, b, True, eps=0.01),
        image, **two, c_m=np.zeros(4, np.float32), c_v=np.ones(4, np.float32))
    add("LRN", "y = LRN <size = 3, alpha = 0.3, beta = 0.75, bias = 1.5> (x)", lambda x: F.local_response_norm(x, 3, 0.3, 0.75, 1.5), image)
    add("LpNormalization", "y = LpNormalization <axis = 1, p = 2> (x)", lambda x: F.normalize(x, dim=1), image)
    add("Softmax", "y = Softmax <axis = 1> (x)", lambda x: x.softmax(1), f(3, 4, 2))
    add("LogSoftmax", "y = LogSoftmax <axis = -1> (x)", lambda x: x.log_softmax(-1), f(3, 4, 5))


def attend(q, k, v, mask=0.0, cap=0.0, scale=None):
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = torch.tanh(scores / cap) * cap if cap else scores
    return (scores + mask).softmax(-1) @ v


def apart(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def together(x):
    return x.transpose(1, 2).flatten(2)


def turned(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attention():
    add = lambda name, body, compute, x, **more: case("attention", name, body, compute, x, **more)
    causal = lambda rows, keys, past=0: torch.full((rows, keys), -torch.inf, dtype=torch.float64).triu(1 + past)
    add("Attention", "y = Attention (x, k, v)", lambda x, k, v: attend(x, k, v), f(2, 3, 4, 5), k=f(2, 3, 6, 5), v=f(2, 3, 6, 2))
    add("Attention_groups", "y = Attention <q_num_heads = 4, kv_num_heads = 2, is_causal = 1, softcap = 1.5> (x, k, v)",
        lambda x, k, v: together(attend(apart(x, 4), apart(k, 2), apart(v, 2), causal(4, 4), 1.5)), f(2, 4, 12), k=f(2, 4, 6), v=f(2, 4, 6))
    add("Attention_mask", "m = Greater (p, c_zero)\n y = Attention <scale = 0.7> (x, k, v, m)", lambda x, k, v, p, c_zero: attend(x, k, v, torch.where(p > 0, 0.0, -torch.inf), scale=0.7),
        f(2, 2, 3, 4), k=f(2, 2, 5, 4), v=f(2, 2, 5, 4), p=np.array([[1, 1, -1, 1, -1], [-1, 1, 1, -1, 1], [1, -1, 1, 1, 1]], np.float32), c_zero=np.float32(0))
    add("Attention_past", "y, pk, pv = Attention <is_causal = 1> (x, k, v, , a, b)",
        lambda x, k, v, a, b: attend(x, torch.cat([a, k], 2), torch.cat([b, v], 2), causal(3, 5, 2)), f(1, 2, 3, 4), k=f(1, 2, 3, 4), v=f(1, 2, 3, 4), a=f(1, 2, 2, 4), b=f(1, 2, 2, 4))
    add("MultiHeadAttention", "y = com.microsoft.MultiHeadAttention <num_heads = 2> (x, k, v, b)",
        lambda x, k, v, b: together(attend(apart(x + b[:6], 2), apart(k + b[6:12], 2), apart(v + b[12:], 2))), f(2, 3, 6), k=f(2, 4, 6), v=f(2, 4, 8), b=f(20), more=["com.microsoft"], opset=17)
    angles = f(3, 2)
    add("RotaryEmbedding", "y = RotaryEmbedding (x, c_cos, c_sin)", lambda x, c_cos, c_sin: turned(x, c_cos, c_sin), f(1, 2, 3, 4), c_cos=np.cos(angles)[None], c_sin=np.sin(angles)[None])


def resizes():
    add = lambda name, body, compute, x, **more: case("resize", name, body, compute, x, **more)
    image, whole = f(2, 3, 4, 5), lambda *sizes: np.array([2, 3, *sizes], np.int64)
    for mode, torchs in (("linear", "bilinear"), ("cubic", "bicubic")):
        for place, corners in (("half_pixel", False), ("align_corners", True)):
            add(f"Resize_{mode}_{place}", f'y = Resize <mode = "{mode}", coordinate_transformation_mode = "{place}"> (x, , , s)',
                lambda x, s, torchs=torchs, corners=corners: F.interpolate(x, (7, 3), mode=torchs, align_corners=corners), image, s=whole(7, 3))
        add(f"Resize_{mode}_antialias", f'y = Resize <mode = "{mode}", antialias = 1, exclude_outside = 1, cubic_coeff_a = -0.5> (x, , , s)',
            lambda x, s, torchs=torchs: F.interpolate(x, (3, 3), mode=torchs, antialias=True), image, s=whole(3, 3))
    for sizes in ((8, 10), (3, 7)):
        add(f"Resize_nearest_{sizes[0]}", 'y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , , s)',
            lambda x, s, sizes=sizes: F.interpolate(x, sizes, mode="nearest"), image, s=whole(*sizes))


def indices():
    add = lambda name, body, compute, x, **more: case("indices", name, body, compute, x, **more)
    i = lambda *values: np.array(values, np.int64)
    grid, at = f(3, 5, 2), rng.permuted(np.tile(np.arange(5)[None, :, None], (3, 1, 2)), axis=1)[:, :3]
    twice = at.copy()
    twice[:, 1] = twice[:, 0]
    top = "k = Constant <value_ints = [3]> ()\n v, t = TopK <axis = 1> (x, k)\n"
    add("Gather", "y = Gather <axis = 1> (x, at)", lambda x, at: x[:, at], grid, at=i([0, 4], [4, -2]))
    add("GatherElements", "y = GatherElements <axis = 1> (x, at)", lambda x, at: x.gather(1, at), grid, at=twice)
    add("GatherElements_computed", top + "y = GatherElements <axis = 1> (w, t)", lambda x, w: w.gather(1, x.topk(3, 1).indices), grid, w=f(3, 5, 2))
    add("GatherND", "y = GatherND (x, at)", lambda x, at: x[at[..., 0], at[..., 1]], grid, at=i([0, -1], [2, 3], [0, 4]))
    add("GatherND_batch", "y = GatherND <batch_dims = 1> (x, at)", lambda x, at: x[torch.arange(3)[:, None], at[..., 0]], grid, at=i([[0], [4]], [[2], [2]], [[-1], [1]]))
    add("TopK", top + "y = Mul (v, v)", lambda x: x.topk(3, 1).values ** 2, grid)
    for reduction, torchs in (("add", "sum"), ("mul", "prod"), ("min", "amin"), ("max", "amax")):
        add(f"ScatterElements_{reduction}", f'y = ScatterElements <axis = 1, reduction = "{reduction}"> (x, at, u)',
            lambda x, at, u, torchs=torchs: x.scatter_reduce(1, at, u, torchs), grid, at=twice, u=f(3, 3, 2))
    add("ScatterElements", "y = ScatterElements <axis = 1> (x, at, u)", lambda x, at, u: x.scatter(1, at, u), grid, at=at, u=f(3, 3, 2))
    add("ScatterElements_computed", top + "y = ScatterElements <axis = 1> (w, t, u)", lambda x, w, u: w.scatter(1, x.topk(3, 1).indices, u), grid, w=f(3, 5, 2), u=f(3, 3, 2))
    add("ScatterND", "y = ScatterND (x, at, u)", lambda x, at, u: x.index_put((at[:, 0], at[:, 1]), u), grid, at=i([0, -1], [2, 3], [1, 4]), u=f(3, 2))
    add("ScatterND_add", 'y = ScatterND <reduction = "add"> (x, at, u)', lambda x, at, u: x.index_put((at[:, 0],), u, accumulate=True), grid, at=i([2], [0], [2]), u=f(3, 5, 2))


def quantised():
    add = lambda name, body, compute, x, **more: case("quantisation", name, body, compute, x, **more)
    one, rows = np.float32(0.05), np.array([0.05, 0.02, 0.1], np.float32)
    body = "q = QuantizeLinear <axis = 1> (x, c_s, z)\n y = DequantizeLinear <axis = 1> (q, c_s, z)"
    add("QuantizeLinear", body, lambda x, c_s, z: torch.fake_quantize_per_tensor_affine(x, float(c_s), int(z), 0, 255), 3 * f(4, 3), c_s=one, z=np.uint8(100))
    add("QuantizeLinear_axis", body, lambda x, c_s, z: torch.fake_quantize_per_channel_affine(x.float(), c_s.float(), z.int(), 1, -128, 127).double(), 4 * f(4, 3), c_s=rows, z=np.array([0, 5, -9], np.int8))


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for family in (products, normalisations, attention, resizes, indices, quantised):
        family()
    print(len(names), "cases")
