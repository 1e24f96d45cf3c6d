#!/usr/bin/env python3
"""Train networks on 10,000 MNIST digits under budgets, by the integer program and by other methods, and print test accuracies.

    cargo build --release
    python3 benches/accuracy.py OUT_DIR --data MNIST_DIR [--networks squeezenet@0.25 ...] [--budgets 20% 30% 45% 60%]
        [--seeds 0 1 2] [--epochs 5] [--methods fp32 ilp ilp-no-rewrite demote random uniform-high uniform-low]

`ilp` has a profile of a few batches at the first weights; `ilp-no-rewrite` is the same under as many bytes, without rewriting. Methods without a budget run once, beside all budgets. Promotion is on: within the
budget where there is one. Prints a Markdown table: mean test accuracy in percent over the seeds, with the least and the greatest.
"""
import argparse, subprocess

from runs import arguments, model, parsed, record, row

NETWORKS = ["squeezenet@0.25", "squeezenet@0.1", "resnet-18@0.25", "resnet-18@0.1"]
METHODS = ["fp32", "ilp", "ilp-no-rewrite", "demote", "random", "uniform-high", "uniform-low"]
FITTED = ["ilp", "ilp-no-rewrite", "demote", "random"]


def once(options, path, *command):
    """Has a command write a file that is not there yet; what it says where it writes none."""
    if path.exists():
        return ""
    done = subprocess.run([str(word) for word in (options.bitbudget, *command, "-o", path)], capture_output=True, text=True)
    return done.stderr.strip()


def in_bytes(options, file, budget):
    """A share of what FP32 takes with rewriting."""
    command = ["assign", file, "--batch", options.batch, "--method", "fp32"]
    peak = record(options, f"{file.stem}-peak", command)["memory"]["predicted"]
    return f"{int(peak * float(budget.rstrip('%')) / 100)}B"


def train(options, name, method, budget, seed):
    file, _ = model(options, name)
    data = ["--data", f"mnist:{options.data}"]
    label = f"{file.stem}-{method}-{budget}-{seed}"
    command = ["train", file, *data, "--epochs", options.epochs, "--lr", options.lr, "--seed", seed, "--threads", options.threads]
    if method.startswith("ilp"):
        way, limit = ([], budget) if method == "ilp" else (["--no-rewrite"], in_bytes(options, file, budget))
        profile, plan = options.out / f"{file.stem}.profile", options.out / f"{file.stem}-{method}-{budget}.toml"
        once(options, profile, "profile", file, *data)
        refused = once(options, plan, "assign", file, "--batch", options.batch, "--budget", limit, "--profile", profile, *way)
        return record(options, label, command, "--assignment", plan, *way) if plan.exists() else {"refused": refused}
    limit = ["--budget", budget] if method in FITTED else []
    return record(options, label, command, "--batch", options.batch, "--method", method, *limit)


def cell(runs):
    if "refused" in runs[0]:
        return "does not fit" if "budget" in runs[0]["refused"] else runs[0]["refused"].splitlines()[0]
    accuracies = [100 * run["test_accuracy"] for run in runs]
    mean = sum(accuracies) / len(accuracies)
    return f"{mean:.2f} ({min(accuracies):.2f} to {max(accuracies):.2f})"


def main():
    p = argparse.ArgumentParser(description=__doc__.replace("%", "%%"), formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(p, NETWORKS)
    p.add_argument("--data", required=True, help="folder with MNIST's IDX files")
    p.add_argument("--budgets", nargs="+", default=["20%", "30%", "45%", "60%"])
    p.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    p.add_argument("--methods", nargs="+", default=METHODS)
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=0.05)
    p.add_argument("--threads", type=int, default=2)
    options = parsed(p)
    row("network", "budget", *options.methods)
    row(*["---"] * (len(options.methods) + 2))
    for name in options.networks:
        for budget in options.budgets:
            cells = []
            for method in options.methods:
                limit = budget if method in FITTED else "any"
                cells.append(cell([train(options, name, method, limit, seed) for seed in options.seeds]))
            row(name, budget, *cells)


if __name__ == "__main__":
    main()
