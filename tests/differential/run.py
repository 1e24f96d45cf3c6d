"""Trains random networks beside PyTorch: see README.md."""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import torch

import cases
import saved
import tasks

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHUNK = 60


def make(folder, seed):
    """Writes the case of a seed; returns why there is none, if so."""
    torch.set_num_threads(1)
    try:
        cases.write(folder, f"seed-{seed:06}", *cases.case(seed))
    except cases.Unfit as error:
        return str(error)
    return None


def check_saved(folder, name):
    torch.set_num_threads(1)
    return saved.check(folder, folder / "saved", name)


def command_line(binary, folder, name):
    """What is wrong on the way through the command line: train, save, evaluate."""
    record = json.loads((folder / f"{name}.json").read_text())
    data, out = f"npz:{folder / name}.npz", folder / "saved" / f"{name}.cli.onnx"
    metrics = folder / f"{name}.jsonl"
    train = [
        "train", folder / f"{name}.onnx", "--data", data, "--batch", record["batch"], "--steps", len(record["losses"]),
        "--no-shuffle", "--lr", record["learning_rate"], "--lr-schedule", "constant", "--optimizer", record["optimizer"],
        "--loss-scale", record["loss_scale"], "--method", "fp32", "--metrics", metrics, "--save", out, "--quiet", *tasks.arguments(record),
    ]
    evaluate = ["eval", out, "--data", data, "--batch", record["batch"], "--json", "-", "--quiet", *tasks.arguments(record)]
    for arguments in (train, evaluate):
        result = subprocess.run([str(a) for a in [binary, *arguments]], capture_output=True, text=True)
        if result.returncode:
            return f"{arguments[0]} ends with status {result.returncode}: {result.stderr.strip()}"
    steps = [json.loads(line) for line in metrics.read_text().splitlines()]
    losses = [step["loss"] for step in steps if step["record"] == "step"]
    for loss, expected, tolerance in zip(losses, record["losses"], record["loss_tolerances"]):
        if not (loss is not None and abs(loss - expected) <= tolerance):
            return f"losses are {losses}, PyTorch's {record['losses']}"
    loss, expected = json.loads(result.stdout)["loss"], saved.loss_in_runtime(out, record, dict(np.load(folder / f"{name}.npz")))
    if not abs(loss - expected) <= 1e-4 * max(expected, 1e-2):
        return f"eval says that the loss is {loss}, ONNX Runtime {expected}"
    return None


def build(profile):
    command = ["cargo", "build", "--profile", profile, "-p", "bitbudget-tests", "-p", "bitbudget-cli", "--bins"]
    subprocess.run(command, cwd=ROOT, check=True)


def binaries(profile):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    folder = target / ("debug" if profile == "dev" else profile)
    return folder / "differential", folder / "bitbudget"


def checked(arguments, pool, folder, seeds):
    """Findings about the networks of some seeds, as the checker prints them."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "saved").mkdir(parents=True)
    findings = []
    for seed, unfit in zip(seeds, pool.map(make, [folder] * len(seeds), seeds)):
        if unfit is not None:
            findings.append({"network": f"seed-{seed:06}", "check": "generator", "outcome": "refused", "detail": unfit})
    checker, binary = binaries(arguments.profile)
    command = [checker, folder, "--save", folder / "saved", "--threads", str(arguments.jobs)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode not in (0, 1):
        raise SystemExit(f"{checker} ended with status {result.returncode}")
    findings += [json.loads(line) for line in result.stdout.splitlines()]
    names = sorted(path.stem for path in (folder / "saved").glob("*.onnx"))
    checks = [("onnx runtime", names, pool.map(check_saved, [folder] * len(names), names))]
    some = names[:arguments.command_line]
    checks.append(("command line", some, pool.map(command_line, [binary] * len(some), [folder] * len(some), some)))
    for check, checked_names, faults in checks:
        for name, fault in zip(checked_names, faults):
            outcome = {"outcome": "failed", "detail": fault} if fault else {"outcome": "agreed"}
            findings.append({"network": name, "check": check, **outcome})
    return findings


def kind(text):
    """A message without its names and numbers."""
    text = text.split("; recomputed")[0]
    text = re.sub(r"`[^`]*`|\[[^\]]*\]|%\d+", "_", text)
    text = re.sub(r"-?\d[\d.e+-]*", "N", text)
    return re.sub(r"(?:\S+ into bN _ and )*\S+ into bN _: ", "", text)[:110]


def summary(findings, seconds):
    networks = {f["network"] for f in findings if f["check"] != "generator"}
    failed = {f["network"] for f in findings if f["outcome"] == "failed"}
    print(f"{len(networks)} networks in {seconds:.0f} s, {len(networks) / seconds:.1f} a second; {len(failed)} failed")
    agreed = collections.Counter(f["check"].split(" ")[0] for f in findings if f["outcome"] == "agreed")
    print("agreed: " + ", ".join(f"{check} {count}" for check, count in sorted(agreed.items())))
    for outcome in ("refused", "failed"):
        groups = collections.defaultdict(list)
        for f in findings:
            if f["outcome"] == outcome:
                groups[f["check"].split(" ")[0], kind(f["detail"])].append(f)
        for (check, reason), found in sorted(groups.items(), key=lambda group: -len(group[1])):
            among = sorted({f["network"].removeprefix("seed-").lstrip("0") or "0" for f in found}, key=int)
            print(f"{outcome} {check}: {reason}: {len(found)} checks of {len(among)} networks")
            if outcome == "failed":
                print(f"  seeds {', '.join(among[:12])}{', ...' if len(among) > 12 else ''}; for instance {found[0]['check']}:")
                print(f"  {found[0]['detail'][:400]}")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int, help="the first seed")
    parser.add_argument("last", type=int, nargs="?", help="the last seed (only one network without)")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "differential")
    parser.add_argument("--profile", default="release", help="of cargo: release or dev")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--command-line", type=int, default=2, help=f"how many of {CHUNK} networks go through the command line")
    parser.add_argument("--no-build", action="store_true")
    arguments = parser.parse_args()
    if not arguments.no_build:
        build(arguments.profile)
    last = arguments.first if arguments.last is None else arguments.last
    findings, start = [], time.time()
    kept = arguments.folder / "failed"
    kept.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
        for first in range(arguments.first, last + 1, CHUNK):
            seeds = list(range(first, min(first + CHUNK, last + 1)))
            folder = arguments.folder / "networks"
            found = checked(arguments, pool, folder, seeds)
            findings += found
            for name in {f["network"] for f in found if f["outcome"] == "failed"}:
                for path in folder.glob(f"{name}.*"):
                    shutil.copy(path, kept)
            count = len({f["network"] for f in findings if f["outcome"] == "failed"})
            print(f"seeds up to {seeds[-1]}: {count} failed", file=sys.stderr)
    (arguments.folder / "findings.jsonl").write_text("".join(json.dumps(f) + "\n" for f in findings))
    failed = summary(findings, time.time() - start)
    if failed:
        print(f"networks that failed are in {kept}; `python {pathlib.Path(__file__).name} SEED` repeats one")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
