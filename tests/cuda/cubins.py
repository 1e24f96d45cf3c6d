"""Compiles kernels for GPUs without one, and checks what they take against a table: see README.md."""

import argparse
import concurrent.futures
import csv
import ctypes
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = pathlib.Path(__file__).with_name("kernels.csv")
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
# As the program compiles them: nothing is contracted, nothing flushed to zero.
OPTIONS = ("--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--ptxas-options=-v")
FIELDS = ("kernel", "architecture", "registers", "spilled", "loop", "products")
# Compilers of other versions may take some more.
MORE_REGISTERS, MORE_SLOTS = 8, 1.05


def packaged(name):
    """A file of NVIDIA's packages."""
    for package in ("nvidia-cuda-nvrtc", "nvidia-cuda-nvdisasm"):
        for file in importlib.metadata.files(package) or []:
            if file.name == name or file.name.startswith(name + ".so."):
                return str(file.locate())
    raise SystemExit(f"{name} is missing: pip install 'nvidia-cuda-nvrtc==13.0.*' nvidia-cuda-nvdisasm")


class Nvrtc:
    """NVIDIA's compiler at run time."""

    def __init__(self):
        ctypes.CDLL(packaged("libnvrtc-builtins"), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(packaged("libnvrtc"))

    def text(self, size, get, program):
        bytes_ = ctypes.c_size_t()
        getattr(self.library, size)(program, ctypes.byref(bytes_))
        buffer = ctypes.create_string_buffer(bytes_.value)
        getattr(self.library, get)(program, buffer)
        return buffer.raw

    def compile(self, source, headers, architecture):
        """The compiled code and the log."""
        program = ctypes.c_void_p()
        strings = lambda texts: (ctypes.c_char_p * len(texts))(*[text.encode() for text in texts])
        names, texts = zip(*headers)
        self.library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", len(names), strings(texts), strings(names))
        options = strings([f"--gpu-architecture={architecture}", *OPTIONS])
        result = self.library.nvrtcCompileProgram(program, len(options), options)
        log = self.text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog", program).rstrip(b"\0").decode()
        if result != 0 or "warning" in log:
            raise SystemExit(f"{architecture}:\n{log[:4000]}")
        return self.text("nvrtcGetCUBINSize", "nvrtcGetCUBIN", program), log


def resources(log):
    """Registers and spilled bytes by kernel, as the assembler says."""
    found = {}
    pattern = r"entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers"
    for name, stores, loads, registers in re.findall(pattern, log, re.S):
        found[name] = (int(registers), int(stores) + int(loads))
    return found


def main_loops(cubin):
    """Instructions of the loop with the most products, and these, by kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        listing = subprocess.run([packaged("nvdisasm"), "-c", file.name], capture_output=True, text=True, check=True).stdout
    found = {}
    for section in re.split(r"^\s*\.section\s+", listing, flags=re.M)[1:]:
        if not section.startswith(".text."):
            continue
        name = re.match(r"\.text\.(\w+)", section)[1]
        labels, instructions, loops = {}, [], []
        for line in section.splitlines():
            if label := re.match(r"^(\.L_x_\d+):", line):
                labels[label[1]] = len(instructions)
            elif instruction := re.match(r"^\s+/\*[0-9a-f]+\*/\s+(.*?);", line):
                instructions.append(instruction[1])
                target = re.search(r"BRA.*?(\.L_x_\d+)", instruction[1])
                if target and target[1] in labels:
                    loops.append((labels[target[1]], len(instructions)))
        counts = [(sum("HMMA" in i for i in instructions[a:b]), b - a) for a, b in loops]
        products, length = max(counts, key=lambda c: (c[0], -c[1]), default=(0, 0))
        found[name] = (length, products) if products else (0, 0)
    return found


def measured(architectures):
    example = ["cargo", "run", "--quiet", "-p", "bitbudget-cuda", "--example", "kernels"]
    source = subprocess.run(example, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    headers = [(path.name, path.read_text()) for path in sorted((ROOT / "crates/cuda/device").iterdir())]
    compiler, rows = Nvrtc(), {}
    compiled = concurrent.futures.ThreadPoolExecutor(os.cpu_count()).map(
        lambda architecture: compiler.compile(source, headers, architecture), architectures
    )
    for architecture, (cubin, log) in zip(architectures, compiled):
        loops = main_loops(cubin)
        for name, (registers, spilled) in sorted(resources(log).items()):
            length, products = loops.get(name, (0, 0))
            rows[name, architecture] = dict(zip(FIELDS, (name, architecture, registers, spilled, length, products)))
        print(f"{architecture}: {len(loops)} kernels, {len(cubin)} bytes", flush=True)
    return rows


def problems(rows, table):
    for key, row in rows.items():
        expected = table.get(key)
        if expected is None:
            yield f"{key}: is not in the table"
        elif int(row["spilled"]) > int(expected["spilled"]):
            yield f"{key}: spills {row['spilled']} bytes, {expected['spilled']} in the table"
        elif int(row["registers"]) > int(expected["registers"]) + MORE_REGISTERS:
            yield f"{key}: takes {row['registers']} registers, {expected['registers']} in the table"
        elif int(row["loop"]) > int(expected["loop"]) * MORE_SLOTS:
            yield f"{key}: its loop has {row['loop']} instructions, {expected['loop']} in the table"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", nargs="*", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--bless", action="store_true", help="write the table instead")
    arguments = parser.parse_args()
    rows = measured(arguments.architecture)
    if arguments.bless:
        with TABLE.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for _, row in sorted(rows.items()))
        return
    with TABLE.open() as file:
        table = {(row["kernel"], row["architecture"]): row for row in csv.DictReader(file)}
    found = list(problems(rows, table))
    print("\n".join(found) or f"{len(rows)} rows are as in the table, or better")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
