#!/usr/bin/env python3
"""Compare the embedded solver with HiGHS on the programs of real networks, through `bitbudget assign`.

    cargo build --release --features bitbudget-cli/highs
    python3 benches/solvers.py OUT_DIR [--networks squeezenet ... resnet-50.onnx:32] [--budgets 15 20 30 45 60 90]
        [--seconds 10] [--solvers embedded highs]

Prints a Markdown table: cost of the assignment, certified gap to the least cost, seconds; and the cost by the first solver over that by the
second.
"""
import argparse

from runs import arguments, model, parsed, record, row

ZOO = ["squeezenet", "shufflenet-v2", "mobilenet-v2", "resnet-18"]


def assign(options, name, budget, solver):
    file, batch = model(options, name)
    command = ["assign", file, "--batch", batch, "--budget", f"{budget}%"]
    return record(options, f"{file.stem}-{budget}-{solver}", command, "--solver", solver, "--solve-seconds", options.seconds)


def cells(run):
    """Cost, gap and seconds of a run."""
    if "refused" in run:
        return [run["refused"].splitlines()[0], "", ""]
    if run.get("solver") is None:
        return ["fp32", "", ""]
    solver = run["solver"]
    return [f"{solver['cost']:.4g}", f"{100 * solver['gap']:.1f}%", f"{solver['seconds']:.1f}"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(p, ZOO)
    p.add_argument("--budgets", nargs="+", type=int, default=[15, 20, 30, 45, 60, 90], help="in percent of FP32's peak")
    p.add_argument("--seconds", type=float, default=10, help="--solve-seconds")
    p.add_argument("--solvers", nargs="+", default=["embedded", "highs"])
    options = parsed(p)
    heads = [f"{solver} {what}" for solver in options.solvers for what in ("cost", "gap", "s")]
    row("network", "budget", *heads, "ratio")
    row(*["---"] * (len(heads) + 3))
    for name in options.networks:
        for budget in options.budgets:
            runs = [assign(options, name, budget, solver) for solver in options.solvers]
            costs = [run["solver"]["cost"] for run in runs if run.get("solver")]
            ratio = f"{costs[0] / costs[1]:.3f}" if len(costs) == 2 and costs[1] > 0 else ""
            row(model(options, name)[0].stem, f"{budget}%", *[cell for run in runs for cell in cells(run)], ratio)


if __name__ == "__main__":
    main()
