"""Cases of LSTM, GRU and RNN."""
import numpy as np

STEPS, INPUTS, HIDDEN = 6, 5, 4
GATES = dict(LSTM=4, GRU=3, RNN=1)
SHAPE = [STEPS, "N", INPUTS]


def add(case, node, f, i):
    def weights(op, directions, bias=True, peepholes=False):
        rows = GATES[op] * HIDDEN
        made = dict(w=f(directions, rows, INPUTS, scale=0.5), r=f(directions, rows, HIDDEN, scale=0.5))
        made |= dict(b=f(directions, 2 * rows, scale=0.5)) if bias else {}
        return made | (dict(p=f(directions, 3 * HIDDEN)) if peepholes else {})

    # The examples' lengths, 1 to 5, and initial states are computed from the first step.
    first = [node("Slice", ["x", "zero", "one", "zero"], ["first"])]
    lengths = [*first, node("ArgMax", ["first"], ["at"], axis=2, keepdims=0), node("Add", ["at", "one"], ["more"]),
               node("Squeeze", ["more", "zero"], ["row"]), node("Cast", ["row"], ["lengths"], to=6)]
    states = [*first, node("Slice", ["first", "zero", "four", "two"], ["h"]), node("Neg", ["h"], ["c"])]
    both = [*lengths, *states[1:]]
    numbers = dict(zero=i(0), one=i(1), two=i(2), four=i(HIDDEN))
    of_both = [node("Concat", ["h", "c"], ["hh"], axis=0), node("Concat", ["c", "h"], ["cc"], axis=0)]

    for op in GATES:
        name = op.lower()
        size = dict(hidden_size=HIDDEN)
        case(f"{name}_plain", 14, SHAPE, [node(op, ["x", "w", "r"], **size)], weights(op, 1, bias=False))
        case(f"{name}_last", 7, SHAPE, [node(op, ["x", "w", "r", "b"], ["", "y"], **size)], weights(op, 1))
        case(f"{name}_reverse", 14, SHAPE, [node(op, ["x", "w", "r", "b"], ["", "y"], direction="reverse", **size)], weights(op, 1))
        case(f"{name}_both_ways", 22, SHAPE, [node(op, ["x", "w", "r", "b"], direction="bidirectional", **size)], weights(op, 2))
        case(f"{name}_both_ways_last", 14, SHAPE, [node(op, ["x", "w", "r", "b"], ["", "y"], direction="bidirectional", **size)], weights(op, 2))
        case(f"{name}_states", 14, SHAPE, [*states, node(op, ["x", "w", "r", "b", "", "h", *(["c"] if op == "LSTM" else [])], **size)], weights(op, 1) | numbers)
        for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            inputs = ["x", "w", "r", "b", "lengths", *(["h", "c"] if count == 1 else ["hh", "cc"])[:2 if op == "LSTM" else 1]]
            nodes = [*both, *(of_both if count == 2 else []), node(op, inputs, ["all", "last"], direction=direction, **size),
                     node("Add", ["all", "last"])]
            case(f"{name}_lengths_{direction}", 14, SHAPE, nodes, weights(op, count) | numbers)
        case(f"{name}_batch_first", 14, ["N", STEPS, INPUTS], [node(op, ["x", "w", "r", "b"], ["all", "last"], layout=1, **size), node("Squeeze", ["all", "two"], ["a"]), node("Add", ["a", "last"])],
             weights(op, 1) | numbers)
        case(f"{name}_clip", 14, SHAPE, [node(op, ["x", "w", "r", "b"], clip=0.5, **size)], weights(op, 1))

    size = dict(hidden_size=HIDDEN)
    case("lstm_cell", 14, SHAPE, [node("LSTM", ["x", "w", "r", "b"], ["", "", "y"], direction="bidirectional", **size)], weights("LSTM", 2))
    case("lstm_one_state", 14, SHAPE, [*states, node("LSTM", ["x", "w", "r", "b", "", "", "c"], **size)], weights("LSTM", 1) | numbers)
    case("lstm_outputs", 14, SHAPE, [node("LSTM", ["x", "w", "r", "b"], ["a", "h", "c"], **size), node("Add", ["a", "h"], ["s"]), node("Add", ["s", "c"])], weights("LSTM", 1))
    case("lstm_peepholes", 14, SHAPE, [*states, node("LSTM", ["x", "w", "r", "b", "", "h", "c", "p"], **size)], weights("LSTM", 1, peepholes=True) | numbers)
    case("lstm_input_forget", 14, SHAPE, [node("LSTM", ["x", "w", "r", "b"], input_forget=1, **size)], weights("LSTM", 1))
    case("lstm_activations", 14, SHAPE, [node("LSTM", ["x", "w", "r", "b"], activations=["HardSigmoid", "Elu", "Softsign"], activation_alpha=[0.3, 0.7], activation_beta=[0.4], **size)], weights("LSTM", 1))
    case("gru_linear", 14, SHAPE, [*states, node("GRU", ["x", "w", "r", "b", "", "h"], linear_before_reset=1, **size)], weights("GRU", 1) | numbers)
    case("gru_linear_both_ways", 14, SHAPE, [node("GRU", ["x", "w", "r", "b"], linear_before_reset=1, direction="bidirectional", **size)], weights("GRU", 2))
    case("gru_activations", 14, SHAPE, [node("GRU", ["x", "w", "r", "b"], activations=["Sigmoid", "LeakyRelu"], activation_alpha=[0.2], **size)], weights("GRU", 1))
    numbers_of = {function: dict(activation_alpha=[0.6], activation_beta=[0.8]) for function in ("Affine", "ScaledTanh")}
    for function in ("Relu", "Affine", "LeakyRelu", "ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Softplus"):
        case(f"rnn_{function.lower()}", 14, SHAPE, [node("RNN", ["x", "w", "r", "b"], activations=[function], **numbers_of.get(function, {}), **size)], weights("RNN", 1))
    given = dict(activation_alpha=[0.5, 0.3], activation_beta=[0.25])
    case("rnn_two_activations", 14, SHAPE, [node("RNN", ["x", "w", "r", "b"], activations=["Affine", "LeakyRelu"], direction="bidirectional", **given, **size)], weights("RNN", 2))
    case("rnn_one_step", 14, [1, "N", INPUTS], [node("RNN", ["x", "w", "r", "b"], ["a", "l"], **size), node("Add", ["a", "l"])], weights("RNN", 1))
