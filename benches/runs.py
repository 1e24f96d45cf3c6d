"""What the scripts beside this one share: networks by name, and runs of `bitbudget` that are not repeated once their record is there."""
import json, pathlib, subprocess, sys


def arguments(parser, networks):
    parser.add_argument("out", type=pathlib.Path, help="folder for a JSON record per run")
    parser.add_argument("--bitbudget", default="target/release/bitbudget")
    parser.add_argument("--networks", nargs="+", default=networks,
                        help="names that `bitbudget zoo` knows, with an optional width, as in resnet-18@0.25, or FILE.onnx:BATCH")


def parsed(parser):
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def model(options, name):
    """The file and the batch size of a network: 128 for those that bitbudget makes."""
    if ":" in name:
        file, batch = name.rsplit(":", 1)
        return pathlib.Path(file), batch
    network, _, width = name.partition("@")
    file = options.out / f"{name}.onnx"
    if not file.exists():
        command = [options.bitbudget, "zoo", network, "--width", width or "1.0", "-o", str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr.strip())
    return file, "128"


def record(options, label, command, *extra):
    """The record of a run, which has `refused` with the message where there is none."""
    path = options.out / f"{label}.json"
    if not path.exists():
        line = [options.bitbudget, *command, *extra, "--json", path]
        done = subprocess.run(list(map(str, line)), capture_output=True, text=True)
        if done.returncode != 0:
            path.write_text(json.dumps({"refused": done.stderr.strip()}))
    return json.loads(path.read_text())


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)
