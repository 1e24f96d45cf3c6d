"""Cases of elements by index, quantised numbers, and ONNX Runtime's attention."""
import numpy as np


def add(case, f):
    i = lambda *values: np.array(values, np.int64)
    grid = ("N", 4, 3)
    top = "k = Constant <value_ints = [2]> ()\n v, t = TopK <axis = 1> (x, k)\n"

    case("topk", top + "c = Cast <to = 1> (t)\n y = Mul (v, c)", shape=grid)
    case("topk_least", "k = Constant <value_ints = [3]> ()\n r = Round (x)\n v, t = TopK <largest = 0> (r, k)\n c = Cast <to = 1> (t)\n y = Add (v, c)", shape=grid)
    case("isinf", """
      l = Log (x)
      z = Mul (x, zero)
      q = Reciprocal (z)
      a = IsInf (q)
      b = IsInf <detect_negative = 0> (q)
      c = IsInf <detect_positive = 0> (q)
      af = Cast <to = 1> (a)
      bf = Cast <to = 1> (b)
      cf = Cast <to = 1> (c)
      s = Add (af, bf)
      d = Add (s, cf)
      y = Add (d, x)""", dict(zero=np.array([0, 1, 0, -1, 1, 0], np.float32)), opset=20)
    case("nonzero", "p = NonZero (mask)\n q = Squeeze (p, zero)\n y = Gather <axis = 1> (x, q)", dict(mask=i(0, 1, 1, 0), zero=i(0)), shape=grid)

    # Indices that are computed, that count from the end, and fewer of them than elements.
    case("gatherelements", top + "n = Sub (t, four)\n y = GatherElements <axis = 1> (x, n)", dict(four=i(4)), shape=grid)
    case("gatherelements_fewer", top + "n = Slice (t, zero, two, two)\n y = GatherElements <axis = -2> (x, n)", dict(zero=i(0), two=i(2)), shape=grid)
    case("gatherelements_known", "g = GatherElements <axis = 1> (w, at)\n y = MatMul (x, g)", dict(w=f(6, 5), at=i([0, -1], [4, 2], [1, 1], [0, 3], [2, 2], [-5, 0])))
    pairs = "k = Constant <value_ints = [3]> ()\n v, t = TopK <axis = 1> (x, k)\n"
    case("gathernd", pairs + "n = Sub (t, shift)\n y = GatherND (w, n)", dict(w=f(4, 4, 5), shift=i(0, 4)), shape=("N", 4, 2))
    case("gathernd_batch", pairs + "d = MatMul (x, c)\n y = GatherND <batch_dims = 1> (d, t)", dict(c=f(2, 4)), shape=("N", 4, 2))
    case("gathernd_known", "g = GatherND (w, at)\n y = MatMul (x, g)", dict(w=f(6, 2, 5), at=i(*[[j, -1 - j % 2] for j in range(6)])))

    for reduction in ("none", "add", "mul", "min", "max"):
        case(f"scatterelements_{reduction}", top + f'u = Mul (v, v)\n y = ScatterElements <axis = 1, reduction = "{reduction}"> (x, t, u)', shape=grid)
        case(f"scatterelements_fewer_{reduction}", top + f"""
          n = Slice (t, zero, two, two)
          m = Sub (n, four)
          u = Slice (v, zero, two, two)
          s = Add (u, u)
          y = ScatterElements <axis = 1, reduction = "{reduction}"> (x, m, s)""", dict(zero=i(0), two=i(2), four=i(4)), shape=grid)
        # The rows of a transposed tensor, some of them twice.
        case(f"scatternd_{reduction}", f"""
          r = Transpose <perm = [1, 0]> (x)
          u = Gather <axis = 0> (r, rows)
          e = Exp (u)
          s = ScatterND <reduction = "{reduction}"> (r, at, e)
          y = Transpose <perm = [1, 0]> (s)""", dict(rows=i(0, 5, 2, 2), at=i([1], [-2], [0], [1 if reduction != "none" else 3])))
    case("scatternd_computed", """
      w2 = Mul (w, w)
      a = ReduceMax <keepdims = 0> (w2)
      s = ScatterND (w, at, u)
      y = MatMul (x, s)""", dict(w=f(6, 4), at=i([2, 1], [-1, 0]), u=f(2)))

    # Quantised numbers: halves, numbers out of range, and zero points.
    case("quantize", "q = QuantizeLinear (x, s, z)\n y = DequantizeLinear (q, s, z)", dict(s=np.array(0.5, np.float32), z=np.array(3, np.uint8)), opset=19)
    case("quantize_saturated", "b = Mul (x, many)\n q = QuantizeLinear (b, s, z)\n y = DequantizeLinear (q, s, z)", dict(many=np.array(100, np.float32), s=np.array(0.5, np.float32), z=np.array(-7, np.int8)), opset=19)
    case("quantize_rows", "q = QuantizeLinear <axis = 1> (x, s, z)\n y = DequantizeLinear <axis = 1> (q, s, z)", dict(s=np.array([0.5, 0.01, 0.02, 0.3, 1, 2], np.float32), z=np.array([0, 10, -10, 5, 1, 0], np.int8)), opset=13)
    case("quantize_plain", "a = Abs (x)\n q = QuantizeLinear (a, s)\n y = DequantizeLinear (q, s)", dict(s=np.array(0.01, np.float32)), opset=13)
    case("dequantize", "w = DequantizeLinear <axis = 0> (q, s, z)\n b = DequantizeLinear (c, t)\n y = Gemm (x, w, b)",
         dict(q=np.arange(-12, 18, dtype=np.int8).reshape(6, 5) * 4, s=np.array([0.1, 0.2, 0.05, 0.3, 0.1, 1], np.float32), z=np.array([0, 1, 2, 0, 0, -3], np.int8), c=np.array([100, -5, 3, 7, 0], np.int32), t=np.array(0.01, np.float32)), opset=19)
    case("dequantize_blocks", "w = DequantizeLinear <axis = 0, block_size = 2> (q, s, z)\n y = MatMul (x, w)",
         dict(q=np.arange(0, 30, dtype=np.uint8).reshape(6, 5), s=f(3, 5), z=np.arange(15, dtype=np.uint8).reshape(3, 5)), opset=21)

    def fused(name, body, weights=None, shape=("N", 4, 6), opset=17):
        case(name, body, weights, shape=shape, opset=opset, more=["com.microsoft"])

    fused("quantized", "q = com.microsoft.QuantizeLinear (x, s, z)\n y = com.microsoft.DequantizeLinear (q, s, z)", dict(s=np.array(0.25, np.float32), z=np.array(0, np.int8)))

    # Attention: packed weights, a mask of keys, scores that are added.
    fused("attention", "y = com.microsoft.Attention <num_heads = 2> (x, w, b)", dict(w=f(6, 18), b=f(18)))
    fused("attention_causal", "y = com.microsoft.Attention <num_heads = 2, unidirectional = 1, scale = 0.4> (x, w, b)", dict(w=f(6, 18), b=f(18)))
    split = "q = MatMul (x, wq)\n k = MatMul (x, wk)\n v = MatMul (x, wv)\n"
    three = dict(wq=f(6, 4), wk=f(6, 4), wv=f(6, 6))
    fused("multiheadattention", split + "y = com.microsoft.MultiHeadAttention <num_heads = 2> (q, k, v)", three)
    fused("multiheadattention_bias", split + "y = com.microsoft.MultiHeadAttention <num_heads = 2, scale = 0.3> (q, k, v, b, , a)", dict(three, b=f(14), a=f(1, 2, 4, 4)))
    fused("multiheadattention_mask", split + """
      s = Shape (x)
      n = Gather (s, zero)
      m = Concat <axis = 0> (n, four)
      t = Expand (row, m)
      y = com.microsoft.MultiHeadAttention <num_heads = 2> (q, k, v, , t)""", dict(three, zero=i(0), four=i(4), row=np.array([1, 1, 0, 1], np.int32)))
    angles, wide = f(8, 2), f(8, 8)
    turns = dict(cos=np.cos(angles), sin=np.sin(angles))
    for name, more in (("", ""), ("_turned", ", do_rotary = 1"), ("_window", ", local_window_size = 2, softcap = 1.5")):
        fused(f"groupqueryattention{name}", f"""
          q = MatMul (x, wq)
          k = MatMul (x, wk)
          v = MatMul (x, wv)
          s = Shape (x)
          n = Gather (s, zero)
          l = Expand (last, n)
          y = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2{more}> (q, k, v, , , l, total, cos, sin)""",
              dict(wq=f(6, 64), wk=f(6, 32), wv=f(6, 32), zero=i(0), last=np.array([3], np.int32), total=np.array(4, np.int32), cos=np.cos(wide), sin=np.sin(wide)))
    for name, more in (("", ""), ("_interleaved", ", interleaved = 1")):
        fused(f"rotaryembedding{name}", f"h = MatMul (x, w)\n y = com.microsoft.RotaryEmbedding <num_heads = 2{more}> (h, p, cos, sin)", dict(w=f(6, 8), p=i(2), **turns))
        case(f"rotary{name}", f"h = MatMul (x, w)\n y = RotaryEmbedding <num_heads = 2{more}> (h, cos, sin)", dict(w=f(6, 8), cos=np.cos(angles)[None, :4], sin=np.sin(angles)[None, :4]), shape=("N", 4, 6), opset=23)

    # Attention of the standard, with past keys and values and masks of truth values.
    case("attention_past", """
      s = Shape (x)
      n = Gather (s, zero)
      m = Concat <axis = 0> (n, rest)
      a = Expand (pk, m)
      b = Expand (pv, m)
      q = MatMul (x, w)
      y, k, v = Attention <q_num_heads = 2, kv_num_heads = 2, is_causal = 1> (q, x, x, , a, b)""",
         dict(w=f(6, 6), pk=f(1, 2, 3, 3), pv=f(1, 2, 3, 3), zero=i(0), rest=i(2, 3, 3)), shape=("N", 4, 6), opset=23)
    case("attention_truth", "d = Transpose <perm = [0, 2, 1]> (x)\n p = MatMul (x, d)\n m = Greater (p, low)\n o = Or (m, own)\n u = Unsqueeze (o, one)\n y = Attention <q_num_heads = 2, kv_num_heads = 2> (x, x, x, u)",
         dict(low=np.array(0.5, np.float32), own=np.eye(4, dtype=bool), one=i(1)), shape=("N", 4, 6), opset=23)
    case("resize_crop", 'y = Resize <mode = "linear", axes = [2, 3], coordinate_transformation_mode = "tf_crop_and_resize", extrapolation_value = 2.5> (x, roi, , sizes)',
         dict(roi=np.array([0.2, 0.3, 1.4, 0.7], np.float32), sizes=i(5, 4)), shape=("N", 2, 6, 5), opset=19)

    case("scatter", top + "u = Mul (v, v)\n y = Scatter <axis = 1> (x, t, u)", shape=grid, opset=10)

    # What each example takes of itself, in the manner of both exporters of PyTorch.
    numbers = """
      s = Shape (x)
      n = Gather (s, zero)
      r = Range (zero0, n1, one)
      a = ArgMax <axis = 1, keepdims = 0> (m)
      """
    known = dict(zero=i(0), zero0=np.array(0, np.int64), one=np.array(1, np.int64), last=i(-1))
    numbers = numbers.replace("r = Range", "n1 = Squeeze (n)\n      r = Range")
    case("own_slices", "m = ReduceSum <keepdims = 0> (x, last)" + numbers + """
      b = Max (r, a)
      c = Shape (b)
      e = Expand (r, c)
      u = Unsqueeze (e, last)
      v = Unsqueeze (a, last)
      w = Concat <axis = -1> (u, v)
      y = GatherND (x, w)""", known, shape=grid)
    case("own_slices_flat", "m = ReduceSum <keepdims = 0> (x, last)" + numbers + """
      f = Reshape (x, rows)
      o = Mul (r, four)
      p = Add (a, o)
      y = Gather (f, p)""", dict(known, rows=i(-1, 3), four=np.array(4, np.int64)), shape=grid)
    case("own_slices_replaced", "m = ReduceSum <keepdims = 0> (x, last)" + numbers + """
      u = Unsqueeze (r, last)
      v = Unsqueeze (a, last)
      w = Concat <axis = -1> (u, v)
      e = ReduceMax <keepdims = 0> (x, middle)
      y = ScatterND (x, w, e)""", dict(known, middle=i(1)), shape=grid)
