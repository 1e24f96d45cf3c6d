#!/usr/bin/env python3
"""Writes networks with parameters that have no dimensions, and with batch normalisation that is used twice, beside those of `generate.py`
and with the same examples and steps; adds what PyTorch's training of them gives to `expected.json`.

Our trainer keeps statistics for each use of a batch normalisation, so that the loss after training of `twice_*` is that with two sets.
"""
import json, pathlib, warnings
import numpy as np, onnx, torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(__file__).parent
arrays = np.load(FOLDER / "examples.npz")
x, y = torch.tensor(arrays["x"]), torch.tensor(arrays["y"])
expected = json.loads((FOLDER / "expected.json").read_text())


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return x * self.by


class Scalars(nn.Module):
    """Two scales that are equal, one scalar that two operators share, one behind an exponential if wanted (the newer exporter folds it
    into a constant when it optimizes), and the same numbers in the program."""

    def __init__(self, exponential):
        super().__init__()
        self.c0, self.c1, self.o = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.s0, self.s1 = Scale(), Scale()
        self.shared = nn.Parameter(torch.tensor(0.3))
        self.temperature = nn.Parameter(torch.tensor(0.25)) if exponential else None

    def forward(self, x):
        x = self.s0(F.relu6(self.c0(x))) + 0.5
        x = self.shared - self.s1(torch.tanh(self.c1(x))) / (1 + x * x)
        x = self.o(x.mean((2, 3)))
        return (x if self.temperature is None else x * self.temperature.exp()) + self.shared


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.c0, self.c1, self.norm, self.o = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.statistics = []

    def use(self, x, at):
        if torch.onnx.is_in_onnx_export():
            return self.norm(x)
        return F.batch_norm(x, *self.statistics[at], self.norm.weight, self.norm.bias, self.training)

    def forward(self, x):
        return self.o(torch.relu(self.use(self.c1(torch.relu(self.use(self.c0(x), 0))), 1)).mean((2, 3)))


OPTIONS = {
    "old": dict(dynamo=False, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False),
    "raw": dict(dynamo=True, external_data=False, optimize=False),
    "new": dict(dynamo=True, external_data=False),
}


def write(stem, model, kinds):
    for kind in kinds:
        name = f"{stem}_{kind}"
        path = FOLDER / f"{name}.onnx"
        torch.onnx.export(model, (x[:2],), path, verbose=False, **OPTIONS[kind])
        m = onnx.load(path)
        for node in m.graph.node:
            kept = [p for p in node.metadata_props if p.key.endswith(("rule_name", "class_hierarchy", "name_scopes", "fx_node"))]
            del node.metadata_props[:]
            node.metadata_props.extend(kept)
        # An export in training mode runs the network, which updates its statistics; all kinds have the same.
        stored = {t.name: torch.tensor(onnx.numpy_helper.to_array(t)) for t in m.graph.initializer if "running_" in t.name}
        if stored:
            model.statistics = [(stored["norm.running_mean"].clone(), stored["norm.running_var"].clone()) for _ in range(2)]
        del m.graph.value_info[:]
        onnx.save(m, path)
    loss = lambda: F.cross_entropy(model(x), y)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    model.eval()
    for kind in kinds:
        scalars = {k: p.item() for k, p in model.named_parameters() if p.dim() == 0}
        expected[f"{stem}_{kind}"] = dict(losses=losses, after=loss().item(), scalars=scalars)


for stem, make, kinds in (("scalars", lambda: Scalars(True), ("old", "raw")), ("scalars", lambda: Scalars(False), ("new",)),
                          ("twice", Twice, ("old", "raw"))):
    torch.manual_seed(1)
    write(stem, make().train(), kinds)
(FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
