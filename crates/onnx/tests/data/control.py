#!/usr/bin/env python3
"""Writes the models of `control/`, with functions and control flow, and `control/cases.json` with an input and the expected output of each.

    python -m venv .venv && .venv/bin/pip install onnx==1.23.2 onnxruntime numpy && .venv/bin/python control.py

Outputs are those of onnxruntime, or of onnx's reference implementation where onnxruntime lacks an operator set.
"""
import json, pathlib
import indices, quantised
import numpy as np, onnx, onnxruntime
from onnx import numpy_helper as nh, parser
from onnx.reference import ReferenceEvaluator

FOLDER = pathlib.Path(__file__).parent / "control"
rng = np.random.default_rng(5)
cases = []


def f(*shape):
    return rng.standard_normal(shape).round(3).astype(np.float32)


def case(name, body, weights=None, functions="", shape=("N", 6), opset=18, more=(), batch=3, written=None):
    """A model `x [N, 6] -> y` of nodes and functions in ONNX's text form, with weights by name. `written` computes the same by operators that
    onnxruntime has."""
    model = parsed(name, body, weights, functions, shape, opset, more)
    x = f(batch, *shape[1:])
    computing = parsed(name, written, weights, functions, shape, opset, more) if written else model
    try:
        y = onnxruntime.InferenceSession(computing.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    except Exception as e:
        print(f"{name}: reference implementation ({str(e)[:110]})")
        y = ReferenceEvaluator(computing).run(None, {"x": x})[0]
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    cases.append(dict(name=name, batch=batch, input=[float(v) for v in x.ravel()], shape=list(y.shape), output=[float(v) for v in y.ravel()]))


def parsed(name, body, weights, functions, shape, opset, more):
    sets = ", ".join([f'"" : {opset}', *(f'"{domain}" : 1' for domain in more)])
    dims = ",".join(map(str, shape))
    text = f'<ir_version: 10, opset_import: [{sets}], producer_name: "control.py">\n{name} (float[{dims}] x) => (float[{",".join("ABCD"[: len(shape)])}] y) {{\n{body}\n}}\n{functions}'
    model = parser.parse_model(text)
    model.graph.initializer.extend(nh.from_array(np.asarray(a), k) for k, a in (weights or {}).items())
    return model


BLOCK = """
<domain: "local", opset_import: ["" : 18]>
Block <slope: float = 0.25> (a, w, b) => (y) {
  [product] m = MatMul(a, w)
  [shift] s = Add(m, b)
  [act] y = LeakyRelu <alpha: float = @slope> (s)
}
"""
case("function", """
  [layer1] h = local.Block (x, w1, b1)
  [layer2] t = local.Block <slope = 0.5> (h, w2, b2)
  y = Identity (t)""", dict(w1=f(6, 5), b1=f(5), w2=f(5, 4), b2=f(4)), BLOCK, more=["local"])

# Functions in functions, an attribute that is handed on, and a name that both use.
case("nested_functions", """
  [outer] y = local.Outer <slope = 0.1> (x, w)""", dict(w=f(6, 6)), """
<domain: "local", opset_import: ["" : 18, "local" : 1]>
Outer <slope> (x, w) => (y) {
  [first] m = local.Inner <slope: float = @slope> (x, w)
  [second] t = local.Inner <slope: float = @slope> (m, w)
  y = Add (t, x)
}
<domain: "local", opset_import: ["" : 18]>
Inner <slope> (x, v) => (t) {
  m = MatMul (x, v)
  t = LeakyRelu <alpha: float = @slope> (m)
}
""", more=["local"])

# Operator sets differ: in set 13 ReduceMean has its axes as an attribute, in set 18 as an input.
case("function_of_another_set", """
  axes = Constant <value_ints = [1]> ()
  c = local.Centre (x)
  m = ReduceMean (c, axes)
  y = Add (c, m)""", {}, """
<domain: "local", opset_import: ["" : 13]>
Centre (x) => (y) {
  m = ReduceMean <axes = [1], keepdims = 1> (x)
  y = Sub (x, m)
}
""", more=["local"])

# An output that is an input, one that nobody takes, an input that is left out.
case("function_passes_through", """
  a, b, = local.Both (x, , low)
  y = Mul (a, b)""", dict(low=np.float32(-0.5)), """
<domain: "local", opset_import: ["" : 18]>
Both (x, high, low) => (x, r, t) {
  r = Clip (x, low, high)
  t = Neg (x)
}
""", more=["local"])

# Branches see names from outside; the condition is arithmetic on shapes.
case("branches", """
  s = Shape (x)
  one = Constant <value_ints = [1]> ()
  size = Gather (s, one)
  six = Constant <value_ints = [6]> ()
  is_six = Equal (size, six)
  h = MatMul (x, w)
  [choice] t = If (is_six) <
    then_branch = yes () => (float[N, 6] o) { r = Relu (h)  o = Mul (r, k) },
    else_branch = no () => (float[N, 6] o) { o = Hardmax (h) }
  >
  y = Add (t, h)""", dict(w=f(6, 6), k=f(6)))

# A branch in a function that is called twice, with an initializer of its own; names collide.
case("branches_in_functions", """
  yes = Constant <value_int = 1> ()
  no = Constant <value_int = 0> ()
  cy = Cast <to = 9> (yes)
  cn = Cast <to = 9> (no)
  r = local.Choose (x, cy)
  y = local.Choose (r, cn)""", {}, """
<domain: "local", opset_import: ["" : 18]>
Choose (a, c) => (y) {
  y = If (c) <
    then_branch = one () => (float[N, 6] r) <float[6] b = {1, 2, 3, 4, 5, 6}> { r = Add (a, b) },
    else_branch = two () => (float[N, 6] r) <float[6] b = {6, 5, 4, 3, 2, 1}> { x = Tanh (a)  r = Mul (x, b) }
  >
}
""", more=["local"])

# Steps with a state and a result of each; the weight is one, whose elements are all equal.
case("steps", """
  most = Constant <value_int = 4> ()
  go = Constant <value_int = 1> ()
  goes = Cast <to = 9> (go)
  [loop] last, all = Loop (most, goes, x) <
    body = step (int64 i, bool c, float[N, 6] h) => (bool c, float[N, 6] n, float[N, 6] out) {
      [product] p = MatMul (h, w)
      n = Tanh (p)
      out = Add (n, bias)
    }
  >
  [sum] s = ReduceSum <keepdims = 0> (all, zero)
  y = Add (last, s)""", dict(w=f(6, 6) * np.float32(0.3), bias=np.full(6, 0.5, np.float32), zero=np.array([0])))

# As long as a number is less than another; no first count.
case("steps_while", """
  yes = Constant <value_int = 1> ()
  goes = Cast <to = 9> (yes)
  zero = Constant <value_int = 0> ()
  n, y = Loop ( , goes, zero, x) <
    body = step (int64 i, bool c, int64 n, float[N, 6] h) => (bool more, int64 m, float[N, 6] r) {
      one = Constant <value_int = 1> ()
      five = Constant <value_int = 5> ()
      m = Add (n, one)
      more = Less (m, five)
      number = Cast <to = 1> (i)
      t = Add (h, number)
      r = Sin (t)
    }
  >""")

# A loop in a loop, with an initializer within: it is one parameter.
case("steps_in_steps", """
  two = Constant <value_int = 2> ()
  three = Constant <value_int = 3> ()
  y = Loop (two, , x) <
    body = outer (int64 i, bool c, float[N, 6] h) => (bool c, float[N, 6] n) {
      n = Loop (three, , h) <
        body = inner (int64 j, bool d, float[N, 6] k) => (bool d, float[N, 6] m) <float[6] v = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6}> {
          t = Mul (k, v)
          m = Sub (t, x)
        }
      >
    }
  >""")

case("scan", """
  t = Transpose <perm = [1, 0, 2]> (x)
  zero = Constant <value_ints = [0]> ()
  start = ReduceSum <keepdims = 0> (t, zero)
  last, back = Scan <num_scan_inputs = 2, scan_input_directions = [0, 1], scan_input_axes = [0, 1], scan_output_axes = [1], scan_output_directions = [1],
    body = step (float[N, 3] h, float[N, 3] a, float[N, 3] b) => (float[N, 3] n, float[N, 3] o) {
      p = MatMul (h, w)
      s = Add (p, a)
      n = Tanh (s)
      o = Sub (n, b)
    }> (start, t, x)
  u = Unsqueeze (last, one)
  y = Add (u, back)""", dict(w=f(3, 3), one=np.array([1])), shape=("N", 5, 3))

# A list to which each step adds, as scripted programs have it; the first state is zeros of the batch's size.
case("list_of_steps", """
  s = Shape (x)
  n = Gather (s, zero)
  steps = Gather (s, two)
  four = Constant <value_ints = [4]> ()
  hs = Concat <axis = 0> (n, four)
  h0 = ConstantOfShape (hs)
  none = SequenceEmpty ()
  last, all = Loop (steps, , h0, none) <
    body = step (int64 i, bool c, float[N, 4] h, seq(float[N, 4]) list) => (bool c, float[N, 4] m, seq(float[N, 4]) more) {
      part = Gather <axis = 2> (x, i)
      p = MatMul (h, w)
      q = Add (p, part)
      m = Tanh (q)
      more = SequenceInsert (list, m)
    }
  >
  stack = ConcatFromSequence <axis = 2, new_axis = 1> (all)
  pair = SequenceConstruct (last, last)
  both = ConcatFromSequence <axis = 1> (pair)
  length = SequenceLength (pair)
  number = Cast <to = 1> (length)
  m = ReduceMean <keepdims = 0> (stack, two1)
  d = Concat <axis = 1> (m, both)
  y = Mul (d, number)""", dict(w=f(4, 4), zero=np.array([0]), two=np.array(2), two1=np.array([2])), shape=("N", 4, 3))

# Functions of the standard.
for name in ("ReduceL1", "ReduceL2", "ReduceSumSquare"):
    case(name.lower(), f"y = {name} <keepdims = 0> (x, axes)", dict(axes=np.array([2])), shape=("N", 4, 3))
case("reducelogsum", "a = Abs (x)\n y = ReduceLogSum (a, axes)", dict(axes=np.array([1])), shape=("N", 4, 3))
case("swiglu", "t = Neg (x)\n [gate] y = SwiGLU <alpha = 1.5> (x, t)", opset=28)
case("meanvariancenormalization", "y = MeanVarianceNormalization <axes = [1, 2]> (x)", shape=("N", 4, 3))
case("hannwindow", "w = HannWindow (size)\n y = Mul (x, w)", dict(size=np.array(6)))

# Operators of ONNX Runtime's optimizers.
def fused(name, body, weights=None, shape=("N", 4, 6), opset=17):
    case(name, body, weights, shape=shape, opset=opset, more=["com.microsoft"])


fused("biasgelu", "y = com.microsoft.BiasGelu (x, b)", dict(b=f(6)))
fused("fastgelu", "h = com.microsoft.FastGelu (x)\n y = com.microsoft.FastGelu (h, b)", dict(b=f(6)))
fused("gelu", "y = com.microsoft.Gelu (x)")
fused("quickgelu", "h = com.microsoft.QuickGelu (x)\n y = com.microsoft.QuickGelu <alpha = 1.0> (h)")
fused("fusedmatmul", "[p] h = com.microsoft.FusedMatMul <alpha = 0.5, transB = 1> (x, w)\n y = Add (h, b)", dict(w=f(3, 6), b=f(3)))
fused("fusedgemm", 'h = com.microsoft.FusedGemm <transB = 1, activation = "LeakyRelu", activation_alpha = 0.2> (x, w, b)\n y = com.microsoft.FusedGemm <activation = "Relu"> (h, v)', dict(w=f(5, 6), b=f(5), v=f(5, 4)), ("N", 6))
fused("fusedconv", """
  a = com.microsoft.FusedConv <pads = [1, 1, 1, 1], activation = "Relu"> (x, w, b, x)
  y = com.microsoft.FusedConv <activation = "Clip", activation_params = [-0.5, 0.75]> (a, v)""", dict(w=f(3, 3, 3, 3), b=f(3), v=f(2, 3, 1, 1)), ("N", 3, 5, 4))
fused("layernormalization", "h = LayerNormalization <axis = -1, epsilon = 0.01> (x, s, b)\n y = SimplifiedLayerNormalization <axis = -1, epsilon = 0.02> (h, s)", dict(s=f(6), b=f(6)), opset=16)
fused("skiplayernormalization", """
  a, m, i, c = com.microsoft.SkipLayerNormalization <epsilon = 0.01> (x, k, g, b, d)
  e = com.microsoft.SkipLayerNormalization (a, c, g)
  y = Add (e, c)""", dict(k=f(4, 6), g=f(6), b=f(6), d=f(6)))
fused("skipsimplified", """
  a, m, i, c = com.microsoft.SkipSimplifiedLayerNormalization <epsilon = 0.01> (x, x, g, d)
  e = com.microsoft.SkipSimplifiedLayerNormalization (a, c, g)
  y = Add (e, c)""", dict(g=f(6), d=f(6)))

# Weights that the graph makes, and initializers without elements.
case("made", """
  w = ConstantOfShape <value = float[1] {0.25}> (shape)
  h = MatMul (x, w)
  one = Constant <value_float = 0.5> ()
  e = Expand (one, turned)
  v = Transpose (e)
  y = MatMul (h, v)""", dict(shape=np.array([6, 5]), turned=np.array([3, 5])))
case("without_elements", """
  c = Concat <axis = 1> (none, x, none)
  delta = MatMul (a, b)
  v = Add (w, delta)
  y = MatMul (c, v)""", dict(none=np.zeros((3, 0), np.float32), a=np.zeros((6, 0), np.float32), b=np.zeros((0, 4), np.float32), w=f(6, 4)))

indices.add(case, f)
quantised.add(case, f)

(FOLDER / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases")
