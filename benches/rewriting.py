#!/usr/bin/env python3
"""Run real training steps with and without rewriting, and print what that does to memory, to time and to the weights.

    cargo build --release
    python3 benches/rewriting.py OUT_DIR [--networks squeezenet ... FILE.onnx:BATCH] [--rounds 3] [--steps 3] [--threads 2]

Rounds of both alternate; times are the medians over all of them. Weights are compared after 10 steps of 1/4 of the batch on synthetic data.
Prints a Markdown table: MiB that the executor allocated with and without, both ratios, and whether the weights are the same bytes.
"""
import argparse, filecmp, statistics, subprocess, sys

from runs import arguments, model, parsed, record, row

ZOO = ["squeezenet", "shufflenet-v2", "mobilenet-v2", "resnet-18"]
METHODS = {"fp32": ["--method", "fp32"], "r = 0.5": ["--low-ratio", "0.5"], "r = 1.0": ["--low-ratio", "1.0"]}
WAYS = {"with": [], "without": ["--no-rewrite"]}


def bench(options, file, batch, method, way, label):
    command = ["bench", file, "--batch", batch, "--threads", options.threads, "--steps", options.steps]
    run = record(options, f"{file.stem}-{method}-{way}-{label}", command, *METHODS[method], *WAYS[way])
    if "refused" in run:
        sys.exit(run["refused"])
    return run


def weights(options, file, batch, method):
    """Whether both ways lead to the same weights."""
    quarter = max(1, int(batch) // 4)
    saved = {way: options.out / f"{file.stem}-{method}-{way}.trained.onnx" for way in WAYS}
    for way, path in saved.items():
        command = ["train", file, "--data", f"synthetic:{10 * quarter}", "--batch", quarter, "--steps", 10, "--threads", options.threads]
        line = [options.bitbudget, *command, *METHODS[method], *WAYS[way], "--save", path]
        done = subprocess.run(list(map(str, line)), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr.strip())
    same = filecmp.cmp(*saved.values(), shallow=False)
    for path in saved.values():
        path.unlink()
    return "yes" if same else "no"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(p, ZOO)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    options = parsed(p)
    row("network", "formats", "with", "without", "memory", "time", "same weights")
    row(*["---"] * 7)
    for name in options.networks:
        file, batch = model(options, name)
        for method in METHODS:
            runs = {way: [] for way in WAYS}
            for round in range(options.rounds):
                for way in WAYS:
                    runs[way].append(bench(options, file, batch, method, way, round))
            memory = {way: found[0]["memory"]["allocated"] for way, found in runs.items()}
            seconds = {way: statistics.median(run["step_seconds"]["median"] for run in found) for way, found in runs.items()}
            mib = [f"{memory[way] / 2**20:.1f}" for way in WAYS]
            ratios = [f"{of['with'] / of['without']:.2f}" for of in (memory, seconds)]
            row(file.stem, method, *mib, *ratios, weights(options, file, batch, method))


if __name__ == "__main__":
    main()
