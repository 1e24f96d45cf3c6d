//! The two baselines that choose levels by operator (paper, "Baselines").

use crate::kind::Kind;
use crate::tensors::{Level, Operator, operators};
use bitbudget_ir::{Graph, Op, Precision};

/// The levels of an operator's tensors. A parameter gradient has the level of its parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Levels {
    parameters: Level,
    output: Level,
    output_gradient: Level,
}

impl Levels {
    /// Creates levels that are all the same.
    const fn all(level: Level) -> Levels {
        Levels { parameters: level, output: level, output_gradient: level }
    }

    /// Returns the level of a kind.
    pub(crate) fn of(self, kind: Kind) -> Level {
        match kind {
            Kind::Parameter | Kind::ParameterGradient => self.parameters,
            Kind::Output => self.output,
            Kind::OutputGradient => self.output_gradient,
        }
    }
}

/// Returns levels per operator as in hybrid FP8 training (Sun et al., 2019; pi_op): parameters and output gradients of
/// convolutions and matrix products are low, and so are the outputs that these read. The ends of the network are high.
pub(crate) fn hybrid(graph: &Graph) -> Vec<Levels> {
    let operators = operators(graph);
    let mut levels = vec![Levels::all(Level::High); operators.len()];
    for (i, operator) in operators.iter().enumerate() {
        if graph.op(operator.node).precision() == Precision::Gemm {
            levels[i].parameters = Level::Low;
            levels[i].output_gradient = Level::Low;
            for &read in &operator.reads {
                levels[read].output = Level::Low;
            }
        }
    }
    raise_ends(graph, &operators, &mut levels);
    levels
}

/// Returns levels per operator as in torch.amp (pi_op'): convolutions and matrix products are low. Operators that follow their
/// inputs are low if all inputs are. All others and the ends of the network are high.
///
/// The ends are raised last, so an operator that follows a raised one stays low.
pub(crate) fn amp(graph: &Graph) -> Vec<Levels> {
    let operators = operators(graph);
    let mut levels: Vec<Levels> = Vec::with_capacity(operators.len());
    for operator in &operators {
        let follows = || !operator.reads.is_empty() && operator.reads.iter().all(|&i| levels[i].output == Level::Low);
        let level = match graph.op(operator.node).precision() {
            Precision::Gemm => Level::Low,
            Precision::Follow if follows() => Level::Low,
            _ => Level::High,
        };
        levels.push(Levels::all(level));
    }
    raise_ends(graph, &operators, &mut levels);
    levels
}

/// Raises the ends of the network: inputs, operators that read only inputs, the last group, and the tensors it reads.
fn raise_ends(graph: &Graph, operators: &[Operator], levels: &mut [Levels]) {
    let is_input = |i: usize| matches!(graph.op(operators[i].node), Op::Input(_));
    let last = operators.last().map_or(0, |operator| operator.group);
    for (i, operator) in operators.iter().enumerate() {
        let first = !operator.reads.is_empty() && operator.reads.iter().all(|&read| is_input(read));
        if is_input(i) || first || operator.group == last {
            levels[i] = Levels::all(Level::High);
        }
        if operator.group == last {
            for &read in &operator.reads {
                levels[read].output = Level::High;
                levels[read].output_gradient = Level::High;
            }
        }
    }
}
