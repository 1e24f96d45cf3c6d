#!/usr/bin/env python3
"""Compare bitbudget's training step with PyTorch's on the same ONNX files; see compare.md.

    cargo build --release
    python3 benches/compare.py --python .torch/bin/python --peer torch_step.py [--networks resnet-18 ...] [--widths 1.0 0.25]
        [--batch 128] [--threads 2] [--steps 5] [--rounds 2] [--json FILE]

Every round runs each program once, one after the other, so that all of them see the same machine; a program's time is the
smallest of its medians. Prints a Markdown table of ratios to PyTorch's better layout.
"""
import argparse, json, pathlib, subprocess, tempfile

OURS = {"fp32": ["--method", "fp32"], "r = 0.5": ["--low-ratio", "0.5"], "r = 1.0": ["--low-ratio", "1.0"]}


def run(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def peer(options, model):
    best = None
    for layout in ("nchw", "nhwc"):
        command = [options.python, options.peer, model, "--batch", options.batch, "--threads", options.threads,
                   "--steps", options.steps, "--layout", layout]
        record = json.loads(run(map(str, command)).splitlines()[-1])
        if best is None or record["median_s"] < best["median_s"]:
            best = record
    return {"seconds": best["median_s"], "mib": best["peak_growth_mib"], "layout": best["layout"]}


def ours(options, model, extra):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [options.bitbudget, "bench", model, "--batch", options.batch, "--threads", options.threads,
                   "--steps", options.steps, "--json", out.name, *extra]
        run(map(str, command))
        record = json.load(open(out.name))
    memory = record["memory"]
    return {"seconds": record["step_seconds"]["median"], "predicted": memory["predicted"],
            "allocated": memory["allocated"], "resident": memory.get("resident"),
            "mib": memory["allocated_without_masters_and_state"] / 2**20}


def better(old, new):
    return new if old is None or new["seconds"] < old["seconds"] else old


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", default="python3", help="a Python with torch and onnx")
    p.add_argument("--peer", default="../shared/bench/torch_step.py", help="the PyTorch step")
    p.add_argument("--bitbudget", default="target/release/bitbudget")
    p.add_argument("--networks", nargs="+", default=["squeezenet", "shufflenet-v2", "mobilenet-v2", "resnet-18"])
    p.add_argument("--widths", nargs="+", default=["1.0", "0.25"])
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--json", type=pathlib.Path)
    options = p.parse_args()
    rows = []
    columns = [f"{name} {what}" for what in ("time", "memory") for name in OURS]
    print("| network | width | PyTorch s | PyTorch MiB | " + " | ".join(columns) + " |")
    print("|" + "---|" * (4 + len(columns)))
    for width in options.widths:
        for network in options.networks:
            with tempfile.TemporaryDirectory() as folder:
                model = str(pathlib.Path(folder) / f"{network}.onnx")
                run([options.bitbudget, "zoo", network, "--width", width, "-o", model])
                best = {name: None for name in ["peer", *OURS]}
                for _ in range(options.rounds):
                    best["peer"] = better(best["peer"], peer(options, model))
                    for name, extra in OURS.items():
                        best[name] = better(best[name], ours(options, model, extra))
            reference = best["peer"]
            time = [f"{best[name]['seconds'] / reference['seconds']:.2f}" for name in OURS]
            memory = [f"{best[name]['mib'] / reference['mib']:.2f}" for name in OURS]
            cells = [network, width, f"{reference['seconds']:.3f}", f"{reference['mib']:.0f}", *time, *memory]
            print("| " + " | ".join(cells) + " |", flush=True)
            rows.append({"network": network, "width": width, **best})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


main()
