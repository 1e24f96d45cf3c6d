"""Cases of spectra, of layer normalisation as Keras computes it, by batch normalisation of rows, and of computed bounds."""
import numpy as np


def spectra(case, node, f, i):
    window = np.hanning(8).astype(np.float32)
    scalars = dict(step=np.array(3, np.int64), length=np.array(8, np.int64))
    case("stft", 17, ["N", 21, 1], [node("STFT", ["x", "step", "w"])], dict(step=scalars["step"], w=window))
    case("stft_length", 17, ["N", 20], [node("STFT", ["x", "step", "", "length"])], scalars, expect=lambda x, v: by_definition(x, np.ones(8), 3, 5))
    case("stft_two_sided", 17, ["N", 21, 1], [node("STFT", ["x", "step", "w", "length"], onesided=0)], dict(scalars, w=window))
    case("stft_odd", 17, ["N", 16, 1], [node("STFT", ["x", "step", "w"])], dict(step=scalars["step"], w=f(7)))


def by_definition(x, window, step, bins):
    frames = [x[:, at:at + len(window)] * window for at in range(0, x.shape[1] - len(window) + 1, step)]
    y = np.fft.fft(np.stack(frames, 1))[:, :, :bins]
    return np.stack([y.real, y.imag], -1)


def normalisation(case, node, f, i):
    steps = lambda scale, bias: [
        node("Shape", ["x"], ["all"]), node("Slice", ["all", "zero", "one"], ["n"]), node("Concat", ["one", "n", "six", "one"], ["rows"], axis=0), node("Reshape", ["x", "rows"], ["r"]),
        node("Constant", [], ["c"], value_float=scale), node("Expand", ["c", "n"], ["s"]), node("Constant", [], ["d"], value_float=bias), node("Expand", ["d", "n"], ["b"]),
        node("ReduceMean", ["r"], ["m"], axes=[0, 2, 3]), node("Sub", ["r", "m"], ["z"]), node("ReduceSumSquare", ["z"], ["q"], axes=[0, 2, 3], keepdims=0),
        node("Squeeze", ["m", "axes"], ["mean"]), node("Constant", [], ["count"], value_float=6.0), node("Div", ["q", "count"], ["v"]),
        node("BatchNormalization", ["r", "s", "b", "mean", "v"], ["k"], epsilon=0.001), node("Reshape", ["k", "all"])]
    known = dict(zero=i(0), one=i(1), six=i(6), axes=i(0, 2, 3))
    normal = lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.001)
    case("layer_norm_keras", 13, ["N", 6], steps(1.0, 0.0), known, expect=lambda x, v: normal(x))
    case("layer_norm_keras_scaled", 13, ["N", 6], steps(2.0, 0.5), known, expect=lambda x, v: 2 * normal(x) + 0.5)


def bounds(case, node):
    # onnxruntime takes one number only, which is of all examples.
    low, high = [node("ReduceMean", ["x"], ["m"], axes=[1]), node("Neg", ["m"], ["low"])], [node("ReduceMax", ["x"], ["m"], axes=[1]), node("Mul", ["m", "half"], ["high"])]
    case("clip_computed_min", 13, ["N", 6], [*low, node("Clip", ["x", "low", "hi"])], dict(hi=np.array(0.5, np.float32)), expect=lambda x, v: np.minimum(np.maximum(x, -x.mean(1, keepdims=True)), 0.5))
    case("clip_computed_max", 13, ["N", 6], [node("Constant", [], ["half"], value_float=0.5), *high, node("Clip", ["x", "lo", "high"])], dict(lo=np.array(-0.5, np.float32)),
         expect=lambda x, v: np.minimum(np.maximum(x, -0.5), 0.5 * x.max(1, keepdims=True)))


def add(case, node, f, i):
    spectra(case, node, f, i)
    normalisation(case, node, f, i)
    bounds(case, node)
