"""Saved networks in ONNX Runtime and in PyTorch."""

import json

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F

import cases
import peer

onnxruntime.set_default_logger_severity(4)
CLOSE = 1e-5


def runtime_scores(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    scores = session.run(None, {session.get_inputs()[0].name: x})[0]
    return torch.from_numpy(scores.reshape(scores.shape[0], scores.shape[1])).double()


def loss_in_runtime(path, x, y):
    return F.cross_entropy(runtime_scores(path, x), torch.from_numpy(y)).item()


def scores_in_torch(model, x, dtype=torch.float64):
    run = peer.Run(model.opset_import[0].version, dtype, False)
    values = {i.name: peer.tensor(i, dtype) for i in model.graph.initializer}
    return cases.evaluate(model, x.to(dtype), run, values).double()


def check(case, saved, name):
    """What is wrong with a saved network, or nothing: ONNX Runtime, PyTorch and `eval` must come to the same scores."""
    arrays = np.load(case / f"{name}.npz")
    record = json.loads((saved / f"{name}.json").read_text())
    ours = torch.tensor(record["logits"]).double()
    model = onnx.load(saved / f"{name}.onnx")
    try:
        onnx.checker.check_model(model, full_check=True)
        theirs = runtime_scores(saved / f"{name}.onnx", arrays["x"])
    except Exception as error:  # Of many kinds, some of which are no classes of ours to know.
        return f"ONNX Runtime: {error}"
    x = torch.from_numpy(arrays["x"]).double()
    exact = scores_in_torch(model, x)
    # What rounding alone makes of the scores: of the input, and of every result, which counts where results cancel out.
    noise = 2.0**-24 * torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], list(x.shape)))
    rounded = [scores_in_torch(model, x * (1 + sign * noise)) for sign in (1, -1)] + [scores_in_torch(model, x, torch.float32)]
    own = max((scores - exact).abs().max().item() for scores in rounded)
    tolerance = max(CLOSE * max(exact.abs().max().item(), 1e-2), cases.OWN_DISTANCES * own)
    for other, scores in (("ONNX Runtime", theirs), ("PyTorch", exact)):
        off = (ours - scores).abs().max().item()
        if not off <= tolerance:
            return f"scores are {off:.2e} off those of {other} (tolerance {tolerance:.2e})"
    return None
