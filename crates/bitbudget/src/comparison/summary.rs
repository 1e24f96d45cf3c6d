//! All cases side by side.

use super::record::{Assigned, CaseRecord, Fitting, Refused};
use bitbudget_formats::Format;
use bitbudget_report::comparison::{
    Comparison, Examples, Question, Spread, Summarised, Timing, Trained, TrainingRecord,
};
use std::collections::BTreeMap;

/// Puts cases and their trainings side by side.
pub fn comparison(question: Question, cases: &[(CaseRecord, Vec<TrainingRecord>)], timings: Vec<Timing>) -> Comparison {
    let fitting = |record: &CaseRecord| match &record.assigned {
        Assigned::Fits(fitting) => Some((**fitting).clone()),
        Assigned::DoesNotFit(_) => None,
    };
    let tensors = cases.iter().find_map(|(record, _)| fitting(record)).map(|fitting| fitting.tensors);
    let fp32 = cases.iter().find(|(record, _)| record.method == "fp32");
    let mut summarised: Vec<Summarised> = cases.iter().map(|(record, t)| summarised(record, t)).collect();
    mark_front(&mut summarised);
    Comparison {
        question,
        format_bits: format_bits(&summarised),
        fp32_peak: fp32
            .and_then(|(record, _)| fitting(record))
            .map(|fitting| fitting.peak)
            .or_else(|| cases.iter().find_map(|(record, _)| record.fp32_peak)),
        accuracy_on: cases.iter().flat_map(|(_, trainings)| trainings).find_map(examples),
        tensors: tensors.unwrap_or_default(),
        cases: summarised,
        timings: Some(timings),
    }
}

/// The examples that a training's accuracy, or loss, is of, if it came to one.
fn examples(training: &TrainingRecord) -> Option<Examples> {
    match training.trained {
        Trained::Finished { test_accuracy: Some(_), .. } | Trained::Finished { test_loss: Some(_), .. } => {
            Some(Examples::Test)
        }
        Trained::Finished { .. } => Some(Examples::Training),
        Trained::Diverged { .. } => None,
    }
}

/// The spread of some numbers; nothing for none.
fn spread(numbers: &[f64]) -> Option<Spread> {
    let count = numbers.len();
    let mean = numbers.iter().sum::<f64>() / count as f64;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    let deviation = (squares / count.saturating_sub(1).max(1) as f64).sqrt();
    let min = numbers.iter().copied().reduce(f64::min)?;
    let max = numbers.iter().copied().reduce(f64::max)?;
    Some(Spread { count, mean, min, max, deviation })
}

/// The bits of every format that occurs.
fn format_bits(cases: &[Summarised]) -> BTreeMap<String, u32> {
    let bits = |name: &String| Some((name.clone(), name.parse::<Format>().ok()?.bits()));
    cases.iter().flat_map(|case| &case.formats).filter_map(bits).collect()
}

fn summarised(record: &CaseRecord, trainings: &[TrainingRecord]) -> Summarised {
    let CaseRecord { method, budget, budget_bytes, assigned, .. } = record.clone();
    let accuracy = |training: &TrainingRecord| match &training.trained {
        Trained::Finished { test_accuracy, train_accuracy, .. } => test_accuracy.or(*train_accuracy),
        Trained::Diverged { .. } => None,
    };
    let loss = |training: &TrainingRecord| match &training.trained {
        Trained::Finished { test_loss, train_loss, .. } => test_loss.or(*train_loss),
        Trained::Diverged { .. } => None,
    };
    let accuracies: Vec<f64> = trainings.iter().filter_map(accuracy).collect();
    let losses: Vec<f64> = trainings.iter().filter(|_| accuracies.is_empty()).filter_map(loss).collect();
    let diverged = trainings.iter().filter(|training| matches!(training.trained, Trained::Diverged { .. })).count();
    let mut case = Summarised {
        method,
        budget,
        budget_bytes,
        fits: false,
        peak: None,
        proved: None,
        cost: None,
        bound: None,
        low_ratio: None,
        bits_per_element: None,
        recomputed: Vec::new(),
        accuracy: spread(&accuracies),
        loss: spread(&losses),
        diverged,
        front: false,
        formats: Vec::new(),
        trainings: trainings.to_vec(),
    };
    match assigned {
        Assigned::Fits(fitting) => {
            let Fitting { peak, cost, bound, low_ratio, bits_per_element, tensors, plan } = *fitting;
            (case.fits, case.peak, case.cost, case.bound) = (true, Some(peak), cost, bound);
            (case.low_ratio, case.bits_per_element) = (Some(low_ratio), Some(bits_per_element));
            case.recomputed = plan.recomputed().to_vec();
            case.formats = plan.formats_of(&tensors);
        }
        Assigned::DoesNotFit(Refused { smallest_peak, proved }) => {
            (case.peak, case.proved) = (smallest_peak, proved);
        }
    }
    case
}

/// Marks the cases that no other one is as good as or better than, in peak and in accuracy, loss or cost.
fn mark_front(cases: &mut [Summarised]) {
    let trained = cases.iter().any(|case| !case.trainings.is_empty());
    // Larger is worse in both.
    let place = |case: &Summarised| -> Option<(usize, f64)> {
        let worth = match trained {
            true if case.diverged > 0 => None,
            true => case.accuracy.map(|accuracy| -accuracy.mean).or(case.loss.map(|loss| loss.mean)),
            false => case.cost,
        };
        Some((case.peak.filter(|_| case.fits)?, worth?))
    };
    let places: Vec<Option<(usize, f64)>> = cases.iter().map(place).collect();
    for (at, case) in cases.iter_mut().enumerate() {
        let Some((peak, worth)) = places[at] else { continue };
        let beats = |&(other_peak, other): &(usize, f64)| {
            other_peak <= peak && other <= worth && (other_peak < peak || other < worth)
        };
        case.front = !places.iter().flatten().any(beats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitbudget_precision::Kind;
    use bitbudget_report::comparison::TensorName;
    use serde_json::json;

    fn case(method: &str, peak: usize, cost: f64) -> CaseRecord {
        let tensor = |kind: Kind| TensorName {
            name: "conv1".into(),
            kind: kind.name().into(),
            shape: "[N,2]".into(),
            elements: 8,
        };
        let plan = json!({
            "version": 1, "network": "n", "method": "ilp", "batch": 4, "low_ratio": 0.0, "seed": 0, "high": "1-6-9",
            "low_forward": "1-4-3", "low_backward": "1-5-2", "low_parameter_gradient": "1-6-9", "recompute": ["relu1"],
            "tensors": {"conv1": {"operator": "conv", "shape": "[N,2]", "forward": "bf16", "backward": "1-5-2"}},
        });
        let fitting = Fitting {
            peak,
            cost: Some(cost),
            bound: None,
            low_ratio: 0.0,
            bits_per_element: 32.0,
            tensors: vec![tensor(Kind::Output), tensor(Kind::OutputGradient)],
            plan: serde_json::from_value(plan).unwrap(),
        };
        let assigned = Assigned::Fits(Box::new(fitting));
        CaseRecord { method: method.into(), budget: None, budget_bytes: None, fp32_peak: None, assigned }
    }

    fn training(seed: u64, accuracy: f64) -> TrainingRecord {
        let trained = Trained::Finished {
            test_accuracy: Some(accuracy),
            test_accuracy_fp32: None,
            test_loss: None,
            train_accuracy: Some(0.0),
            train_loss: None,
            steps: 1,
            skipped: 0,
            promoted: 0,
            not_promoted: 0,
            peak: 1,
        };
        TrainingRecord { seed, trained }
    }

    fn question() -> Question {
        Question {
            version: "0".into(),
            network: "n".into(),
            network_hash: String::new(),
            data: None,
            data_hash: None,
            batch: 1,
            threads: 1,
            settings: Vec::new(),
        }
    }

    fn front(cases: &[(CaseRecord, Vec<TrainingRecord>)]) -> Vec<bool> {
        comparison(question(), cases, Vec::new()).cases.iter().map(|case| case.front).collect()
    }

    #[test]
    fn spreads_are_those_of_samples() {
        let three = spread(&[1.0, 2.0, 6.0]).unwrap();
        assert_eq!((three.count, three.mean, three.min, three.max), (3, 3.0, 1.0, 6.0));
        assert!((three.deviation - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!(spread(&[4.0]).unwrap().deviation, 0.0);
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn the_front_holds_what_nothing_beats() {
        let cases = [("a", 10, 5.0), ("b", 20, 1.0), ("c", 20, 2.0), ("d", 30, 1.0), ("e", 40, 0.0)];
        let cases: Vec<_> = cases.iter().map(|&(m, peak, cost)| (case(m, peak, cost), Vec::new())).collect();
        assert_eq!(front(&cases), [true, true, false, false, true]);
        // Accuracy counts where there is one, whatever the cost; what diverges is not on it.
        let diverged = TrainingRecord { seed: 1, trained: Trained::Diverged { message: "no".into() } };
        let cases = [
            (case("a", 10, 9.0), vec![training(0, 0.9), training(1, 0.9)]),
            (case("b", 20, 0.0), vec![training(0, 0.8), training(1, 0.7)]),
            (case("c", 30, 1.0), vec![training(0, 1.0), diverged]),
        ];
        assert_eq!(front(&cases), [true, false, false]);
    }

    #[test]
    fn accuracies_say_which_examples_they_are_of() {
        let on = |training: TrainingRecord| {
            comparison(question(), &[(case("a", 10, 1.0), vec![training])], Vec::new()).accuracy_on
        };
        let mut without = training(0, 0.5);
        if let Trained::Finished { test_accuracy, .. } = &mut without.trained {
            *test_accuracy = None;
        }
        assert_eq!((on(training(0, 0.5)), on(without)), (Some(Examples::Test), Some(Examples::Training)));
        assert_eq!(on(TrainingRecord { seed: 0, trained: Trained::Diverged { message: "no".into() } }), None);
    }

    #[test]
    fn what_does_not_fit_is_a_result() {
        let refused = Assigned::DoesNotFit(Refused { smallest_peak: Some(9), proved: Some(8) });
        let method = "ilp".to_string();
        let (budget, budget_bytes, fp32_peak) = (Some("1%".into()), Some(5), Some(500));
        let record = CaseRecord { method, budget, budget_bytes, fp32_peak, assigned: refused };
        let json = serde_json::to_string(&record).unwrap();
        assert!(json.contains(r#""outcome":"does-not-fit","smallest_peak":9"#), "{json}");
        assert_eq!(serde_json::from_str::<CaseRecord>(&json).unwrap(), record);
        let fits = case("fp32", 10, 0.0);
        let json = serde_json::to_string(&fits).unwrap();
        assert_eq!(serde_json::from_str::<CaseRecord>(&json).unwrap(), fits);
        // Where FP32 is no case, a budget's share tells its peak.
        assert_eq!(comparison(question(), &[(record.clone(), Vec::new())], Vec::new()).fp32_peak, Some(500));
        let comparison = comparison(question(), &[(record, Vec::new()), (fits, Vec::new())], Vec::new());
        assert_eq!((comparison.cases[0].fits, comparison.cases[0].peak), (false, Some(9)));
        assert_eq!((comparison.fp32_peak, comparison.tensors.len()), (Some(10), 2));
        assert_eq!(
            (&comparison.cases[1].formats[..], &comparison.cases[1].recomputed[..]),
            (&["bf16".to_string(), "1-5-2".to_string()][..], &["relu1".to_string()][..])
        );
        assert!(!serde_json::to_string(&comparison.without_timings()).unwrap().contains("timings"));
    }
}
