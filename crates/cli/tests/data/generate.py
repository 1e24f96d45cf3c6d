#!/usr/bin/env python3
"""Writes small networks as people's exporters do, the examples in `examples.npz`, and what PyTorch's training of them gives.

    python -m venv .venv && .venv/bin/pip install torch torchvision onnx onnxruntime onnxscript numpy && .venv/bin/python generate.py

`expected.json` has, by network, the losses of three steps over all examples (SGD of learning rate 0.1, momentum 0.9, weight decay
5e-4) and the loss after them, in evaluation.
"""
import json, pathlib, warnings
import numpy as np, onnx, onnxruntime, torch, torchvision
from onnx import helper as h, numpy_helper as nh
from torch import nn

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(__file__).parent
rng = np.random.default_rng(3)
x = rng.standard_normal((16, 1, 8, 8)).astype(np.float32)
y = np.arange(16, dtype=np.int64) % 3
x += y[:, None, None, None] * 0.5
np.savez(FOLDER / "examples.npz", x=x, y=y)
expected = {}


class Merged(nn.Module):
    """Three biases of equal elements, which exporters merge. (The newer one leaves out those of zeros.)"""

    def __init__(self):
        super().__init__()
        self.c0, self.c1 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.f, self.o = nn.Linear(4, 4), nn.Linear(4, 3)
        for bias in (self.c0.bias, self.c1.bias, self.f.bias):
            nn.init.constant_(bias, 0.1)

    def forward(self, x):
        x = torch.relu(self.c1(torch.relu(self.c0(x)))).mean((2, 3))
        return self.o(torch.relu(self.f(x)))


class Shared(nn.Module):
    """A layer that is used twice, with a bias of equal elements."""

    def __init__(self):
        super().__init__()
        self.c0, self.f, self.o = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 4), nn.Linear(4, 3)
        nn.init.constant_(self.f.bias, 0.1)

    def forward(self, x):
        x = torch.relu(self.c0(x)).mean((2, 3))
        return self.o(torch.tanh(self.f(torch.tanh(self.f(x)))))


class FrozenNorm(nn.Module):
    """As torchvision's FrozenBatchNorm2d, with a scale and a bias that are trained."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(channels) + 0.5), nn.Parameter(torch.rand(channels))
        self.register_buffer("running_mean", torch.rand(channels))
        self.register_buffer("running_var", torch.rand(channels) + 0.5)

    def forward(self, x):
        at = lambda t: t.reshape(1, -1, 1, 1)
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * at(scale) + (at(self.bias) - at(self.running_mean) * at(scale))


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.c0, self.norm, self.o = nn.Conv2d(1, 4, 3, padding=1), FrozenNorm(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.o(torch.relu(self.norm(self.c0(x))).mean((2, 3)))


class Affine(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.rand(channels) + 0.5), nn.Parameter(torch.rand(channels))

    def forward(self, x):
        return x * self.scale[:, None, None] + self.shift[:, None, None]


class Buffers(nn.Module):
    """Buffers that arithmetic uses: numbers for each position, one for each channel, and equal numbers."""

    def __init__(self):
        super().__init__()
        self.c0, self.affine, self.o = nn.Conv2d(1, 4, 3, padding=1), Affine(4), nn.Linear(4, 3)
        self.register_buffer("position", torch.rand(1, 4, 8, 8))
        self.register_buffer("channel", torch.rand(4, 1, 1), persistent=False)
        self.register_buffer("equal", torch.full((4,), 0.5))

    def forward(self, x):
        return self.o(torch.relu(self.affine(self.c0(x)) * self.channel + self.position).mean((2, 3)) * self.equal)


class Normalised(nn.Module):
    """A network that normalises its input first."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4]).view(1, 1, 1, 1))
        self.register_buffer("std", torch.tensor([0.8]).view(1, 1, 1, 1))
        self.c0, self.o = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        return self.o(torch.relu(self.c0((x - self.mean) / self.std)).mean((2, 3)))


class RowNorm(nn.Module):
    """Normalisation of rows: over channels behind the positions, over whole images without a bias, and without parameters."""

    def __init__(self):
        super().__init__()
        self.c0, self.o = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)
        self.channels, self.image = nn.LayerNorm(4, eps=1e-6), nn.LayerNorm([4, 8, 8], bias=False)
        self.plain = nn.LayerNorm(4, elementwise_affine=False)

    def forward(self, x):
        x = self.channels(self.c0(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.o(self.plain(self.image(torch.relu(x)).mean((2, 3))))


class Ends(nn.Module):
    """A network that ends in a softmax, over which it is not trained."""

    def __init__(self, end):
        super().__init__()
        self.c0, self.o, self.end = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1), end

    def scores(self, x):
        return self.o(torch.relu(self.c0(x)).mean((2, 3), keepdim=True))

    def forward(self, x):
        return self.end(self.scores(x)).flatten(1)


def trained(names, model):
    """Trains a network and notes what is expected of the files that hold it."""
    scores = getattr(model, "scores", model)
    loss = lambda: nn.functional.cross_entropy(scores(torch.tensor(x)).flatten(1), torch.tensor(y))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    model.eval()
    for name in names:
        expected[name] = dict(losses=losses, after=loss().item())


def export(name, model, **options):
    torch.onnx.export(model.eval(), (torch.tensor(x[:2]),), FOLDER / f"{name}.onnx", verbose=False, **options)
    return onnx.load(FOLDER / f"{name}.onnx")


def rewrite(m, name):
    """Writes a file without the notes on where in the source its nodes come from."""
    for node in m.graph.node:
        kept = [p for p in node.metadata_props if p.key.endswith(("rule_name", "class_hierarchy", "name_scopes"))]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    del m.graph.value_info[:]
    onnx.save(m, FOLDER / f"{name}.onnx")


OLD, NEW = dict(dynamo=False), dict(dynamo=True, external_data=False)
for stem, kind, old, new in (("merged", Merged, {}, {}), ("shared", Shared, {}, {}), ("normalised", Normalised, {}, {}),
                             ("frozen", Frozen, dict(do_constant_folding=False), dict(optimize=False))):
    torch.manual_seed(1)
    model = kind()
    rewrite(export(f"{stem}_old", model, **OLD, **old), f"{stem}_old")
    rewrite(export(f"{stem}_new", model, **NEW, **new), f"{stem}_new")
    names = [f"{stem}_old", f"{stem}_new"]
    if stem == "merged":
        # As optimizers leave it: no Identity, and no notes of the exporter.
        m = onnx.load(FOLDER / "merged_old.onnx")
        merged = {n.output[0]: n.input[0] for n in m.graph.node if n.op_type == "Identity"}
        assert len(merged) == 2, merged
        nodes = [n for n in m.graph.node if n.op_type != "Identity"]
        for node in nodes:
            node.input[:] = [merged.get(i, i) for i in node.input]
        del m.graph.node[:]
        m.graph.node.extend(nodes)
        m.producer_name = ""
        onnx.save(m, FOLDER / "merged_plain.onnx")
        names.append("merged_plain")
    if stem == "frozen":
        # The same function by its definition, with names that say nothing.
        state = {k: v.detach().numpy() for k, v in model.state_dict().items()}
        column = lambda a: a.reshape(1, -1, 1, 1)
        tensors = dict(w=state["c0.weight"], b=state["c0.bias"], p=column(state["norm.running_mean"]), q=column(state["norm.running_var"]),
                       s=column(state["norm.weight"]), t=column(state["norm.bias"]), e=np.array(1e-5, np.float32), ow=state["o.weight"], ob=state["o.bias"])
        nodes = [("Conv", ["x", "w", "b"], "c", dict(pads=[1, 1, 1, 1])), ("Sub", ["c", "p"], "d", {}), ("Add", ["q", "e"], "r", {}), ("Sqrt", ["r"], "u", {}),
                 ("Div", ["d", "u"], "n", {}), ("Mul", ["n", "s"], "m", {}), ("Add", ["m", "t"], "a", {}), ("Relu", ["a"], "g", {}),
                 ("GlobalAveragePool", ["g"], "h", {}), ("Flatten", ["h"], "f", {}), ("Gemm", ["f", "ow", "ob"], "y", dict(transB=1))]
        info = lambda name: h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 1, 8, 8] if name == "x" else None)
        graph = h.make_graph([h.make_node(op, i, [o], name=o, **a) for op, i, o, a in nodes], "frozen", [info("x")], [info("y")],
                             [nh.from_array(v, k) for k, v in tensors.items()])
        onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8), FOLDER / "frozen_plain.onnx")
        names.append("frozen_plain")
    trained(names, model)

for name, end in (("ends_in_softmax", nn.Softmax(1)), ("ends_in_log_softmax", nn.LogSoftmax(1))):
    torch.manual_seed(1)
    model = Ends(end)
    rewrite(export(name, model, **OLD), name)
    trained([name], model)

torch.manual_seed(1)
model = RowNorm()
rewrite(export("row_norm_old", model, **OLD), "row_norm_old")
rewrite(export("row_norm_new", model, **NEW), "row_norm_new")
trained(["row_norm_old", "row_norm_new"], model)
for name in ("row_norm_old", "row_norm_new"):
    expected[name]["weights"] = {k: v.detach().flatten().tolist() for k, v in model.named_parameters()}

# Batch normalisation without running statistics.
norm = nn.BatchNorm2d(4, track_running_stats=False)
model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
rewrite(export("no_running_statistics", model, **OLD), "no_running_statistics")

# A small DenseNet, half of whose batch normalisations the newer exporter folds, and whose equal parameters it merges.
torch.manual_seed(1)
model = torchvision.models.DenseNet(4, (2, 2), 8, 2, num_classes=3).eval()
torch.onnx.export(model, (torch.randn(2, 3, 32, 32),), FOLDER / "densenet.onnx", verbose=False, **NEW)
rewrite(onnx.load(FOLDER / "densenet.onnx"), "densenet")


def layers(*inner):
    """A network of these layers whose batch normalisations have statistics and parameters as after training."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), *inner, nn.Linear(4, 3))
    for layer in model:
        for name, tensor in layer.state_dict().items() if "Norm" in type(layer).__name__ else []:
            if name != "num_batches_tracked":
                tensor.uniform_(0.5, 1.5)
    return model


pool = lambda: (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
Frozen2d = torchvision.ops.FrozenBatchNorm2d

# Frozen batch normalisation without parameters, as its author wrote it and as exporters fold it.
model = layers(Frozen2d(4), *pool())
rewrite(export("frozen_layer_raw", model, **NEW, optimize=False), "frozen_layer_raw")
rewrite(export("frozen_layer_folded", model, **NEW), "frozen_layer_folded")
rewrite(export("frozen_layer_old", model, **OLD), "frozen_layer_old")
trained(["frozen_layer_raw", "frozen_layer_folded"], model)
torch.manual_seed(1)
rewrite(export("frozen_folded", Frozen(), **NEW), "frozen_folded")

torch.manual_seed(1)
model = Buffers()
rewrite(export("buffers_raw", model, **NEW, optimize=False), "buffers_raw")
rewrite(export("buffers_folded", model, **NEW), "buffers_folded")
trained(["buffers_raw", "buffers_folded"], model)

# Batch normalisation without parameters.
model = layers(nn.ReLU(), nn.BatchNorm2d(4, affine=False), *pool())
rewrite(export("no_scale", model, **NEW), "no_scale")
model.train()
trained(["no_scale"], model)

# Batch normalisation that exporters fold into linear layers and convolutions, beside some that stays.
model = layers(nn.BatchNorm2d(4), *pool(), nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU())
rewrite(export("folded_linear", model, **NEW), "folded_linear")
plain = export("folded_runtime", model, **OLD, training=torch.onnx.TrainingMode.EVAL, do_constant_folding=False)
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
options.optimized_model_filepath = str(FOLDER / "folded_runtime.onnx")
onnxruntime.InferenceSession(plain.SerializeToString(), options, providers=["CPUExecutionProvider"])
model = layers(nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), *pool())
rewrite(export("folded_old", model, **OLD), "folded_old")

# Some layers in training mode, others in evaluation mode. (The exporters take the mode from the whole model but where told.)
model.train()[4].eval()
options = dict(verbose=False, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, dynamo=False)
torch.onnx.export(model, (torch.tensor(x[:2]),), FOLDER / "modes_old.onnx", **options)
torch.onnx.export(model, (torch.tensor(x[:2]),), FOLDER / "modes_new.onnx", verbose=False, **NEW, optimize=False)
for name in ("modes_old", "modes_new"):
    rewrite(onnx.load(FOLDER / f"{name}.onnx"), name)

(FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
