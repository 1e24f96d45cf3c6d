"""Cases of comparisons, truth values, choices by them, and indices."""
import numpy as np

CNK = ["N", 6]


def add(case, node, f, i):
    number = node("Cast", ["t"], ["y"], to=1)
    for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
        case(f"{op.lower()}_rows", 17, CNK, [node("Round", ["x"], ["r"]), node(op, ["r", "c"], ["t"]), number], dict(c=np.array([-1, 0, 1, 0, 1, -1], np.float32)))
        case(f"{op.lower()}_number", 13, CNK, [node(op, ["x", "c"], ["t"]), number], dict(c=np.array(0.25, np.float32)))
    half, low = np.array(0.5, np.float32), np.array([-0.5], np.float32)
    two = [node("Greater", ["x", "c"], ["a"]), node("Less", ["x", "d"], ["b"])]
    for op in ("And", "Or", "Xor"):
        case(f"{op.lower()}_rows", 13, CNK, [*two, node(op, ["a", "b"], ["t"]), number], dict(c=low, d=half))
    case("not_rows", 13, CNK, [node("Greater", ["x", "c"], ["a"]), node("Not", ["a"], ["t"]), number], dict(c=half))
    case("is_nan", 13, CNK, [node("Log", ["x"], ["l"]), node("IsNaN", ["l"], ["t"]), number])
    case("where_rows", 16, CNK, [node("Greater", ["x", "c"], ["t"]), node("Where", ["t", "x", "v"])], dict(c=half, v=f(6)))
    case("where_number", 13, CNK, [node("Less", ["x", "c"], ["t"]), node("Where", ["t", "n", "x"])], dict(c=half, n=np.array(-7, np.float32)))
    for op in ("Floor", "Ceil", "Round"):
        case(op.lower(), 13, CNK, [node("Mul", ["x", "c"], ["z"]), node(op, ["z"])], dict(c=np.array(3, np.float32)))
    case("round_halves", 13, CNK, [node("Mul", ["x", "c"], ["z"]), node("Round", ["z"], ["r"]), node("Mul", ["r", "h"], ["q"]), node("Round", ["q"])],
         dict(c=np.array(6, np.float32), h=half))
    case("mod_floats", 13, CNK, [node("Mod", ["x", "c"], fmod=1)], dict(c=np.full(6, -0.7, np.float32) + 0.1 * np.arange(6, dtype=np.float32)))
    whole = [node("Mul", ["x", "c"], ["z"]), node("Cast", ["z"], ["w"], to=7)]
    nine = dict(c=np.array(9, np.float32))
    case("mod_integers", 13, CNK, [*whole, node("Mod", ["w", "d"], ["t"]), number], dict(nine, d=i(-4, 3, 2, -2, 5, 7)))
    case("integer_arithmetic", 13, CNK, [*whole, node("Div", ["w", "d"], ["q"]), node("Add", ["q", "w"], ["s"]), node("Mul", ["s", "e"], ["m"]), node("Abs", ["m"], ["t"]), number],
         dict(nine, d=i(2, 3, -2, 4, 5, 7), e=i(-3, 2, 1, 4, -1, 5)))
    case("cast_truth", 13, CNK, [*whole, node("Cast", ["w"], ["b"], to=9), node("Cast", ["b"], ["y"], to=1)], nine)
    for op in ("ArgMax", "ArgMin"):
        # What ends in them is trained by the scores before.
        double = [node("Cast", ["t"], ["q"], to=1), node("Add", ["q", "q"])]
        case(f"{op.lower()}_middle", 13, ["N", 4, 3], [node(op, ["x"], ["t"], axis=1), *double])
        case(f"{op.lower()}_last", 12, ["N", 4, 3], [node("Round", ["x"], ["r"]), node(op, ["r"], ["t"], axis=-1, keepdims=0, select_last_index=1), *double])
    case("gather_computed", 13, ["N", 3, 4], [node("ArgMax", ["x"], ["t"], axis=2, keepdims=0), node("Gather", ["w", "t"])], dict(w=f(4, 5)))
    case("gather_axis", 13, ["N", 5, 2], [node("Gather", ["x", "t"], axis=1)], dict(t=i(4, 0, -1, 2)))
    case("one_hot", 11, ["N", 3, 4], [node("ArgMax", ["x"], ["t"], axis=2, keepdims=0), node("OneHot", ["t", "d", "v"])], dict(d=i(6), v=np.array([0.5, 2], np.float32)))
    case("one_hot_axis", 11, ["N", 3, 4], [node("ArgMax", ["x"], ["t"], axis=2, keepdims=0), node("OneHot", ["t", "d", "v"], axis=1)], dict(d=i(4), v=np.array([-1, 1], np.float32)))
    case("layer_norm_statistics", 17, ["N", 4, 6], [node("LayerNormalization", ["x", "s", "b"], ["n", "m", "d"]), node("Mul", ["m", "d"], ["q"]), node("Add", ["n", "q"])], dict(s=f(6), b=f(6)))
