//! The settings of updates.

use crate::Compiled;
use bitbudget_autodiff::Optimizer;
use bitbudget_ir::{NodeId, Op};

impl Compiled {
    /// The optimizer, as the training graph has it; betas are those of the default.
    pub fn optimizer(&self) -> Option<Optimizer> {
        let decay = |id: NodeId| match self.training.op(id) {
            Op::SgdVelocity(op) => Some(Optimizer::Sgd { momentum: op.momentum.0, weight_decay: op.weight_decay.0 }),
            Op::AdamwParameter(op) => match Optimizer::adamw() {
                Optimizer::AdamW { betas, .. } => {
                    Some(Optimizer::AdamW { betas, epsilon: op.epsilon.0, weight_decay: op.weight_decay.0 })
                }
                sgd @ Optimizer::Sgd { .. } => Some(sgd),
            },
            _ => None,
        };
        self.training.ids().find_map(decay)
    }
}
