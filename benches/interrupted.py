#!/usr/bin/env python3
"""Compare budgets on 10,000 MNIST digits twice, once killed on its way, and check that both give the same JSON.

    cargo build --release
    python3 benches/interrupted.py OUT_DIR --data MNIST_DIR [--kills 2] [--model NET.onnx] [-- MORE OPTIONS OF compare]

OUT_DIR gets whole.json, whole.html, whole.csv and parts.json, and the folders of both comparisons' results: a run that was ended goes on when it is
started again. The run that is killed is killed after every third of all results.
"""
import argparse, pathlib, subprocess, sys, time

OPTIONS = "--batch 64 --lr 0.05 --epochs 3 --seeds 3 --budgets 20%,30%,45%,60% --methods ilp,demote,uniform-low,fp32".split()


def results(folder):
    return len(list(folder.glob("*.json"))) if folder.is_dir() else 0


def main():
    p = argparse.ArgumentParser(description=__doc__.replace("%", "%%"), formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--data", required=True, help="folder with MNIST's IDX files")
    p.add_argument("--model", default="models/squeezenet-0.25.onnx")
    p.add_argument("--bitbudget", default="target/release/bitbudget")
    p.add_argument("--kills", type=int, default=2)
    p.add_argument("more", nargs="*", help="more options of compare")
    options = p.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = lambda name: options.out / name
    command = [options.bitbudget, "compare", options.model, "--data", f"mnist:{options.data}", *OPTIONS, *options.more]
    begin = time.time()
    pages = ["--html", file("whole.html"), "--csv", file("whole.csv")]
    subprocess.run([*map(str, [*command, "--state", file("whole"), "--json", file("whole.json"), *pages])], check=True)
    print(f"uninterrupted: {time.time() - begin:.0f} s, {results(file('whole'))} results")

    all_results, parts = results(file("whole")), file("parts")
    again = [*map(str, [*command, "--state", parts, "--json", file("parts.json")])]
    for kill in range(1, options.kills + 1):
        after = all_results * kill // (options.kills + 1)
        run = subprocess.Popen(again, stdout=subprocess.DEVNULL)
        while results(parts) < after and run.poll() is None:
            time.sleep(0.05)
        run.kill()
        if run.wait() >= 0:
            sys.exit("it ended before it could be killed")
        print(f"killed after {results(parts)} of {all_results} results")
    subprocess.run(again, check=True, stdout=subprocess.DEVNULL)
    same = file("whole.json").read_bytes() == file("parts.json").read_bytes()
    print("the JSON of both is the same, byte for byte" if same else "THE JSON DIFFERS")
    sys.exit(not same)


if __name__ == "__main__":
    main()
