"""Finds a small part of a network that fails as the whole does."""

import argparse
import copy
import json
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

import cases
import peer
import run
import saved
import tasks


def failures(checker, model, record):
    """The checks that fail, with the kind of their message; nothing for a model that PyTorch cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        try:
            onnx.checker.check_model(model, full_check=True)
            numbers = cases.numbers(model, record["seed"], record["batch"], record)
        except Exception:  # Whatever is wrong with it, it is no smaller network.
            return set()
        cases.write(folder, "seed-0", model, *numbers)
        (folder / "saved").mkdir()
        command = [checker, folder, "--save", folder / "saved", "--threads", "1"]
        lines = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        found = [json.loads(line) for line in lines]
        found = {(f["check"], run.kind(f["detail"])) for f in found if f["outcome"] == "failed"}
        if (folder / "saved" / "seed-0.onnx").exists() and not found:
            fault = saved.check(folder, folder / "saved", "seed-0")
            found |= {("onnx runtime", run.kind(fault))} if fault else set()
        return found


def pruned(model):
    """The model without nodes and initializers that nothing reads."""
    nodes = cases.needed(model.graph)
    read = {name for node in nodes for name in node.input}
    initializers = [i for i in model.graph.initializer if i.name in read]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(initializers)
    del model.graph.value_info[:]
    kept = [i for n, i in enumerate(model.graph.input) if n == 0 or i.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def replaced(model, old, new):
    """The model with every reader of a tensor reading another."""
    model = copy.deepcopy(model)
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            if name == old:
                node.input[at] = new
    return pruned(model)


def ended(model, tensor, size, classes):
    """The model that scores the elements of one of its tensors."""
    model = copy.deepcopy(model)
    weight = np.random.default_rng(0).standard_normal([size, classes]).astype(np.float32) / np.float32(size**0.5)
    output = model.graph.output[0].name
    for node in [n for n in model.graph.node if output in n.output or n.name == "last_rows"]:
        model.graph.node.remove(node)
    for initializer in [i for i in model.graph.initializer if i.name == "last_weight"]:
        model.graph.initializer.remove(initializer)
    model.graph.initializer.append(numpy_helper.from_array(weight, "last_weight"))
    model.graph.node.append(helper.make_node("Flatten", [tensor], ["last_rows"], name="last_rows", axis=1))
    model.graph.node.append(helper.make_node("MatMul", ["last_rows", "last_weight"], [output], name="last"))
    return pruned(model)


def known(model, tensor, value, batch):
    """The model with a shape or number that it computes given as it is."""
    model, value = copy.deepcopy(model), value.clone()
    if value.dim() == 1 and value.numel() and value[0] == batch and (value > 0).all():
        value[0] = -1
    name = f"{tensor}_known"
    model.graph.initializer.append(numpy_helper.from_array(value.numpy(), name))
    return replaced(model, tensor, name)


def smaller(model, record):
    """Models with fewer nodes, those that leave out most first."""
    values = {i.name: peer.tensor(i, torch.float64) for i in model.graph.initializer}
    x, _ = tasks.data(record, model, np.random.default_rng(0), 1, record["batch"])
    values |= {name: array[0] for name, array in cases.converted(x, lambda array: array.double()).items()}
    state = peer.Run(model.opset_import[0].version, torch.float64, True)
    for node in model.graph.node:
        peer.compute(node, values, state)
    real = lambda name: isinstance(values.get(name), torch.Tensor) and values[name].is_floating_point()
    batched = lambda name: real(name) and values[name].dim() > 0 and values[name].shape[0] == record["batch"]
    for node in reversed(model.graph.node):
        value = values[node.output[0]]
        if isinstance(value, torch.Tensor) and value.dtype == torch.int64 and node.input:
            yield known(model, node.output[0], value, record["batch"])
    has_scores = "classes" in record and record.get("of", "examples") == "examples"
    for node in model.graph.node[:-1]:
        for name in node.output:
            if has_scores and batched(name) and node.name != "last_rows":
                yield ended(model, name, values[name].numel() // record["batch"], record["classes"])
    for node in reversed(model.graph.node):
        for output in node.output:
            for name in node.input:
                if real(output) and real(name) and values[name].shape == values[output].shape:
                    yield replaced(model, output, name)
    first = model.graph.input[0].name
    for node in model.graph.node:
        for output in node.output:
            if real(output) and values[output].shape == values[first].shape and first not in node.input:
                yield replaced(model, output, first)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--check", default="", help="the check that is to fail (any that does without)")
    parser.add_argument("--profile", default="release", help="of cargo: release or dev")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="folder for the smallest network")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checker = run.binaries(arguments.profile)[0]
    model, record, _ = cases.case(arguments.seed)
    model = pruned(model)
    wanted = {f for f in failures(checker, model, record) if f[0].startswith(arguments.check)}
    if not wanted:
        raise SystemExit("it does not fail")
    wanted = {sorted(wanted)[0]}
    print(f"{len(model.graph.node)} nodes: {wanted}")
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in smaller(model, record):
            if len(candidate.graph.node) < len(model.graph.node) and wanted & failures(checker, candidate, record):
                model, shrunk = candidate, True
                break
    print(onnx.printer.to_text(model))
    if arguments.output:
        shutil.rmtree(arguments.output, ignore_errors=True)
        arguments.output.mkdir(parents=True)
        numbers = cases.numbers(model, record["seed"], record["batch"], record)
        cases.write(arguments.output, f"seed-{arguments.seed:06}", model, *numbers)


if __name__ == "__main__":
    main()
