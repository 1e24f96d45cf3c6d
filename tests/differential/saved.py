"""Saved networks in ONNX Runtime and in PyTorch."""

import json

import numpy as np
import onnx
import onnxruntime
import torch

import cases
import peer
import tasks

onnxruntime.set_default_logger_severity(4)
CLOSE = 1e-5


def runtime_result(path, x):
    """The result of ONNX Runtime for inputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # A network that is saved takes all whole numbers as 64-bit integers.
    wide = lambda array: array.astype(np.int64) if array.dtype == np.int32 else array
    convert = lambda given: wide(x[given.name]) if given.type == "tensor(int64)" else x[given.name]
    result = session.run(None, {given.name: convert(given) for given in session.get_inputs()})[0]
    return torch.from_numpy(result).double()


def parts(model, task, arrays):
    """The inputs by name: of all examples, or of each batch where the batch counts: in a network's own loss, and in one for a size alone."""
    is_fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value > 0
    count = len(arrays[model.graph.input[0].name]) // task["batch"] if is_fixed or task["loss"].startswith("output:") else 1
    return [{given.name: np.split(arrays[given.name], count)[at] for given in model.graph.input} for at in range(count)]


def loss_in_runtime(path, task, arrays):
    y = torch.from_numpy(arrays["y"]) if "y" in arrays else None
    results = [runtime_result(path, part) for part in parts(onnx.load(path), task, arrays)]
    if y is None:
        return torch.stack([tasks.loss(task, result, y) for result in results]).mean().item()
    return tasks.loss(task, torch.cat(results), y).item()


def result_in_torch(model, x, dtype=torch.float64):
    run = peer.Run(model.opset_import[0].version, dtype, False)
    values = {i.name: peer.tensor(i, dtype) for i in model.graph.initializer}
    return cases.evaluate(model, cases.converted(x, lambda array: array.to(dtype)), run, values).double()


def check(case, saved, name):
    """What is wrong with a saved network, or nothing: ONNX Runtime, PyTorch and `eval` must come to the same scores, or to the same loss."""
    arrays = dict(np.load(case / f"{name}.npz"))
    task = json.loads((case / f"{name}.json").read_text())
    ours = torch.tensor(json.loads((saved / f"{name}.json").read_text())["results"]).double().reshape(-1)
    model = onnx.load(saved / f"{name}.onnx")
    each = parts(model, task, arrays)
    flat = lambda result: result.mean().reshape(1) if task["loss"].startswith("output:") else tasks.rows(task, result).reshape(-1)
    results = lambda of: torch.cat([flat(of(part)) for part in each])
    try:
        onnx.checker.check_model(model, full_check=True)
        theirs = results(lambda x: runtime_result(saved / f"{name}.onnx", x))
    except Exception as error:  # Of many kinds, some of which are no classes of ours to know.
        return f"ONNX Runtime: {error}"
    each = [{name: torch.from_numpy(array) for name, array in x.items()} for x in each]
    # What rounding alone makes of the scores: of the input, and of every result, which counts where results cancel out.
    random = np.random.default_rng(0)
    noise = lambda array, sign: array.double() * (1 + sign * 2.0**-24 * torch.from_numpy(random.choice([-1.0, 1.0], list(array.shape))))
    nudged = lambda sign: lambda x: result_in_torch(model, cases.converted(x, lambda array: noise(array, sign)))
    try:
        exact = results(lambda x: result_in_torch(model, x))
        rounded = [results(nudged(1)), results(nudged(-1)), results(lambda x: result_in_torch(model, x, torch.float32))]
    except Exception as error:
        return f"PyTorch: {error}"
    own = max((result - exact).abs().max().item() for result in rounded)
    tolerance = max(CLOSE * max(exact.abs().max().item(), 1e-2), cases.OWN_DISTANCES * own)
    for other, result in (("ONNX Runtime", theirs), ("PyTorch", exact)):
        off = (ours - result).abs().max().item()
        if not off <= tolerance:
            return f"results are {off:.2e} off those of {other} (tolerance {tolerance:.2e})"
    return None
