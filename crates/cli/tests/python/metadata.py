#!/usr/bin/env python3
"""Check an ONNX file and print its metadata as JSON: {"model": {...}, "nodes": {name: {...}}}.

    python3 metadata.py FILE.onnx

Needs PyPI's `onnx`.
"""
import json, sys

import onnx

model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
pairs = lambda props: {p.key: p.value for p in props}
nodes = {node.name: pairs(node.metadata_props) for node in model.graph.node}
print(json.dumps({"model": pairs(model.metadata_props), "nodes": nodes}))
