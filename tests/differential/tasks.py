"""What networks are trained for: classes of examples, tokens or pixels, numbers, or a loss of the network's own; the data, and the loss in PyTorch."""

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto

import known
from network import TOKENS

IGNORED = -100


def classes(count, axis=1):
    """Classes of examples, all alike."""
    return {"loss": "cross-entropy", "classes": count, "class_axis": axis}


def chosen(net):
    """A task for a network in the making."""
    way = net.random.random()
    task = classes(net.classes)
    if way < 0.68:
        pass
    elif way < 0.76:
        task |= {"class_axis": -1}
    elif way < 0.84:
        task |= {"of": "pixels"}
    elif way < 0.94:
        task = {"loss": net.pick(["bce", "mse", "l1", "huber"])}
        if task["loss"] == "huber":
            task["huber_delta"] = net.pick([0.25, 1.0])
        return task | {"of": net.pick(["examples", "tokens", "pixels"])}
    elif net.opset >= 13:
        return {"loss": "output:loss", "below": {"labels": net.classes}, "of": net.pick(["examples", "tokens", "pixels"])}
    if task["class_axis"] == -1:
        task["of"] = "tokens"
    if "of" in task and net.chance(0.5):
        task |= net.pick([{"ignored": 0.3}, {"ignore_label": 0}])
    if net.chance(0.15):
        task["label_smoothing"] = 0.125
    if net.chance(0.15):
        task["class_weights"] = [net.pick([0.5, 1.0, 2.0]) for _ in range(net.classes)]
    return task


def scores(net, x, of):
    """Scores for each row, [N, rows, classes], or each place, [N, classes, height, width], from a tensor."""
    rank, shape = net.rank(x), net.shape(x)
    if of == "tokens":
        if rank == 4:
            x = known.reshape(net, x, [shape[0], shape[1], shape[2] * shape[3]])
        elif rank == 2:
            x = known.unsqueeze(net, x, [2])
        depth = net.shape(x)[2]
        y = net.emit("MatMul", [x, net.parameter([depth, net.classes], 1.2 / depth**0.5)])
        return net.emit("Add", [y, net.parameter([net.classes], 0.2)]) if net.chance(0.6) else y
    if rank < 4:
        x = known.unsqueeze(net, x, [3] if rank == 3 else [1, 3])
    depth = net.shape(x)[1]
    bias = [net.parameter([net.classes], 0.2)] if net.chance(0.6) else []
    return net.emit("Conv", [x, net.parameter([net.classes, depth, 1, 1], 1.2 / depth**0.5), *bias])


def own_loss(net, x, of):
    """The loss of scores with labels, which are an input, as the network itself computes it."""
    if of == "tokens":
        x = net.emit("Transpose", [x], perm=[0, 2, 1])
    shape = net.shape(x)
    labels = net.input("labels", [shape[0], *shape[2:]], TensorProto.INT64, net.classes)
    reduction = net.pick(["", "mean", "none"])
    attributes = {"reduction": reduction} if reduction else {}
    # A mean over the batch is read where all labels count.
    if reduction == "none" and net.chance(0.4):
        attributes["ignore_index"] = 0
    weight = [net.constant(np.array([net.pick([0.5, 1.0, 2.0]) for _ in range(net.classes)], np.float32))] if net.chance(0.3) else []
    if net.chance(0.4):
        scores = net.emit("LogSoftmax", [x], axis=1)
        return net.emit("NegativeLogLikelihoodLoss", [scores, labels, *weight], named="loss", **attributes)
    return net.emit("SoftmaxCrossEntropyLoss", [x, labels, *weight], named="loss", **attributes)


# --- data


def inputs(model):
    """The inputs of a model that are no initializers: their element types and dimensions behind the batch, by name."""
    known_names = {i.name for i in model.graph.initializer}
    types = {i.name: i.type.tensor_type for i in model.graph.input if i.name not in known_names}
    return {name: (kind.elem_type, [d.dim_value for d in kind.shape.dim[1:]]) for name, kind in types.items()}


def data(task, model, random, steps, batch):
    """Random arrays for the inputs, by name, and the targets where there are any."""
    x = {}
    for name, (kind, dims) in inputs(model).items():
        shape = [steps, batch, *dims]
        if kind == TensorProto.FLOAT:
            x[name] = torch.from_numpy(random.standard_normal(shape).astype(np.float16).astype(np.float32))
        elif kind == TensorProto.BOOL:
            x[name] = torch.from_numpy(random.random(shape) < 0.6)
        else:
            whole = torch.from_numpy(random.integers(0, task.get("below", {}).get(name, TOKENS), shape))
            x[name] = whole.int() if kind == TensorProto.INT32 else whole
    return x, targets(task, model, random, [steps, batch])


def targets(task, model, random, shape):
    dims = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    if task["loss"].startswith("output:"):
        return None
    if task["loss"] != "cross-entropy":
        numbers = random.standard_normal([*shape, *dims[1:]])
        numbers = random.random(numbers.shape) if task["loss"] == "bce" else numbers
        return torch.from_numpy(numbers.astype(np.float16).astype(np.float32))
    del dims[task["class_axis"]]
    each = dims[1:] if np.prod(dims[1:]) > 1 else []
    y = random.integers(0, task["classes"], [*shape, *each])
    if "ignored" in task:
        y[random.random(y.shape) < task["ignored"]] = IGNORED
    # One label of each example counts.
    if each:
        y[(..., *[0] * len(each))] = task["classes"] - 1
    return torch.from_numpy(y)


# --- the loss


def rows(task, result):
    """A network's result as the evaluation gives it: scores with their classes last."""
    if task["loss"] != "cross-entropy":
        return result
    return result.movedim(task["class_axis"], -1).reshape(-1, task["classes"])


def loss(task, result, y):
    """The loss of a network's result."""
    kind = task["loss"]
    if kind.startswith("output:"):
        return result.mean()
    if kind == "cross-entropy":
        y = y.reshape(-1)
        y = torch.where(y == task["ignore_label"], IGNORED, y) if "ignore_label" in task else y
        weight = torch.tensor(task["class_weights"], dtype=result.dtype) if "class_weights" in task else None
        smoothing = task.get("label_smoothing", 0.0)
        return F.cross_entropy(rows(task, result), y, weight, ignore_index=IGNORED, label_smoothing=smoothing)
    function = {"bce": F.binary_cross_entropy_with_logits, "mse": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}[kind]
    numbers = {"delta": task["huber_delta"]} if kind == "huber" else {}
    return function(result, y.to(result.dtype), **numbers)


def arguments(task):
    """The options of the command line."""
    given = ["--loss", task["loss"]]
    for name in ("label_smoothing", "huber_delta"):
        given += [f"--{name.replace('_', '-')}", task[name]] if name in task else []
    if "class_weights" in task:
        given += ["--class-weights", ",".join(str(weight) for weight in task["class_weights"])]
    return given + (["--ignore-label", task["ignore_label"]] if "ignore_label" in task else [])
