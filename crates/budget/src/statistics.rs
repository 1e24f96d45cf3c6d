//! Statistics of normalisations that a network computes by single operators.

use bitbudget_ir::{Form, Graph, NodeId, Op};

/// For each node, whether it is a statistic: a reduction, or a function of such alone, that is spread over a larger tensor again, as the
/// mean square of a root mean square normalisation. It is small, its range is not that of the tensor, and its rounding moves all
/// that it is spread over.
pub(crate) fn statistics(training: &Graph) -> Vec<bool> {
    let elements = |id: NodeId| training.ty(id).shape.elements(1);
    let mut reduced = vec![false; training.len()];
    for id in training.ids() {
        let operands = training.operands(id);
        let is_small = |x: &NodeId| reduced[x.index()] || elements(*x) == 1;
        reduced[id.index()] = match training.facts(id).form {
            Form::Reduction { .. } => elements(id) > 1 && operands.first().is_some_and(|&x| elements(x) > elements(id)),
            Form::Map(_) | Form::Alias => {
                operands.iter().any(|x| reduced[x.index()])
                    && operands.iter().all(is_small)
                    && operands.iter().all(|&x| elements(x) <= elements(id))
            }
            _ => false,
        };
    }
    let mut spread = vec![false; training.len()];
    for id in training.ids().rev().filter(|id| reduced[id.index()]) {
        let spreads = |&reader: &NodeId| match (reduced[reader.index()], training.op(reader)) {
            (true, _) => spread[reader.index()],
            (false, Op::Broadcast(_)) => true,
            (false, _) => matches!(training.facts(reader).form, Form::Map(_)) && elements(reader) > elements(id),
        };
        spread[id.index()] = training.readers(id).iter().any(spreads);
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::statistics;

    #[test]
    fn of_a_root_mean_square_but_not_of_pooling() {
        let text = r#"graph "g" {
  %0 = input {name="x"} : f32[N,4,8]
  %1 = mul(%0, %0) : f32[N,4,8] output "square"
  %2 = reduce_mean(%1) {axes=[2], keep=true} : f32[N,4,1] output "mean"
  %3 = constant {name="epsilon"} : f32[]
  %4 = add(%2, %3) : f32[N,4,1] output "sum"
  %5 = sqrt(%4) : f32[N,4,1] output "root"
  %6 = div(%0, %5) : f32[N,4,8] output "normalised"
  %7 = reduce_mean(%6) {axes=[1]} : f32[N,8] output "pooled"
  %8 = relu(%7) : f32[N,8] output "features"
  return "y" = %8
}"#;
        let found = statistics(&text.parse().unwrap());
        let nodes: Vec<usize> = (0..found.len()).filter(|&at| found[at]).collect();
        assert_eq!(nodes, [2, 4, 5]);
    }
}
