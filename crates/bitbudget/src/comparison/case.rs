//! The cases of a comparison.

use crate::Limit;
use bitbudget_precision::Method;

/// A method, under a budget if it takes one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// The method.
    pub method: Method,
    /// The budget; `None` for a method that stands at its own peak.
    pub limit: Option<Limit>,
}

impl Case {
    /// The case in words: `ilp at 40%`, `fp32`.
    pub fn name(&self) -> String {
        match self.limit {
            Some(limit) => format!("{} at {limit}", self.method),
            None => self.method.to_string(),
        }
    }
}

/// The cases of methods and budgets, method by method, each once.
pub fn cases(methods: &[Method], budgets: &[Limit]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for &method in methods {
        let limits = match method.uses().budget {
            true => budgets.iter().copied().map(Some).collect(),
            false => vec![None],
        };
        for limit in limits {
            let case = Case { method, limit };
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_without_a_budget_stand_once() {
        let budgets = [Limit::Share(0.3), Limit::Bytes(1 << 20), Limit::Share(0.3)];
        let methods = [Method::Ilp, Method::Fp32, Method::Demote, Method::Fp32];
        let names: Vec<String> = cases(&methods, &budgets).iter().map(Case::name).collect();
        assert_eq!(names, ["ilp at 30%", "ilp at 1MiB", "fp32", "demote at 30%", "demote at 1MiB"]);
    }
}
