//! The way back through the steps.

use super::RecurrentLayer;
use bitbudget_ir::Cell;
use bitbudget_ir::ops::RecurrentGradient;
use std::fmt::Write as _;

impl RecurrentLayer {
    pub(super) fn backward(&self, text: &mut String, name: &str, reversed: &str, by: RecurrentGradient) {
        let vectors = self.op.gate_gradients();
        let by_gates = by == RecurrentGradient::Gates;
        let place = |k: &str| format!("((((u64)t * a.batch + n) * directions + d) * {vectors} + {k}) * size + i");
        let mut nothing = String::new();
        let mut gates = String::new();
        if by_gates {
            let each = format!("            for (u32 k = 0; k < {vectors}; k++)\n");
            nothing.push_str(&each);
            self.put(&mut nothing, "0.0f", &place("k"));
            gates.push_str(&each);
            self.put(&mut gates, "OF(passed, k * size + i)", &place("k"));
        }
        let of_y = |part: usize, t: &str| {
            format!("((({part} * (u64)a.steps + {t}) * directions + d) * a.batch + n) * size + i")
        };
        let has_second = self.op.states() > 1;
        let second = |text: String| if has_second { text } else { String::new() };
        let cleared = if self.op.cell == Cell::Gru { "SET(d_cell, i, 0.0f);" } else { "" };
        let first_place = "((u64)d * a.batch + n) * size + i";
        let _ = write!(
            text,
            "    FOR_EACH {{
        SET(d_state, i, 0.0f);
        SET(d_cell, i, 0.0f);
    }}
    for (u32 k = a.steps; k-- > 0;) {{
        const u32 t = {reversed} ? a.steps - 1 - k : k, earlier = {reversed} ? t + 1 : t - 1;
        FOR_EACH {{
            SET(d_state, i, OF(d_state, i) + READ_dy({}));
            {}
        }}
        if (t >= length) {{
            FOR_EACH {{
            {cleared}
{nothing}            }}
            continue;
        }}
        FOR_EACH {{
            SET(state, i, k > 0 ? READ_y({}) : READ_hidden({first_place}));
            SET(cell, i, {});
        }}
        barrier();
{step}        barrier();
{back}        FOR_EACH {{
            SET(d_state, i, OF(p_state, i){products});
            SET(d_cell, i, OF(p_cell, i));
{gates}        }}
    }}
",
            of_y(0, "t"),
            second(format!("SET(d_cell, i, OF(d_cell, i) + READ_dy({}));", of_y(1, "t"))),
            of_y(0, "earlier"),
            match has_second {
                true => format!("k > 0 ? READ_y({}) : READ_cell({first_place})", of_y(1, "earlier")),
                false => "0.0f".into(),
            },
            step = self.step(name),
            back = self.back(name),
            products = self.products(name),
        );
        if !by_gates {
            let vector = if by == RecurrentGradient::Hidden { "d_state" } else { "d_cell" };
            text.push_str("    FOR_EACH {\n");
            self.put(text, &format!("OF({vector}, i)"), first_place);
            text.push_str("    }\n");
        }
    }

    /// What products with R pass on to the state before. Of a GRU that resets before its product, that of the last gate is passed already.
    fn products(&self, name: &str) -> String {
        let pairs: &[(usize, usize)] = match (self.op.cell, self.op.linear_before_reset) {
            (Cell::Rnn, _) => &[(0, 0)],
            (Cell::Lstm, _) => &[(0, 0), (1, 1), (2, 2), (3, 3)],
            (Cell::Gru, false) => &[(0, 0), (1, 1)],
            (Cell::Gru, true) => &[(0, 0), (1, 1), (2, 3)],
        };
        let back = |(gate, vector): &(usize, usize)| {
            format!("\n                + {name}_transposed(a, d, {gate}, i, passed + {vector} * size)")
        };
        pairs.iter().map(back).collect()
    }

    /// The statements that go back through a step: from `d_state` and `d_cell` to `passed`, `p_state` and `p_cell`.
    fn back(&self, name: &str) -> String {
        let slope =
            |position: usize, gate: usize| format!("{name}_gate_slope(d, {position}, OF(before, {gate} * size + i))");
        match self.op.cell {
            Cell::Rnn => format!(
                "        FOR_EACH {{
            SET(passed, i, OF(d_state, i) * {});
            SET(p_state, i, 0.0f);
            SET(p_cell, i, 0.0f);
        }}
        barrier();
",
                slope(0, 0)
            ),
            Cell::Gru => {
                let reset = match self.op.linear_before_reset {
                    true => "SET(passed, 3 * size + i, OF(passed, 2 * size + i) * reset);
            const float d_reset = OF(passed, 2 * size + i) * OF(product, i);"
                        .to_string(),
                    false => format!(
                        "const float back = {name}_transposed(a, d, 2, i, passed + 2 * size) + OF(d_cell, i);
            SET(p_state, i, OF(p_state, i) + back * reset);
            const float d_reset = back * OF(state, i);"
                    ),
                };
                format!(
                    "        FOR_EACH {{
            const float z = OF(gates, i), candidate = OF(gates, 2 * size + i), dy = OF(d_state, i);
            SET(passed, i, dy * (OF(state, i) - candidate) * {});
            SET(passed, 2 * size + i, dy * (1 - z) * {});
            SET(p_state, i, dy * z);
            SET(p_cell, i, 0.0f);
        }}
        barrier();
        FOR_EACH {{
            const float reset = OF(gates, size + i);
            {reset}
            SET(passed, size + i, d_reset * {});
        }}
        barrier();
",
                    slope(0, 0),
                    slope(1, 2),
                    slope(0, 1)
                )
            }
            Cell::Lstm => self.back_lstm(name, &slope),
        }
    }

    fn back_lstm(&self, name: &str, slope: &dyn Fn(usize, usize) -> String) -> String {
        let peephole = |which: usize| format!("READ_peepholes(((u64)d * 3 + {which}) * size + i)");
        let forget = match self.op.input_forget {
            true => "d_input -= d_forget, d_forget = 0;",
            false => "",
        };
        format!(
            "        FOR_EACH {{
            const float input = OF(gates, i), output = OF(gates, size + i), forget = OF(gates, 2 * size + i);
            const float candidate = OF(gates, 3 * size + i), now = OF(next_cell, i), dy = OF(d_state, i);
            const float d_output = dy * {name}_value(d, 2, now) * {};
            const float d_next = OF(d_cell, i) + dy * output * {name}_slope(d, 2, now) + d_output * {};
            float d_input = d_next * candidate, d_forget = d_next * OF(cell, i);
            {forget}
            d_input *= {};
            d_forget *= {};
            SET(passed, i, d_input);
            SET(passed, size + i, d_output);
            SET(passed, 2 * size + i, d_forget);
            SET(passed, 3 * size + i, d_next * input * {});
            SET(p_state, i, 0.0f);
            SET(p_cell, i, d_next * forget + d_input * {} + d_forget * {});
        }}
        barrier();
",
            slope(0, 1),
            peephole(1),
            slope(0, 0),
            slope(0, 2),
            slope(1, 3),
            peephole(0),
            peephole(2)
        )
    }
}
