#!/usr/bin/env python3
"""Writes `standard.onnx`: the functions by which the ONNX standard defines operators, as a model without a graph.

    python -m venv .venv && .venv/bin/pip install onnx==1.23.2 && .venv/bin/python generate.py

Import takes a function where it has no row for the operator. Kept are the operators of OPERATORS, in each version that has a function. Left out
are operators that have rows, AffineGrid, whose function needs a Split of known sizes, functions that overflow where the operator does not
(Softplus, ReduceLogSumExp), and those that the standard builds by
code, which depend on a node's attributes (GroupNormalization): these have rows. Each function has the operator set that introduced
its operator's version as its overload, and the defaults of its attributes.
"""
import pathlib
import onnx
from onnx import defs

OPERATORS = [
    "BlackmanWindow", "DynamicQuantizeLinear", "GreaterOrEqual", "HammingWindow", "HannWindow", "LessOrEqual",
    "MeanVarianceNormalization", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceSumSquare", "Shrink", "SwiGLU",
]
assert onnx.__version__ == "1.23.2", "the functions differ between versions of onnx"

model = onnx.ModelProto(ir_version=10, producer_name="generate.py")
for schema in sorted(defs.get_all_schemas_with_history(), key=lambda s: (s.name, s.since_version)):
    if schema.domain != "" or schema.name not in OPERATORS or not schema.has_function:
        continue
    # The newest operator set that the version has a function for.
    function = onnx.FunctionProto()
    function.ParseFromString(schema.get_function_with_opset_version(max(schema.function_opset_versions)))
    function.domain, function.overload, function.doc_string = "bitbudget.standard", str(schema.since_version), ""
    del function.attribute[:], function.attribute_proto[:]
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name:
            function.attribute_proto.append(attribute.default_value)
        else:
            function.attribute.append(name)
    model.functions.append(function)

folder = pathlib.Path(__file__).parent
(folder / "standard.onnx").write_bytes(model.SerializeToString(deterministic=True))
print(*(f"{f.name} {f.overload}" for f in model.functions), sep="\n")
