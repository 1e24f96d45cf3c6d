"""Times import and compilation of graphs of up to 20,000 nodes: see README.md."""

import argparse
import json
import os
import pathlib
import subprocess
import time

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIDTH = 64


def residual(nodes):
    """Residual blocks of two small products, a rectifier, a scale and an addition: five nodes each, two weights."""
    random, graph, weights, x = np.random.default_rng(0), [], [], "x"
    for i in range(nodes // 5):
        a, b = f"a{i}", f"b{i}"
        for name in (a, b):
            weights.append(numpy_helper.from_array((random.standard_normal((WIDTH, WIDTH)) / WIDTH).astype(np.float32), name))
        graph += [
            helper.make_node("MatMul", [x, a], [f"p{i}"]), helper.make_node("Relu", [f"p{i}"], [f"r{i}"]),
            helper.make_node("MatMul", [f"r{i}", b], [f"q{i}"]), helper.make_node("Tanh", [f"q{i}"], [f"t{i}"]),
            helper.make_node("Add", [x, f"t{i}"], [f"x{i}"]),
        ]
        x = f"x{i}"
    info = helper.make_tensor_value_info
    whole = helper.make_graph(graph, "residual", [info("x", TensorProto.FLOAT, ["N", WIDTH])], [info(x, TensorProto.FLOAT, ["N", WIDTH])], weights)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def seconds(command):
    start = time.monotonic()
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="*", default=[1250, 2500, 5000, 10000, 20000])
    parser.add_argument("--profile", default="dev", help="of cargo: release or dev")
    parser.add_argument("--no-build", action="store_true")
    arguments = parser.parse_args()
    if not arguments.no_build:
        subprocess.run(["cargo", "build", "--profile", arguments.profile, "-p", "bitbudget-cli"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = target / ("debug" if arguments.profile == "dev" else arguments.profile) / "bitbudget"
    path, found = target / "large.onnx", target / "large.json"
    common = ["--batch", 512, "--quiet"]
    print("| nodes | training nodes | demote | budget of 60% | gap |\n|---|---|---|---|---|")
    for nodes in arguments.nodes:
        path.write_bytes(residual(nodes).SerializeToString())
        text = subprocess.run([binary, "inspect", path, *map(str, common), "--text", "training"], check=True, capture_output=True, text=True).stdout
        demote = seconds([binary, "assign", path, *common, "--method", "demote"])
        budget = seconds([binary, "assign", path, *common, "--budget", "60%", "--json", found])
        gap = json.loads(found.read_text())["solver"]["gap"]
        print(f"| {nodes} | {text.count(' = ')} | {demote:.2f} s | {budget:.2f} s | {gap:.2%} |", flush=True)
    path.unlink()
    found.unlink()


if __name__ == "__main__":
    main()
