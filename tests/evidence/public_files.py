"""Trains every ONNX file of a folder for three steps: see README.md."""

import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import onnx

import reasons

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH, STEPS = 2, 3
# What stands for sizes that a file leaves open, sequences and sides of images: the first that it takes.
OPEN = 64, 8, 512
# Fewer nodes are a test of an operator, no network.
FEWEST_NODES = 5


def is_whole(model):
    """Whether a file is a network: several nodes, weights, an input."""
    graph = model.graph
    weights = list(graph.initializer) + [n for n in graph.node if n.op_type in ("Constant", "ConstantOfShape")]
    given = {i.name for i in graph.initializer}
    return len(graph.node) >= FEWEST_NODES and bool(weights) and any(i.name not in given for i in graph.input)


def chosen(errors, options, size):
    """What a user would add to the options after reading these errors: sizes, and the output to train."""
    asked = re.findall(r"--dim (.+?)=(SIZE(?:, such as (\d+))?|\d+)", errors)
    sizes = {f"{name}={given if given.isdigit() else such or size}" for name, given, such in asked} - set(options)
    outputs = re.search(r"the graph has \d+ outputs, (.*?): say which one is trained", errors)
    more = [part for size in sorted(sizes) for part in ("--dim", size)]
    if outputs and "--output" not in options:
        more += ["--output", re.match(r"`(.*?)`", outputs[1])[1]]
    if "must hold scores of classes" in errors and "--loss" not in options:
        more += ["--loss", "mse"]
    return more


def parts(text):
    """The inputs of a graph's text and its output: element type and sizes by name, the sizes of the output."""
    shape = r"(f32|i32|bool)\[(.*?)\]"
    inputs = {name: (kind, sizes.split(",") if sizes else []) for name, kind, sizes in re.findall(rf'= input \{{name="(.*?)".*?\}} : {shape}', text)}
    number = re.search(r'return ".*" = (%\d+)', text)[1]
    sizes = re.search(rf"^ *{number} = .* : {shape}", text, re.MULTILINE)[2]
    return inputs, sizes.split(",") if sizes else []


def size(text):
    """A size such as 12, N or 12*N at the batch."""
    return int(np.prod([BATCH if part == "N" else int(part) for part in text.split("*")]))


def data(text, seed, options):
    """Random arrays for the inputs of a graph's text, by name, targets for its output, and the options with the loss that fits these."""
    random = np.random.default_rng(seed)
    inputs, output = parts(text)
    if output[:1] == ["1"]:
        # Behind a dimension of one, targets have the examples first.
        output = sorted(output, key=lambda part: "N" not in part)
    arrays = {}
    for name, (kind, sizes) in inputs.items():
        shape = [size(s) for s in sizes]
        # Ids that every table has.
        arrays[name] = random.standard_normal(shape).astype(np.float32) if kind == "f32" else random.integers(0, 2, shape)
    if len(inputs) == 1:
        arrays = {"x": arrays.popitem()[1]}
    shape = [size(s) for s in output]
    if "--loss" in options or len(shape) < 2 or shape[1 if len(shape) > 3 else -1] == 1:
        loss = [] if "--loss" in options else ["--loss", "mse"]
        return {**arrays, "y": random.standard_normal(shape).astype(np.float32)}, [*options, *loss]
    classes = shape.pop(1 if len(shape) > 3 else -1)
    return {**arrays, "y": random.integers(0, classes, shape)}, options


def run(command, seconds):
    try:
        result = subprocess.run([str(a) for a in command], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, "takes too long", ""
    except OSError as error:
        return None, str(error), ""
    if result.returncode < 0 or "panicked" in result.stderr:
        return result.returncode, "panicked: " + result.stderr[-300:], ""
    return result.returncode, result.stderr, result.stdout


def inspected(path, binary, seconds, size):
    """The status, errors and text of a file's graph, with the options and the batch that it asks for."""
    options, more, batch = [], [""], BATCH
    while more:
        status, errors, text = run([binary, "inspect", path, "--method", "fp32", "--batch", batch, "--text", "forward", *options], seconds)
        fixed = re.search(r"use a batch of (\d+)", errors)
        more = chosen(errors, options, size) if status != 0 else []
        options += more
        if fixed and int(fixed[1]) != batch:
            batch, more = int(fixed[1]), [""]
    return status, errors, text, options, batch


def check(path, binary, work, arguments):
    """A finding about a file."""
    row = {"file": path.name}
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # Of many kinds, which protobuf decides.
        return {**row, "stage": "read", "reasons": [f"{type(error).__name__}"], "whole": False}
    row |= {"whole": is_whole(model), "nodes": len(model.graph.node), "opset": max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)}
    for size in OPEN:
        status, errors, text, options, batch = inspected(path, binary, arguments.seconds, size)
        if status == 0 or "--dim" not in options:
            break
    row["options"] = options
    if status != 0:
        return {**row, "stage": "inspect", "reasons": reasons.problems(errors)}
    try:
        arrays, options = data(text, 0, options)
        np.savez(work, **arrays)
    except (MemoryError, ValueError, IndexError) as error:
        return {**row, "stage": "data", "reasons": [str(error)]}
    common = ["--data", f"npz:{work}", "--batch", batch, "--steps", STEPS, "--lr", 0.0001, "--quiet"]
    for stage, method in [("train", ["--method", "fp32"]), ("budget", ["--budget", arguments.budget, "--solve-seconds", 2, "--threads", 1])]:
        status, errors, _ = run([binary, "train", path, *common, *options, *method], arguments.seconds)
        if status != 0:
            return {**row, "stage": stage, "reasons": reasons.problems(errors)}
    return {**row, "stage": None, "reasons": []}


def table(title, rows):
    trained = [r for r in rows if r["stage"] in (None, "budget")]
    print(f"\n{title}: {len(rows)}; {len(trained)} train three steps in FP32, {sum(r['stage'] is None for r in rows)} also under the budget")
    for stage in ("read", "inspect", "data", "train", "budget"):
        failed = [(r["file"], r["reasons"]) for r in rows if r["stage"] == stage]
        if failed:
            print(f"  refused in stage {stage}: {len(failed)}")
            reasons.print_reasons(failed, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="ONNX files are looked for in it and below")
    parser.add_argument("wanted", nargs="*", help="only files whose path contains one of these")
    parser.add_argument("--findings", type=pathlib.Path, default=ROOT / "target" / "public-files.jsonl")
    parser.add_argument("--budget", default="80%")
    parser.add_argument("--seconds", type=int, default=120, help="the most that a command may take")
    parser.add_argument("--most", type=float, default=100, help="leaves out files of more MB")
    parser.add_argument("--all", action="store_true", help="also files that are no whole networks")
    parser.add_argument("--profile", default="dev", help="of cargo: release or dev")
    parser.add_argument("--no-build", action="store_true")
    arguments = parser.parse_args()
    if not arguments.no_build:
        subprocess.run(["cargo", "build", "--profile", arguments.profile, "-p", "bitbudget-cli"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = target / ("debug" if arguments.profile == "dev" else arguments.profile) / "bitbudget"
    arguments.findings.parent.mkdir(parents=True, exist_ok=True)
    rows, seen, work = [], set(), arguments.findings.with_suffix(".npz")
    with arguments.findings.open("w") as file:
        for path in sorted(arguments.folder.rglob("*.onnx")):
            wanted = not arguments.wanted or any(part in str(path) for part in arguments.wanted)
            if not wanted or path.stat().st_size > arguments.most * 1e6:
                continue
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest in seen:
                continue
            seen.add(digest)
            start = time.time()
            rows.append(check(path, binary, work, arguments))
            rows[-1] |= {"path": str(path), "seconds": round(time.time() - start, 1)}
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
            print(f"{rows[-1]['stage'] or 'trains'}: {path.name} ({rows[-1]['seconds']} s)", file=sys.stderr)
    table("whole networks", [r for r in rows if r["whole"]])
    others = [r for r in rows if not r["whole"]]
    if arguments.all:
        table("other files", others)
    elif others:
        print(f"\n{len(others)} other files: tests of operators, files that are no models")


if __name__ == "__main__":
    main()
