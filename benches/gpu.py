#!/usr/bin/env python3
"""Check programs for CUDA devices against the CPU, and time them beside PyTorch; see gpu.md.

    python3 benches/gpu.py --pack [--peer ../shared/bench/torch_step.py]   # where Rust is: gathers the program in benches/gpu/
    python3 benches/gpu.py [--minutes 8] [--json FILE]                     # where a GPU is, and PyTorch for CUDA; needs no Rust

Correctness comes before times, and every row is printed as soon as it is known.
"""
import argparse, importlib.util, json, os, pathlib, shutil, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "gpu"
NETWORKS = ["squeezenet", "shufflenet-v2", "mobilenet-v2", "resnet-18"]
METHODS = {"fp32": ["--method", "fp32"], "r = 1.0": ["--low-ratio", "1.0"]}
# Of the program's libraries, by the names that CUDA 13 gives them.
LIBRARIES = {"cuda": "libcuda.so.1", "nvrtc": "libnvrtc.so.13", "cublas": "libcublas.so.13", "cublasLt": "libcublasLt.so.13",
             "curand": "libcurand.so.10", "cudart": "libcudart.so.13"}
MOST_BYTES = 64 << 20


def pack(options):
    """Builds the program with a compiler that compiles nothing, since no kernel of candle's is used, and against libraries that hold nothing,
    since those of the other machine are loaded there."""
    FOLDER.mkdir(exist_ok=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    # In one place, since other flags build everything again.
    folder = target / "empty-libraries"
    folder.mkdir(parents=True, exist_ok=True)
    for name, soname in LIBRARIES.items():
        command = ["cc", "-shared", "-x", "c", os.devnull, "-o", f"{folder}/lib{name}.so", f"-Wl,-soname,{soname}"]
        subprocess.run(command, check=True)
    flags = f"-L {folder} -C link-arg=-Wl,--unresolved-symbols=ignore-all"
    environment = {**os.environ, "RUSTFLAGS": flags, "LIBRARY_PATH": str(folder), "CARGO_INCREMENTAL": "0"}
    build = ["cargo", "build", "-p", "bitbudget-cli", "--features", "cuda", "--profile", options.profile]
    subprocess.run([".ci/stub-cuda.sh", *build], cwd=HERE.parent, env=environment, check=True)
    built = target / {"dev": "debug"}.get(options.profile, options.profile) / "bitbudget"
    subprocess.run(["strip", "-o", str(FOLDER / "bitbudget"), str(built)], check=True)
    if pathlib.Path(options.peer).exists():
        shutil.copy(options.peer, FOLDER / "torch_step.py")
    else:
        print(f"{options.peer} is missing, so PyTorch will not be timed: give its place (--peer)", file=sys.stderr)
    bytes_ = sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file())
    print(f"{FOLDER}: {bytes_ / 2**20:.1f} MiB")
    if bytes_ > MOST_BYTES:
        sys.exit(f"more than {MOST_BYTES >> 20} MiB")


def libraries():
    """The folders of NVIDIA's libraries beside PyTorch."""
    spec = importlib.util.find_spec("nvidia")
    roots = [pathlib.Path(place) for place in (spec.submodule_search_locations if spec else [])]
    return [str(folder) for root in roots for folder in sorted(root.glob("*/lib"))]


class Rows:
    """What was found, row by row."""

    def __init__(self, options):
        self.file = open(options.json, "w") if options.json else None
        self.end = time.monotonic() + 60 * options.minutes
        self.failed = 0

    def add(self, **row):
        self.failed += row.get("ok") is False
        text = json.dumps(row)
        print(text, flush=True)
        if self.file:
            print(text, file=self.file, flush=True)

    def is_over(self):
        return time.monotonic() > self.end

    def left(self):
        return max(5, self.end - time.monotonic())


def bitbudget(rows, *arguments):
    """Runs the program; what it says goes to standard error if it fails."""
    paths = [*libraries(), os.environ.get("LD_LIBRARY_PATH", "")]
    # The program names no library, since none was there when it was linked.
    preload = " ".join(LIBRARIES.values())
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths)), "LD_PRELOAD": preload}
    command = [str(FOLDER / "bitbudget"), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=rows.left())
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-600:]}")
    return done.stdout


def attempt(rows, **row):
    """A decorator that runs a function for a row, whose error becomes the row's."""

    def run(function):
        if rows.is_over():
            return
        start = time.monotonic()
        try:
            found = function()
        except Exception as error:
            found = {"ok": False, "error": str(error)}
        rows.add(**row, **found, seconds=round(time.monotonic() - start, 1))

    return run


def losses(rows, model, folder, name, batch, *arguments):
    """The losses of a few steps, and the memory record."""
    metrics, record = folder / f"{name}.jsonl", folder / f"{name}.json"
    bitbudget(rows, "train", model, "--data", "synthetic:256", "--batch", batch, "--steps", 4, "--lr", 0.02, "--no-shuffle", "--quiet",
              "--metrics", metrics, "--json", record, *arguments)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [line["loss"] for line in lines if line.get("record") == "step"], json.loads(record.read_text())


def check(rows, models, folder):
    """Steps on the device beside steps on the CPU."""
    for network, model in models.items():
        for method, options in METHODS.items():

            @attempt(rows, check="losses", network=network, method=method)
            def _():
                cpu, _ = losses(rows, model, folder, "cpu", 16, *options)
                gpu, record = losses(rows, model, folder, "gpu", 16, *options, "--cuda", 0)
                memory = record.get("memory", {})
                # Later steps drift apart, as those of two processors do.
                near = abs(cpu[0] - gpu[0]) <= (1e-4 if method == "fp32" else 2e-2) * abs(cpu[0])
                is_exact = memory.get("predicted") == memory.get("allocated")
                return {"cpu": cpu, "gpu": gpu, "memory": memory, "ok": near and is_exact and len(cpu) == len(gpu)}


def bench(rows, models, folder, batches):
    """Times of steps, with allocated and predicted bytes."""
    for network, model in models.items():
        for batch in batches(network):
            for method, options in METHODS.items():

                @attempt(rows, bench="bitbudget", network=network, batch=batch, method=method)
                def _():
                    out = folder / "bench.json"
                    bitbudget(rows, "bench", model, "--batch", batch, "--steps", 10, "--cuda", 0, "--json", out, "--quiet", *options)
                    record = json.loads(out.read_text())
                    memory = record["memory"]
                    slowest = sorted(record["instructions"], key=lambda kind: -kind["seconds"])[:8]
                    return {"median_ms": 1e3 * record["step_seconds"]["median"], "predicted": memory["predicted"],
                            "allocated": memory["allocated"], "ok": memory["predicted"] == memory["allocated"],
                            "slowest": [[kind["kind"], kind["count"], round(1e3 * kind["seconds"], 3)] for kind in slowest]}


PEERS = {
    "fp32": {"tf32": False, "amp": False, "layout": "nchw"},
    "tf32": {"tf32": True, "amp": False, "layout": "nchw"},
    "amp bf16": {"tf32": True, "amp": True, "layout": "nhwc"},
}


def peer(model, batch, steps, tf32, amp, layout):
    """PyTorch's step on the same file: milliseconds, and how much memory it allocated beyond the network's."""
    import torch
    import torch.nn.functional as F
    from torch_step import Model

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    network = Model(model)
    dims = [d.dim_value for d in next(i for i in network.graph.input if i.name == network.inputs[0]).type.tensor_type.shape.dim][1:]
    classes = [d.dim_value for d in network.graph.output[0].type.tensor_type.shape.dim][-1]
    network.static = {name: value.cuda() if value.is_floating_point() else value for name, value in network.static.items()}
    form = {"memory_format": torch.channels_last} if layout == "nhwc" else {}
    network, x = network.cuda().to(**form), torch.randn(batch, *dims, device="cuda").to(**form)
    y = torch.randint(0, classes, (batch,), device="cuda")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    milliseconds = []
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    for _ in range(steps + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=amp):
            loss = F.cross_entropy(network(x).float(), y)
        loss.backward()
        optimizer.step()
        end.record()
        torch.cuda.synchronize()
        milliseconds.append(start.elapsed_time(end))
    milliseconds = sorted(milliseconds[3:])
    growth = torch.cuda.max_memory_allocated() - before
    return {"median_ms": milliseconds[len(milliseconds) // 2], "growth": growth}


def peers(rows, models, batches):
    sys.path.insert(0, str(FOLDER))
    for network, model in models.items():
        for batch in batches(network):
            for name, options in PEERS.items():

                @attempt(rows, bench="PyTorch", network=network, batch=batch, method=name)
                def _():
                    import torch

                    try:
                        return peer(str(model), batch, 10, **options)
                    finally:
                        torch.cuda.empty_cache()


def budgets(rows, models, folder):
    """What is allocated under budgets."""
    for network, model in models.items():
        for share in (100, 60, 40):

            @attempt(rows, check="budget", network=network, share=share)
            def _():
                _, record = losses(rows, model, folder, "budget", 128, "--budget", f"{share}%", "--solve-seconds", 2, "--cuda", 0)
                memory = record["memory"]
                return {"memory": memory, "ok": memory["allocated"] == memory["predicted"] <= memory["budget"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", action="store_true", help="gather what the machine with the GPU needs")
    parser.add_argument("--profile", default="release", help="of the program that is packed")
    parser.add_argument("--peer", default="../shared/bench/torch_step.py", help="PyTorch's step that is packed")
    parser.add_argument("--minutes", type=float, default=8, help="when no row is begun any more")
    parser.add_argument("--json", type=pathlib.Path, help="rows as lines of JSON")
    options = parser.parse_args()
    if options.pack:
        return pack(options)
    rows = Rows(options)
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)

        def model(name, *arguments):
            path = folder / f"{name}.onnx"
            bitbudget(rows, "zoo", name, "-o", path, "--quiet", *arguments)
            return path

        small = {name: model(name, "--width", 0.25) for name in NETWORKS}
        check(rows, small, folder)
        whole = {name: model(name) for name in NETWORKS} | {"resnet-50": model("resnet-50", "--input", "3x224x224", "--classes", 1000)}
        batches = lambda network: (64,) if network == "resnet-50" else (128, 1024)
        bench(rows, whole, folder, batches)
        if (FOLDER / "torch_step.py").exists():
            peers(rows, whole, batches)
        budgets(rows, {name: whole[name] for name in NETWORKS}, folder)
    if rows.failed:
        sys.exit(f"{rows.failed} rows failed")


if __name__ == "__main__":
    main()
