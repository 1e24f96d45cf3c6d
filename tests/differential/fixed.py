"""Chooses the networks in `fixed`, which `cargo test` trains: small ones that together hold as many odd forms as possible.

`python tests/differential/fixed.py 0 2999` chooses among the networks of these seeds and writes the folder again.
"""

import argparse
import concurrent.futures
import pathlib

import onnx
import torch

import cases
import run
import tasks

COUNT = 54
LARGEST = 16_000  # bytes of a network's three files
NODE = 250  # bytes that weigh as much as the time of a node's checks
# Attributes that are part of a form by their value; of the others it counts whether they are there.
BY_VALUE = {"auto_pad", "ceil_mode", "count_include_pad", "transA", "transB", "axis", "keepdims", "to", "noop_with_empty_axes"}

OPTIONS = {"label_smoothing", "class_weights", "ignored", "ignore_label"}


def features(model, task):
    """The forms of operators in a network, and of its task, as a set of tuples."""
    opset = model.opset_import[0].version
    found = {("operator set", opset), ("IR version", model.ir_version), ("batch", str(model.graph.input[0].type)[:40])}
    found.add(("task", task["loss"], task.get("of", "examples"), *sorted(name for name in task if name in OPTIONS)))
    kinds = [kind for kind, _ in tasks.inputs(model).values()]
    found |= {("inputs", len(kinds)), *(("input", kind, at > 0) for at, kind in enumerate(kinds))}
    constants = {i.name for i in model.graph.initializer} | {
        name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in cases.needed(model.graph):
        op = node.op_type
        found.add((op, "version", onnx.defs.get_schema(op, opset).since_version))
        found.add((op, "inputs", tuple(name in constants for name in node.input) if op != "Concat" else len(node.input)))
        found.add((op, "on", made.get(node.input[0] if node.input else "", "nothing")))
        for attribute in node.attribute:
            value = onnx.helper.get_attribute_value(attribute) if attribute.name in BY_VALUE else ""
            found.add((op, attribute.name, value))
            if attribute.name in ("pads", "strides", "dilations", "kernel_shape"):
                found.add((op, attribute.name, len(set(attribute.ints)) > 1, len(attribute.ints)))
    return found


def sums_over_batch(model):
    """Whether a sum goes over the batch, so that evaluation depends on the batch's size."""
    for node in model.graph.node:
        if node.op_type == "ReduceSum":
            axes = [list(a.ints) for a in node.attribute if a.name == "axes"]
            axes += [onnx.numpy_helper.to_array(i).tolist() for i in model.graph.initializer if i.name in node.input[1:]]
            if [0] in axes or not axes:
                return True
    return False


def candidate(seed):
    """The forms of a seed's network and the size of its case, or nothing where it does not fit."""
    torch.set_num_threads(1)
    try:
        model, task, _ = cases.generate(seed)
    except cases.Unfit:
        return seed, set(), 0
    size = model.ByteSize()
    is_fit = size <= LARGEST / 2 and not sums_over_batch(model)
    return seed, features(model, task) if is_fit else set(), size + NODE * len(cases.needed(model.graph))


def gain(forms, covered):
    """The number of new forms, of which an operator's first ones count most."""
    operators = lambda of: {form[0] for form in of if form[1] == "version"}
    return len(forms) + 30 * len(operators(forms) - operators(covered))


def chosen(candidates):
    """Seeds of networks, each of which adds most forms for its size to those before it."""
    covered, seeds, left = set(), [], [c for c in candidates if c[1]]
    while left and len(seeds) < COUNT:
        best = max(left, key=lambda c: (gain(c[1] - covered, covered) / (c[2] + 4000) ** 0.5, -c[0]))
        left.remove(best)
        seeds.append(best[0])
        covered |= best[1]
    everything = set().union(*(c[1] for c in candidates))
    print(f"{len(seeds)} networks with {len(covered)} of {len(everything)} forms")
    return seeds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    folder = pathlib.Path(__file__).parent / "fixed"
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
        candidates = list(pool.map(candidate, range(arguments.first, arguments.last + 1), chunksize=20))
        unfit = True
        while unfit:
            seeds = chosen(candidates)
            for path in folder.glob("seed-*"):
                path.unlink()
            unfit = {seed: why for seed, why in zip(seeds, pool.map(run.make, [folder] * len(seeds), seeds)) if why is not None}
            candidates = [c for c in candidates if c[0] not in unfit]
            for seed, why in unfit.items():
                print(f"seed {seed}: {why}")
    print(f"{sum(path.stat().st_size for path in folder.iterdir())} bytes in {folder}")


if __name__ == "__main__":
    main()
