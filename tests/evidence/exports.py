"""Fresh exports beside PyTorch: see README.md."""

import argparse
import contextlib
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F

import networks
import reasons

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIRST_LOSS, GRADIENT, SAVED_LOSS = 1e-5, 1e-3, 1e-4
# Some networks magnify rounding: what is off by no more than so often PyTorch's own distance from FP64 is right.
OWN_DISTANCES, NUDGED = 20, 3
BUDGETS = ("80%", "40%")
EXPORTERS = ("torchscript", "dynamo")
SECONDS = 600


@contextlib.contextmanager
def silence():
    """Exporters print what they do, and whole graphs where they fail, past Python's own streams too."""
    sys.stdout.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    with open(os.devnull, "w") as nothing:
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
        try:
            yield
        finally:
            sys.stdout.flush()
            for stream, copy in zip((1, 2), kept):
                os.dup2(copy, stream)
                os.close(copy)


def export(exporter, model, inputs, path):
    """Writes the network as an ONNX file in the manner that bitbudget advises: nothing folded into weights."""
    if exporter == "written":
        path.write_bytes(model.file.SerializeToString())
        return
    common = {"input_names": list(inputs), "output_names": ["scores"]}
    with warnings.catch_warnings(), silence():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            torch.onnx.export(model, tuple(inputs.values()), path, dynamo=True, optimize=False, external_data=False, verbose=False, **common)
        else:
            training = torch.onnx.TrainingMode.TRAINING
            torch.onnx.export(model, tuple(inputs.values()), path, dynamo=False, training=training, do_constant_folding=False, **common)


def innermost(error):
    """The first line of the error that is behind an exporter's own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:150]}"


def scores_loss(model, inputs, labels):
    scores = model(*inputs.values())
    return F.cross_entropy(scores.flatten(0, 1), labels.flatten()) if labels.dim() == 2 else F.cross_entropy(scores, labels)


def in_pytorch(model, inputs, labels):
    """The first loss and all gradients by name, with the parameters' values."""
    loss = scores_loss(model, inputs, labels)
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.item(), {name: (p.detach().numpy(), grads[name].numpy()) for name, p in model.named_parameters() if name in grads}


def in_double(model, inputs, labels):
    """The same in FP64, or nothing where the network cannot be computed in it."""
    try:
        wide = {name: x.double() if x.is_floating_point() else x for name, x in inputs.items()}
        copied = copy.deepcopy(model).double()
        copied.zero_grad()
        return in_pytorch(copied, wide, labels)
    except (RuntimeError, TypeError, AttributeError):
        return None


def run(command):
    """Output and errors of a command, and whether it ended well."""
    try:
        result = subprocess.run([str(a) for a in command], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"takes more than {SECONDS} s", "", False
    return result.stderr, result.stdout, result.returncode == 0


def in_bitbudget(folder, path, data, batch):
    """The first loss, gradients by name, and the peak; or the errors."""
    trainer, record, metrics = path.with_suffix(".trainer"), path.with_suffix(".json"), path.with_suffix(".jsonl")
    errors, _, well = run([
        folder / "bitbudget", "train", path, "--data", f"npz:{data}", "--batch", batch, "--steps", 1, "--no-shuffle",
        "--method", "fp32", "--lr", 0, "--lr-schedule", "constant", "--weight-decay", 0, "--loss-scale", "none",
        "--save", trainer, "--metrics", metrics, "--json", record, "--quiet",
    ])
    if not well:
        raise ValueError(errors)
    errors, listed, well = run([folder / "gradients", trainer, path.with_suffix(".bin")])
    if not well:
        raise ValueError(errors)
    numbers, found, at = np.fromfile(path.with_suffix(".bin"), "<f4"), {}, 0
    for line in map(json.loads, listed.splitlines()):
        size = int(np.prod(line["shape"]))
        weight, gradient = numbers[at : at + size], numbers[at + size : at + 2 * size]
        found[line["name"]] = (weight.reshape(line["shape"]), gradient.reshape(line["shape"]))
        at += 2 * size
    loss = next(step["loss"] for step in map(json.loads, metrics.read_text().splitlines()) if step["record"] == "step")
    return loss, found, json.loads(record.read_text())["memory"]["predicted"]


def same(a, b):
    """How a parameter stands in the file: as it is, transposed, under another shape, or not at all."""
    if a.shape == b.shape and np.array_equal(a, b):
        return lambda x: x
    if a.ndim == 2 and a.T.shape == b.shape and np.array_equal(a.T, b):
        return lambda x: x.T
    if a.size == b.size and np.array_equal(a.ravel(), b.ravel()):
        return lambda x: x.reshape(b.shape)
    return None


def relative(found, theirs):
    """The error of each gradient relative to PyTorch's norm."""
    # Gradients that are zero but for rounding, as of a bias in front of batch normalisation, are held against the largest.
    largest = max((float(np.linalg.norm(g)) for _, g in theirs.values()), default=0.0)
    return {
        name: float(np.linalg.norm(found[name] - g) / max(float(np.linalg.norm(g)), 1e-4 * largest, 1e-30))
        for name, (_, g) in theirs.items() if name in found
    }


def gradient_errors(ours, theirs):
    """The error of each gradient of PyTorch's relative to its norm, and the names of parameters that were not found in ours.

    Names decide, then values: exporters rename and transpose. What the file holds several times for one parameter is summed.
    """
    sums, left = {}, dict(ours)
    for name, (weight, _) in theirs.items():
        if name in left and (turn := same(left[name][0], weight)):
            sums[name] = turn(left.pop(name)[1]).astype(np.float64)
    for weight, gradient in left.values():
        fits = ((name, turn) for name, (value, _) in theirs.items() if (turn := same(weight, value)))
        fits = sorted(fits, key=lambda fit: fit[0] in sums)
        # Equal values are told apart by their gradients alone, where names were lost.
        near = lambda fit: (fit[0] in sums, float(np.linalg.norm(fit[1](gradient) - theirs[fit[0]][1])))
        if fits:
            name, turn = min(fits, key=near)
            sums[name] = sums.get(name, 0.0) + turn(gradient).astype(np.float64)
    return relative(sums, theirs), sorted(set(theirs) - set(sums))


def with_budget(folder, path, data, batch, budget):
    """What three steps under a budget come to: the peak, or why there are none. What is said to be enough has to be."""
    record = path.with_suffix(".budget.json")
    train = lambda budget: run([
        folder / "bitbudget", "train", path, "--data", f"npz:{data}", "--batch", batch, "--steps", 3, "--lr", 0.001,
        "--budget", budget, "--solve-seconds", 2, "--threads", 1, "--loss-scale", 256, "--quiet", "--json", record,
    ])
    errors, _, well = train(budget)
    if well:
        return json.loads(record.read_text())["memory"]["predicted"]
    named = re.search(r"give (\S+) (\S+) or more", errors)
    if not named:
        return reasons.kind(reasons.problems(errors)[0])
    enough = train(named[1] + named[2])[2]
    return f"no, {named[1]} {named[2]} are enough" + ("" if enough else ", which are refused too")


def saved_losses(folder, path, data, inputs, labels):
    """The loss of the trained network as bitbudget evaluates it, and that of the file that it saves in ONNX Runtime."""
    import onnxruntime

    saved, record = path.with_suffix(".saved.onnx"), path.with_suffix(".saved.json")
    train = ["--steps", 1, "--method", "fp32", "--lr", 0.001, "--loss-scale", "none", "--save", saved, "--quiet"]
    for command in (["train", path, "--batch", len(labels), *train], ["eval", saved, "--batch", len(labels), "--json", record, "--quiet"]):
        errors, _, well = run([folder / "bitbudget", command[0], command[1], "--data", f"npz:{data}", *command[2:]])
        if not well:
            raise ValueError(errors)
    session = onnxruntime.InferenceSession(saved, providers=["CPUExecutionProvider"])
    given = {wanted.name: inputs[name].numpy() for wanted, name in zip(session.get_inputs(), inputs)}
    scores = torch.from_numpy(session.run(None, given)[0])
    scores = scores.flatten(0, 1) if labels.dim() == 2 else scores
    return json.loads(record.read_text())["loss"], F.cross_entropy(scores, labels.flatten() if labels.dim() == 2 else labels).item()


def own_distances(model, inputs, labels, found):
    """How far PyTorch's loss and gradients in FP32 are from FP64, the largest of runs whose inputs are off by a last digit."""
    exact = in_double(model, inputs, labels)
    if exact is None:
        return 0.0, {}
    runs = [found]
    for sign in range(NUDGED):
        torch.manual_seed(sign)
        last_digit = lambda x: x * (1 + 2.0**-23 * (2 * torch.randint(0, 2, x.shape) - 1))
        nudged = {name: last_digit(x) if x.is_floating_point() else x for name, x in inputs.items()}
        copied = copy.deepcopy(model)
        copied.zero_grad()
        runs.append(in_pytorch(copied, nudged, labels))
    distances = [relative({name: g for name, (_, g) in grads.items()}, exact[1]) for _, grads in runs]
    return max(abs(loss - exact[0]) for loss, _ in runs), {name: max(d[name] for d in distances) for name in exact[1]}


def check(name, exporter, made, work, folder, budgets):
    """A row of the table; without a folder of binaries only the export."""
    model, inputs, labels = made
    path, data = work / f"{name.replace('/', '-')}-{exporter}.onnx", work / "data.npz"
    row = {"network": name, "exporter": exporter}
    try:
        if not path.exists():
            export(exporter, model, inputs, path)
    except Exception as error:  # Of many kinds: whatever the exporter cannot do.
        path.unlink(missing_ok=True)
        return {**row, "stage": "export", "reasons": [innermost(error)]}
    if folder is None:
        return {**row, "stage": None, "reasons": []}
    model.zero_grad()
    expected, theirs = in_pytorch(model, inputs, labels)
    np.savez(data, **{n: x.numpy() for n, x in inputs.items()}, y=labels.numpy())
    try:
        loss, ours, peak = in_bitbudget(folder, path, data, len(labels))
    except ValueError as error:
        return {**row, "stage": "train", "reasons": reasons.problems(str(error)), "pytorch": expected}
    errors, missing = gradient_errors(ours, theirs)
    loss_is_near = abs(loss - expected) <= FIRST_LOSS * max(abs(expected), 1)
    # What is near anyway needs no excuse, and it takes most of the time.
    is_near = loss_is_near and all(error <= GRADIENT for error in errors.values())
    own_loss, own = (0.0, {}) if is_near else own_distances(model, inputs, labels, (expected, theirs))
    excess = {name: error / max(GRADIENT, OWN_DISTANCES * own.get(name, 0.0)) for name, error in errors.items()}
    worst = max(excess, key=excess.get, default=None)
    row |= {"loss": loss, "pytorch": expected, "worst": errors.get(worst, 0.0), "worst_name": worst, "missing": missing, "peak": peak}
    row |= {"own_loss": own_loss, "own": own.get(worst, 0.0)}
    row["budgets"] = {budget: with_budget(folder, path, data, len(labels), budget) for budget in budgets}
    wrong = []
    try:
        evaluated, elsewhere = saved_losses(folder, path, data, inputs, labels)
        if not abs(evaluated - elsewhere) <= SAVED_LOSS * max(abs(evaluated), 1):
            wrong.append(f"the saved file has loss {elsewhere} in ONNX Runtime, here {evaluated}")
    except Exception as error:  # Of many kinds: whatever ONNX Runtime says of a file.
        wrong.append(f"the saved file does not run in ONNX Runtime: {innermost(error)}")
    if not (loss_is_near or abs(loss - expected) <= OWN_DISTANCES * own_loss):
        wrong.append("another loss than PyTorch's")
    if not excess.get(worst, 0.0) <= 1:
        wrong.append("another gradient than PyTorch's")
    if missing:
        wrong.append("parameters that are not trained")
    wrong += [f"under {budget}: {found}" for budget, found in row["budgets"].items() if "refused too" in str(found)]
    if isinstance(refused := row["budgets"].get("80%"), str):
        wrong.append(f"does not train under 80%: {refused}")
    return {**row, "stage": "compare" if wrong else None, "reasons": wrong}


def amount(peak):
    return peak if isinstance(peak, str) else f"{peak / 2**20:.2f} MiB"


def line(row):
    first = f"| {row['network']} | {row['exporter']} |"
    if "loss" not in row:
        more = f" (and {len(row['reasons']) - 1} more)" if len(row["reasons"]) > 1 else ""
        return f"{first} | | | | {row['stage']}: {reasons.kind(row['reasons'][0])}{more} | |"
    missing = f"; {len(row['missing'])} not found, {row['missing'][0]} the first" if row["missing"] else ""
    own = f", PyTorch's own {row['own']:.1e}" if row["own"] > GRADIENT / OWN_DISTANCES else ""
    return (
        f"{first} {row['loss']:.6f} | {row['pytorch']:.6f} | {row['worst']:.1e} ({row['worst_name']}{own}{missing}) | {amount(row['peak'])} | "
        + " | ".join(amount(row["budgets"].get(budget, "")) for budget in BUDGETS) + " |"
    )


def summary(rows):
    right = [r for r in rows if r["stage"] is None]
    print(f"\n{len(rows)} exports of {len({r['network'] for r in rows})} networks: {len(right)} are right and train under 80% where that was tried")
    for budget in BUDGETS:
        tried = [r["budgets"][budget] for r in rows if budget in r.get("budgets", {})]
        print(f"under {budget}: {sum(isinstance(peak, int) for peak in tried)} of {len(tried)} train")
    for stage in ("export", "train", "compare"):
        failed = [(f"{r['network']}:{r['exporter']}", r["reasons"]) for r in rows if r["stage"] == stage]
        if failed:
            print(f"failed in stage {stage}: {len(failed)}")
            reasons.print_reasons(failed, 6)


def binaries(profile, build):
    """The folder of the binaries of a profile, built if asked for."""
    if build:
        command = ["cargo", "build", "--profile", profile, "-p", "bitbudget-tests", "-p", "bitbudget-cli", "--bins"]
        subprocess.run(command, cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / ("debug" if profile == "dev" else profile)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wanted", nargs="*", help="only networks whose name contains one of these")
    parser.add_argument("--without", nargs="*", default=[], help="no networks whose name contains one of these")
    parser.add_argument("--exporter", choices=EXPORTERS, help="only this one")
    parser.add_argument("--budgets", nargs="*", choices=BUDGETS, default=BUDGETS, help="none to leave them out: they take most of the time")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "exports")
    parser.add_argument("--profile", default="dev", help="of cargo: release or dev")
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the files of each export, and take those that an earlier run kept")
    parser.add_argument("--only-export", action="store_true", help="write the files and keep them, nothing else")
    parser.add_argument("--table", action="store_true", help="only print the table of earlier runs' findings")
    arguments = parser.parse_args()
    findings = arguments.folder / "findings.jsonl"
    if arguments.table:
        rows = {(r["network"], r["exporter"]): r for r in map(json.loads, findings.read_text().splitlines())}
        print("\n".join(line(row) for row in rows.values()))
        return summary(list(rows.values()))
    folder = None if arguments.only_export else binaries(arguments.profile, build=not arguments.no_build)
    work = arguments.folder / "files"
    torch.set_num_threads(2)
    rows = []
    wanted = lambda name: not arguments.wanted or any(part in name for part in arguments.wanted)
    for name in networks.networks():
        if not wanted(name) or any(part in name for part in arguments.without):
            continue
        exporters = ["written"] if name.startswith("written/") else [arguments.exporter] if arguments.exporter else EXPORTERS
        for exporter in exporters:
            if not (arguments.keep or arguments.only_export):
                shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True, exist_ok=True)
            start = time.time()
            try:
                row = check(name, exporter, networks.made(name), work, folder, arguments.budgets)
            except Exception as error:  # Of many kinds: a library that is not there, a network that cannot be made.
                row = {"network": name, "exporter": exporter, "stage": "export", "reasons": [innermost(error)]}
            if arguments.only_export:
                print(name, exporter, *row["reasons"], flush=True)
                continue
            rows.append({**row, "seconds": round(time.time() - start, 1)})
            with findings.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(line(row), flush=True)
    if not arguments.only_export:
        summary(rows)


if __name__ == "__main__":
    main()
