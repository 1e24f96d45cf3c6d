//! A step of each kind of layer.

use super::RecurrentLayer;
use bitbudget_ir::Cell;

impl RecurrentLayer {
    /// The statements of a step: from `state` and `cell` to `next` and `next_cell`.
    pub(super) fn step(&self, name: &str) -> String {
        let sum = |gate: usize| {
            let gates = self.op.cell.gates();
            format!(
                "({name}_input(a, d, n, t, {gate} * size + i) + {name}_product(a, d, {gate} * size + i, state) + \
                 READ_bias(((u64)d * 2 * {gates} + {gates} + {gate}) * size + i))"
            )
        };
        match self.op.cell {
            Cell::Rnn => format!(
                "            FOR_EACH {{
                const float sum = {};
                SET(before, i, sum);
                SET(next, i, {name}_gate(d, 0, sum));
                SET(next_cell, i, 0.0f);
            }}
",
                sum(0)
            ),
            Cell::Gru => self.gru(name, &sum),
            Cell::Lstm => self.lstm(name, &sum),
        }
    }

    fn gru(&self, name: &str, sum: &dyn Fn(usize) -> String) -> String {
        let hidden = match self.op.linear_before_reset {
            true => format!(
                "const float of_state = {name}_product(a, d, 2 * size + i, state) + bias;
                SET(product, i, of_state);
                const float sum = x + OF(gates, size + i) * of_state;"
            ),
            false => format!("const float sum = x + {name}_product(a, d, 2 * size + i, next_cell) + bias;"),
        };
        format!(
            "            FOR_EACH {{
                const float z = {}, reset = {};
                SET(before, i, z);
                SET(before, size + i, reset);
                SET(gates, i, {name}_gate(d, 0, z));
                const float opened = {name}_gate(d, 0, reset);
                SET(gates, size + i, opened);
                SET(next_cell, i, opened * OF(state, i));
            }}
            barrier();
            FOR_EACH {{
                const float x = {name}_input(a, d, n, t, 2 * size + i), bias = READ_bias(((u64)d * 6 + 5) * size + i);
                {hidden}
                const float candidate = {name}_gate(d, 1, sum), z = OF(gates, i);
                SET(before, 2 * size + i, sum);
                SET(gates, 2 * size + i, candidate);
                SET(next, i, (1 - z) * candidate + z * OF(state, i));
            }}
",
            sum(0),
            sum(1)
        )
    }

    fn lstm(&self, name: &str, sum: &dyn Fn(usize) -> String) -> String {
        let peephole = |which: usize| format!("READ_peepholes(((u64)d * 3 + {which}) * size + i)");
        let forget = match self.op.input_forget {
            true => "1 - input".to_string(),
            false => format!("{name}_gate(d, 0, a_f)"),
        };
        format!(
            "            FOR_EACH {{
                const float old = OF(cell, i);
                const float a_i = {} + {} * old, a_f = {} + {} * old, a_c = {};
                const float input = {name}_gate(d, 0, a_i), forget = {forget}, candidate = {name}_gate(d, 1, a_c);
                const float now = forget * old + input * candidate;
                const float a_o = {} + {} * now, output = {name}_gate(d, 0, a_o);
                SET(before, i, a_i);
                SET(before, size + i, a_o);
                SET(before, 2 * size + i, a_f);
                SET(before, 3 * size + i, a_c);
                SET(gates, i, input);
                SET(gates, size + i, output);
                SET(gates, 2 * size + i, forget);
                SET(gates, 3 * size + i, candidate);
                SET(next, i, output * {name}_value(d, 2, now));
                SET(next_cell, i, now);
            }}
",
            sum(0),
            peephole(0),
            sum(2),
            peephole(2),
            sum(3),
            sum(1),
            peephole(1)
        )
    }
}
