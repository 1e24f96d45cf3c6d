"""The standard's tests of operators: see README.md."""

import argparse
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

import reasons

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Later wheels hold no files of tests.
PINNED = "1.22"
TYPES = {TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
# Outputs that no definition fixes, or that are random.
RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}
# With `--inputs all`: the inputs that import has to know, by operator; all others stay inputs.
KNOWN = {
    "AffineGrid": [1], "BatchNormalization": [1, 2, 3, 4], "CenterCropPad": [1], "Clip": [1, 2], "Col2Im": [1, 2],
    "ConstantOfShape": [0], "CumSum": [1], "DFT": [1, 2], "Dropout": [1, 2], "Expand": [1], "GroupNormalization": [1, 2],
    "OneHot": [1, 2], "Pad": [1, 2, 3], "Range": [0, 1, 2], "ReduceL1": [1], "ReduceL2": [1], "ReduceLogSum": [1],
    "ReduceLogSumExp": [1], "ReduceMax": [1], "ReduceMean": [1], "ReduceMin": [1], "ReduceProd": [1], "ReduceSum": [1],
    "ReduceSumSquare": [1], "Reshape": [1], "Resize": [1, 2, 3], "Slice": [1, 2, 3, 4], "Split": [1], "Squeeze": [1],
    "Tile": [1], "TopK": [1], "Trilu": [1], "Unsqueeze": [1], "Upsample": [1],
}


def tensors_only(graph):
    values = list(graph.input) + list(graph.output)
    return all(v.type.HasField("tensor_type") and v.type.tensor_type.elem_type in TYPES for v in values)


def known(model, arrays, mode, operator):
    """The positions of inputs that become initializers."""
    graph = model.graph
    if mode == "all":
        wanted = KNOWN.get(operator, [])
        names = {name for node in graph.node if node.op_type == operator for i, name in enumerate(node.input) if i in wanted}
        return [i for i, value in enumerate(graph.input) if value.name in names]
    floats = [i for i, array in enumerate(arrays) if array.dtype == np.float32 and array.size]
    return [i for i in range(len(arrays)) if i not in floats[:1]]


def read(path):
    return numpy_helper.to_array(onnx.load_tensor(path))


def write(folder, case, operator, mode):
    """Writes a test as NAME.onnx, NAME.npz and NAME.json."""
    model = onnx.load(pathlib.Path(case.model_dir) / "model.onnx")
    data, graph = pathlib.Path(case.model_dir) / "test_data_set_0", model.graph
    inputs = [read(data / f"input_{i}.pb") for i in range(len(graph.input))]
    outputs = [read(data / f"output_{i}.pb") for i in range(len(graph.output))]
    fixed = set(known(model, inputs, mode, operator))
    for i in fixed:
        graph.initializer.append(numpy_helper.from_array(inputs[i], graph.input[i].name))
    left = [value for i, value in enumerate(graph.input) if i not in fixed]
    arrays = {f"in{i}": inputs[j] for i, j in enumerate(j for j in range(len(inputs)) if j not in fixed)}
    arrays |= {f"out{i}": output for i, output in enumerate(outputs)}
    del graph.input[:]
    graph.input.extend(left)
    statistics = [n for n in graph.node if n.op_type == "BatchNormalization"]
    record = {
        "operators": sorted({n.op_type if n.domain in ("", "ai.onnx") else f"{n.domain}.{n.op_type}" for n in graph.node}),
        "evaluation": any(not any(a.name == "training_mode" and a.i for a in n.attribute) for n in statistics),
        "inputs": [value.name for value in left], "outputs": [value.name for value in graph.output],
        "rtol": case.rtol, "atol": case.atol,
    }
    (folder / f"{case.name}.onnx").write_bytes(model.SerializeToString())
    arrays = {name: array if array.dtype == np.float32 else array.astype(np.float64) for name, array in arrays.items()}
    np.savez(folder / f"{case.name}.npz", **arrays)
    (folder / f"{case.name}.json").write_text(json.dumps(record) + "\n")


def generate(folder, mode, wanted):
    """Writes the tests that are of our types; how many there are in all, and the operator of each."""
    version = importlib.metadata.version("onnx")
    if not version.startswith(PINNED):
        raise SystemExit(f"onnx {PINNED} is needed, whose wheel holds the tests; this is {version}")
    from onnx.backend.test.loader import load_model_tests

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases = load_model_tests(kind="node")
    graphs = {case.name: onnx.load(pathlib.Path(case.model_dir) / "model.onnx").graph for case in cases}
    operators, others = {}, 0
    for case in cases:
        graph = graphs[case.name]
        # The test that it was expanded from has the operator.
        origin = graphs.get(case.name.split("_expanded")[0], graph)
        if not tensors_only(graph) or RANDOM & {n.op_type for n in graph.node} or any(n.domain for n in graph.node):
            others += 1
        elif wanted in case.name:
            operators[case.name] = origin.node[0].op_type
            write(folder, case, operators[case.name], mode)
    return len(cases), others, operators


def table(title, findings, most):
    """Prints how many pass, and why the others fail."""
    passed = [f for f in findings if f["stage"] is None]
    share = 100 * len(passed) / max(len(findings), 1)
    print(f"\n{title}: {len(findings)}, passed {len(passed)} ({share:.1f}%)")
    failed = [f for f in findings if f["stage"] is not None]
    for stage in ("import", "compile", "run", "result", "panic"):
        of_stage = [(f["test"].removeprefix("test_"), f["reason"].split("\n")) for f in failed if f["stage"] == stage]
        if of_stage:
            print(f"  failed in stage {stage}: {len(of_stage)}")
            reasons.print_reasons(of_stage, most)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wanted", nargs="?", default="", help="only tests whose name contains this")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "node-tests")
    parser.add_argument("--inputs", choices=["one", "all"], default="one",
                        help="one: the first floating-point input stays an input; all: those that import need not know stay")
    parser.add_argument("--profile", default="dev", help="of cargo: release or dev")
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--unclaimed", action="store_true", help="also count tests of operators without a row, by operator")
    arguments = parser.parse_args()
    if not arguments.no_build:
        command = ["cargo", "build", "--profile", arguments.profile, "-p", "bitbudget-tests", "--bin", "standard"]
        subprocess.run(command, cwd=ROOT, check=True)
    total, others, operators = generate(arguments.folder, arguments.inputs, arguments.wanted)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = target / ("debug" if arguments.profile == "dev" else arguments.profile) / "standard"
    lines = subprocess.run([binary, arguments.folder], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    findings = [json.loads(line) for line in lines]
    (arguments.folder / "findings.jsonl").write_text("".join(json.dumps(f) + "\n" for f in findings))
    plain = [f for f in findings if "_expanded" not in f["test"]]
    expanded = [f for f in findings if "_expanded" in f["test"]]
    claimed = [f for f in plain if not f["unclaimed"]]
    rows = {operators[f["test"]] for f in claimed}
    print(f"onnx {importlib.metadata.version('onnx')}: {total} tests, {others} of other types, other domains or at random")
    print(f"{len(findings)} tests of FP32, int32, int64 and bool tensors: {len(plain)} of operators, {len(expanded)} expanded")
    most = None if arguments.wanted else 12
    table(f"tests of the {len(rows)} claimed operators", claimed, most)
    table("expanded tests of the claimed operators", [f for f in expanded if operators[f["test"]] in rows], most)
    if arguments.unclaimed:
        print("\ntests of operators without a row, by operator:")
        reasons.print_reasons([(f["test"].removeprefix("test_"), f["unclaimed"]) for f in plain if f["unclaimed"]], 3)


if __name__ == "__main__":
    main()
