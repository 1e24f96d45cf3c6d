#!/usr/bin/env python3
"""Run real training steps under budgets, through `bitbudget bench`, and print what they allocate and how long they take.

    cargo build --release
    python3 benches/budgets.py OUT_DIR [--networks squeezenet ...] [--budgets 15% 20% ... 90% 100MiB] [--steps 5] [--threads 2]

Prints a Markdown table in MiB: the budget, what the executor allocated, its part of the budget, how much of it is neither masters nor
optimizer state, and the time of a step beside that of FP32.
"""
import argparse, sys

from runs import arguments, model, parsed, record, row

ZOO = ["squeezenet", "shufflenet-v2", "mobilenet-v2", "resnet-18"]
BUDGETS = ["15%", "20%", "25%", "30%", "40%", "50%", "60%", "75%", "90%"]


def bench(options, name, label, *extra):
    file, batch = model(options, name)
    command = ["bench", file, "--batch", batch, "--threads", options.threads, "--steps", options.steps]
    return record(options, f"{file.stem}-{label}", command, *extra)


def main():
    p = argparse.ArgumentParser(description=__doc__.replace("%", "%%"), formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(p, ZOO)
    p.add_argument("--budgets", nargs="+", default=BUDGETS)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    options = parsed(p)
    mib = lambda size: f"{size / 2**20:.1f}"
    row("network", "budget", "MiB", "allocated", "used", "without masters and state", "gap", "step s", "of FP32's")
    row(*["---"] * 9)
    for name in options.networks:
        stem = model(options, name)[0].stem
        fp32 = bench(options, name, "fp32", "--method", "fp32")
        if "refused" in fp32:
            sys.exit(fp32["refused"])
        for budget in options.budgets:
            run = bench(options, name, budget, "--budget", budget)
            if "refused" in run:
                row(stem, budget, run["refused"].splitlines()[0], *[""] * 6)
                continue
            memory, seconds = run["memory"], run["step_seconds"]["median"]
            gap = f"{100 * run['solver']['gap']:.1f}%" if run.get("solver") else ""
            used = f"{100 * memory['allocated'] / memory['budget']:.1f}%"
            others = mib(memory["allocated_without_masters_and_state"])
            row(stem, budget, mib(memory["budget"]), mib(memory["allocated"]), used, others, gap, f"{seconds:.3f}", f"{seconds / fp32['step_seconds']['median']:.2f}")


if __name__ == "__main__":
    main()
