"""Cases of operators on quantised numbers, and of more of ONNX Runtime's attention."""
import numpy as np


def add(case, f):
    i = lambda *values: np.array(values, np.int64)
    one = lambda value, kind=np.float32: np.array(value, kind)
    numbers = np.random.default_rng(11)
    weight = lambda *shape: numbers.integers(-120, 120, shape).astype(np.int8)
    scales = lambda *shape: numbers.uniform(0.01, 0.03, shape).astype(np.float32)
    image = ("N", 3, 5, 4)
    enter, leave = "q = QuantizeLinear (x, xs, xz)\n", "\n y = DequantizeLinear (r, ys, yz)"
    ends = dict(xs=one(0.0213), xz=one(120, np.uint8), ys=one(0.0517), yz=one(100, np.uint8))

    case("qlinearconv", enter + "r = QLinearConv <pads = [1, 1, 1, 1], strides = [1, 2]> (q, xs, xz, w, ws, wz, ys, yz, b)" + leave,
         dict(ends, w=weight(4, 3, 3, 3), ws=scales(4), wz=np.zeros(4, np.int8), b=numbers.integers(-900, 900, 4).astype(np.int32)), shape=image, opset=13)
    case("qlinearconv_plain", enter + "r = QLinearConv (q, xs, xz, w, ws, wz, ys, yz)" + leave,
         dict(ends, w=weight(4, 3, 2, 2).view(np.uint8), ws=one(0.01), wz=one(128, np.uint8)), shape=image, opset=13)
    case("qlinearmatmul", enter + "r = QLinearMatMul (q, xs, xz, w, ws, wz, ys, yz)" + leave, dict(ends, w=weight(6, 5), ws=one(0.02), wz=one(3, np.int8)), opset=13)
    case("matmulinteger", enter + "m = MatMulInteger (q, w, xz, wz)\n c = Cast <to = 1> (m)\n y = Mul (c, s)", dict(ends, w=weight(6, 5), wz=one(-4, np.int8), s=one(0.0004)), opset=13)
    case("convinteger", enter + "m = ConvInteger <pads = [1, 0, 0, 1]> (q, w, xz)\n c = Cast <to = 1> (m)\n y = Mul (c, s)", dict(ends, w=weight(4, 3, 2, 2).view(np.uint8), s=one(0.0004)), shape=image, opset=13)

    def fused(name, body, weights=None, shape=("N", 4, 6), opset=17, written=None):
        case(name, body, weights, shape=shape, opset=opset, more=["com.microsoft"], written=written)

    fused("qgemm", enter + "r = com.microsoft.QGemm <alpha = 1.5, transB = 1> (q, xs, xz, w, ws, wz, b, ys, yz)" + leave,
          dict(ends, w=weight(5, 6), ws=one(0.01), wz=one(0, np.int8), b=numbers.integers(-900, 900, 5).astype(np.int32)), shape=("N", 6))
    two = enter + "a = Abs (x)\n p = QuantizeLinear (a, as, az)\n"
    second = dict(ends, **{"as": one(0.0117), "az": one(0, np.uint8)})
    fused("qlinearadd", two + "r = com.microsoft.QLinearAdd (q, xs, xz, p, as, az, ys, yz)" + leave, second)
    fused("qlinearmul", two + "r = com.microsoft.QLinearMul (q, xs, xz, p, as, az, ys, yz)" + leave, second)
    fused("qlinearconcat", two + "r = com.microsoft.QLinearConcat <axis = 1> (ys, yz, q, xs, xz, p, as, az)" + leave, second)
    small = dict(ends, ys=one(1 / 256), yz=one(0, np.uint8))
    fused("qlinearsigmoid", enter + "r = com.microsoft.QLinearSigmoid (q, xs, xz, ys, yz)" + leave, small)
    fused("qlinearleakyrelu", enter + "r = com.microsoft.QLinearLeakyRelu <alpha = 0.2> (q, xs, xz, ys, yz)" + leave, ends)
    fused("qlinearaveragepool", enter + "r = com.microsoft.QLinearAveragePool <kernel_shape = [2, 2]> (q, xs, xz, ys, yz)" + leave, ends, image)
    fused("qlinearglobalaveragepool", enter + "r = com.microsoft.QLinearGlobalAveragePool (q, xs, xz, ys, yz)" + leave, ends, image)
    fused("matmulintegertofloat", enter + "y = com.microsoft.MatMulIntegerToFloat (q, w, xs, ws, xz, wz, b)", dict(ends, w=weight(6, 5), ws=scales(5), wz=np.zeros(5, np.int8), b=f(5)))

    # Queries, keys and values packed; keys and values that have their heads already.
    packed = "h = MatMul (x, w)\n p = Reshape (h, parts)\n "
    fused("multiheadattention_packed", packed + "y = com.microsoft.MultiHeadAttention <num_heads = 2> (p, , , b)", dict(w=f(6, 24), b=f(24), parts=i(0, 0, 2, 3, 4), flat=i(0, 0, 8)), written=packed + """
      q5, k5, v5 = Split <axis = 3, num_outputs = 3> (p)
      q = Reshape (q5, flat)
      k = Reshape (k5, flat)
      v = Reshape (v5, flat)
      y = com.microsoft.MultiHeadAttention <num_heads = 2> (q, k, v, b)""", opset=18)
    fused("multiheadattention_cross", """
      s = Shape (x)
      n = Gather (s, zero)
      m = Concat <axis = 0> (n, rest)
      k = Expand (k1, m)
      v = Expand (v1, m)
      q = MatMul (x, w)
      y = com.microsoft.MultiHeadAttention <num_heads = 2> (q, k, v)""", dict(w=f(6, 6), k1=f(1, 2, 5, 3), v1=f(1, 2, 5, 3), zero=i(0), rest=i(2, 5, 3)))
    past = """
      s = Shape (x)
      n = Gather (s, zero)
      m = Concat <axis = 0> (two, n, rest)
      p = Expand (p1, m)
    """
    cached = dict(w=f(6, 18), b=f(18), p1=f(2, 1, 2, 3, 3), zero=i(0), two=i(2), rest=i(2, 3, 3))
    fused("attention_cache", past + "y, e = com.microsoft.Attention <num_heads = 2, unidirectional = 1> (x, w, b, , p)", cached)
    fused("attention_present", past + """
      a, e = com.microsoft.Attention <num_heads = 2, unidirectional = 1> (x, w, b, , p)
      g = Gather <axis = 0> (e, which)
      t = Transpose <perm = [0, 2, 1, 3]> (g)
      y = Reshape (t, flat)""", dict(cached, which=np.array(1, np.int64), flat=i(0, 0, 6)))
    wide = f(8, 8)
    fused("groupqueryattention_packed", """
      h = MatMul (x, w)
      s = Shape (x)
      n = Gather (s, zero)
      l = Expand (last, n)
      y = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2, do_rotary = 1> (h, , , , , l, total, cos, sin)""",
          dict(w=f(6, 128), zero=i(0), last=np.array([3], np.int32), total=np.array(4, np.int32), cos=np.cos(wide), sin=np.sin(wide)))
    tokens = """
      a = Abs (x)
      t = Cast <to = 6> (a)
      l = Greater (x, low)
      m = Cast <to = 6> (l)
    """
    tables = dict(we=f(9, 6), pe=f(7, 6), se=f(2, 6), g=f(6), b=f(6), low=np.array(-0.5, np.float32))
    fused("embedlayernormalization", tokens + "y, n = com.microsoft.EmbedLayerNormalization <epsilon = 0.01> (t, m, we, pe, se, g, b)", tables, ("N", 4))
    fused("embedlayernormalization_mask", tokens + """
      h, n, e = com.microsoft.EmbedLayerNormalization (t, , we, pe, , g, b, m)
      c = Cast <to = 1> (n)
      u = Reshape (c, apart)
      d = Add (h, e)
      y = Add (d, u)""", dict(tables, apart=i(-1, 1, 1)), ("N", 4))

    # The operators of QONNX, whose bits, bounds and rounding stand in its documentation.
    def qonnx(name, body, weights, written):
        case(name, body, weights, opset=17, more=["qonnx.custom_op.general"], written=written)

    bounds = dict(s=one(0.25), z=one(0), n=one(4), least=one(-8), most=one(7))
    steps = "d = Div (x, s)\n e = Add (d, z)\n c = Clip (e, least, most)\n r = Round (c)\n f = Sub (r, z)\n y = Mul (f, s)"
    quant = "y = qonnx.custom_op.general.Quant <signed = {}, narrow = {}, rounding_mode = \"ROUND\"> (x, s, z, n)"
    qonnx("qonnx_quant", quant.format(1, 0), bounds, steps)
    qonnx("qonnx_quant_narrow", quant.format(1, 1), dict(bounds, least=one(-7)), steps)
    qonnx("qonnx_quant_unsigned", quant.format(0, 0), dict(bounds, s=one([0.5, 0.25, 0.1, 0.3, 1, 0.02]), z=one(3), n=one(3), least=one(0), most=one(7)), steps)
    qonnx("qonnx_quant_weight", "v = qonnx.custom_op.general.Quant <signed = 1, narrow = 1, rounding_mode = \"ROUND\"> (w, s, z, n)\n y = MatMul (x, v)", dict(bounds, least=one(-7), w=f(6, 5)),
          steps.replace("x, s", "w, s").replace("y = Mul", "v = Mul") + "\n y = MatMul (x, v)")
    qonnx("qonnx_bipolar", "y = qonnx.custom_op.general.BipolarQuant (x, s)", dict(s=one(0.75), zero=one(0)), "p = GreaterOrEqual (x, zero)\n m = Neg (s)\n y = Where (p, s, m)")
