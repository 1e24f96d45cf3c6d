//! Indices, orders and quantised numbers that cannot be imported.

use crate::messages::each_has_its_message;
use crate::models::{floats, int, model, node, text, whole, with};

#[test]
fn indices_and_quantised_numbers_have_their_messages() {
    let scattered = |reduction: &str| {
        let scatter = with(node("ScatterND", &["x", "i", "u"], "y"), text("reduction", reduction));
        model(vec![scatter], vec![whole("i", &[0]), floats("u", &[4, 5, 6], 120)])
    };
    let top = |axis: i64, k: i64| {
        model(vec![with(node("TopK", &["x", "k"], "y"), int("axis", axis))], vec![whole("k", &[k])])
    };
    each_has_its_message(vec![
        (
            "slices of the batch",
            model(vec![node("GatherND", &["x", "i"], "y")], vec![whole("i", &[0])]),
            &["it indexes the batch", "export the network without it"],
        ),
        (
            "elements by a list",
            model(vec![node("GatherElements", &["x", "i"], "y")], vec![whole("i", &[0])]),
            &["differ in their number of dimensions"],
        ),
        ("replaced batch", scattered("add"), &["it indexes the batch"]),
        ("unknown reduction", scattered("mean"), &["its reduction `mean` is not known"]),
        ("too many", top(1, 9), &["k must be from 1 to 4, the size of dimension 1"]),
        ("order of the batch", top(0, 1), &["it compares the examples of a batch"]),
        (
            "quantised to fractions",
            model(vec![node("QuantizeLinear", &["x", "s", "z"], "y")], vec![floats("s", &[], 1), floats("z", &[], 1)]),
            &["quantised numbers of type FLOAT are not supported"],
        ),
        (
            "no scale",
            model(vec![node("QuantizeLinear", &["x", "s"], "y")], vec![floats("s", &[], 1)]),
            &["its scale holds 0, but must be positive"],
        ),
        (
            "scales of another axis",
            model(vec![node("QuantizeLinear", &["x", "s"], "y")], vec![floats("s", &[3], 3)]),
            &["its scale or zero point [3] does not fit its input"],
        ),
        (
            "numbers of examples",
            model(
                vec![
                    node("Shape", &["x"], "s"),
                    node("Gather", &["s", "zero"], "n"),
                    node("Squeeze", &["n"], "n0"),
                    node("Range", &["a", "n0", "b"], "r"),
                    with(node("Cast", &["r"], "c"), int("to", 1)),
                    node("Reshape", &["c", "to"], "d"),
                    node("Add", &["x", "d"], "y"),
                ],
                vec![whole("zero", &[0]), whole("a", &[0]), whole("b", &[1]), whole("to", &[-1, 1, 1, 1])],
            ),
            &["`the_range` (Range) numbers the examples of a batch"],
        ),
    ]);
}
