"""Three training steps in PyTorch, and the files of a case: NAME.onnx, NAME.npz (x, y, values afterwards), NAME.json."""

import copy
import json

import numpy as np
import torch
from onnx import numpy_helper

import peer
import tasks
from generator import Unfit, generate

STEPS = 3
# A tensor may be off by this share of its change, or this often PyTorch's own distance from FP64.
SHARE_OF_UPDATE, OWN_DISTANCES = 1e-3, 20
# That distance is the largest of so many more runs in FP32, with inputs that are off by a last digit.
FP32_RUNS = 3
# Weights whose gradient is zero but for rounding move by this share of what the others do.
NOISE = 2.0**-22
# What rounding leaves of a gradient whose terms cancel, as a share of the largest one.
GRADIENT_NOISE = 2.0**-24
# The first loss, and those after steps.
FIRST_LOSS, LOSS = 1e-5, 1e-4


def needed(graph):
    """The nodes that the output depends on."""
    wanted, nodes = {graph.output[0].name}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    return nodes[::-1]


def evaluate(model, x, run, values):
    """The result of a model for inputs by name, whose initializers have the given values."""
    values = {**values, **x}
    for node in needed(model.graph):
        peer.compute(node, values, run)
    return values[model.graph.output[0].name]


def converted(x, convert):
    """Inputs whose floating-point numbers are converted."""
    return {name: convert(array) if array.is_floating_point() else array for name, array in x.items()}


def nudged_model(model, x, nudge):
    """The model with its parameters nudged, where no input has floating-point numbers to nudge."""
    if any(array.is_floating_point() for array in x.values()):
        return model
    model = copy.deepcopy(model)
    for proto in model.graph.initializer:
        value = numpy_helper.to_array(proto)
        if value.dtype == np.float32 and value.ndim:
            nudged = (nudge(list(value.shape)).numpy() * value).astype(np.float32)
            proto.CopyFrom(numpy_helper.from_array(nudged, proto.name))
    return model


def statistics_inputs(model):
    return {n for node in model.graph.node if node.op_type == "BatchNormalization" for n in node.input[3:5]}


def optimizer(name, parameters, rate):
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=5e-4)
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def train(model, task, x, y, dtype, name, rate, noise=None):
    """Losses of the steps on inputs by name and targets, and trained tensors and running statistics before and after them, by name.

    `noise` is a generator of noise that is added to gradients, as rounding in FP32 leaves it where large terms cancel.
    """
    opset = model.opset_import[0].version
    kept = statistics_inputs(model)
    values = {i.name: peer.tensor(i, dtype) for i in model.graph.initializer}
    trained = {n: v for n, v in values.items() if v.is_floating_point() and v.dim() and n not in kept}
    run = peer.Run(opset, dtype, True)
    before = {n: v.detach().clone() for n, v in trained.items()}
    for v in trained.values():
        v.requires_grad_()
    step = optimizer(name, list(trained.values()), rate)
    losses = []
    for at in range(STEPS):
        step.zero_grad()
        given = converted({name: array[at] for name, array in x.items()}, lambda array: array.to(dtype))
        loss = tasks.loss(task, evaluate(model, given, run, values), None if y is None else y[at])
        loss.backward()
        losses.append(loss.item())
        if len(losses) == 1:
            read = {n for n, v in trained.items() if v.grad is not None}
        if noise is not None:
            largest = max(trained[n].grad.abs().max() for n in read)
            for n in sorted(read):
                trained[n].grad += GRADIENT_NOISE * largest * torch.from_numpy(noise.standard_normal(trained[n].shape))
        step.step()
    # What the network does not read is not trained.
    after = {n: v.detach() for n, v in trained.items() if n in read}
    return losses, {**{n: before[n] for n in after}, **run.initial}, {**after, **run.statistics}


def distance(a, b):
    return (a.double() - b.double()).norm().item()


def case(seed):
    """A model, a record with the numbers that a trainer must come to, and the arrays of the case.

    Raises Unfit for the few seeds whose network blows up.
    """
    model, task, net = generate(seed)
    return model, *numbers(model, seed, net.batch, task)


def numbers(model, seed, batch, task):
    """What training a model for a task on data of a seed comes to: a record, and the arrays of the case."""
    random = np.random.default_rng([seed, 1])
    x, y = tasks.data(task, model, random, STEPS, batch)
    changed = lambda change: converted(x, lambda array: change(list(array.shape)) * array.double())
    name = "adamw" if random.random() < 0.2 else "sgd"
    for rate in (2.0**-4, 2.0**-8, 2.0**-12) if name == "sgd" else (2.0**-8, 2.0**-12):
        losses, before, after = train(model, task, x, y, torch.float64, name, rate)
        if all(np.isfinite(losses)) and max(losses) < 4 * losses[0] + 4:
            break
    else:
        raise Unfit("training blows up")
    if task["loss"] == "cross-entropy" and all(abs(loss - np.log(task["classes"])) < 1e-6 for loss in losses):
        raise Unfit("its scores are zero but for rounding")
    losses32, _, after32 = train(model, task, x, y, torch.float32, name, rate)
    others = [(losses32, after32)]
    # Weights that cancel out, such as a bias in front of batch normalisation, move by FP32's rounding alone: one run is too few to know it.
    signs = np.random.default_rng([seed, 2])
    for _ in range(FP32_RUNS):
        nudge = lambda shape: 1 + 2.0**-23 * torch.from_numpy(signs.choice([-1.0, 1.0], shape))
        nudged, _, after_nudged = train(nudged_model(model, x, nudge), task, changed(nudge), y, torch.float32, name, rate)
        others.append((nudged, after_nudged))
    for sign in (1, -1):
        # How far rounding carries: the same with inputs that are off by a last digit.
        nudge = lambda shape, sign=sign: 1 + sign * 2.0**-24 * torch.from_numpy(random.choice([-1.0, 1.0], shape))
        nudged, _, after_nudged = train(nudged_model(model, x, nudge), task, changed(nudge), y, torch.float64, name, rate)
        others.append((nudged, after_nudged))
    if name == "adamw":
        # It divides gradients by their own size, noise too.
        noisy, _, after_noisy = train(model, task, x, y, torch.float64, name, rate, random)
        others.append((noisy, after_noisy))
    changes = {tensor: distance(value, before[tensor]) for tensor, value in after.items()}
    noise = NOISE * max(changes.values())
    tensors, values = [], []
    for tensor, value in sorted(after.items()):
        own = max(distance(other[tensor], value) for _, other in others)
        change = changes[tensor]
        floor = 3 * 2.0**-24 * value.norm().item() + noise
        tolerance = max(SHARE_OF_UPDATE * change, OWN_DISTANCES * own, floor)
        tensors.append({"name": tensor, "elements": value.numel(), "tolerance": tolerance, "change": change})
        values.append(value.reshape(-1).float().numpy())
    own = [max(abs(other[0][i] - losses[i]) for other in others) for i in range(STEPS)]
    shares = [FIRST_LOSS, *[LOSS] * (STEPS - 1)]
    tolerances = [max(s * max(abs(loss), 1e-2), OWN_DISTANCES * o) for s, loss, o in zip(shares, losses, own)]
    record = {
        "seed": seed, "operator_set": model.opset_import[0].version, "batch": batch, **task, "optimizer": name, "learning_rate": rate,
        "loss_scale": "none" if random.random() < 0.5 else "dynamic", "losses": losses, "loss_tolerances": tolerances,
        "tensors": tensors, "operators": sorted({n.op_type for n in needed(model.graph)}),
    }
    arrays = {name: array.reshape(-1, *array.shape[2:]).numpy() for name, array in x.items()}
    arrays |= {} if y is None else {"y": y.reshape(-1, *y.shape[2:]).numpy()}
    arrays["after"] = np.concatenate(values)
    return record, arrays


def write(folder, name, model, record, arrays):
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    (folder / f"{name}.json").write_text(json.dumps(record) + "\n")
