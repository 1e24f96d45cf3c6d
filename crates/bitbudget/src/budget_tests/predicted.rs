//! Peaks predicted by the integer program, compared with true peaks.

use super::Subject;
use crate::{Budget, Engine, Limit};
use bitbudget_autodiff::{Optimizer, training};
use bitbudget_ir::Graph;
use bitbudget_precision::Pinned;
use bitbudget_solver::{Outcome, Settings, solve};
use bitbudget_zoo::{Network, Spec, build};

/// A rectified convolution of node `of` with its weight; it takes three ids.
fn rectified(id: usize, of: usize, [from, to, kernel, size]: [usize; 4]) -> String {
    let (pad, shape) = (kernel / 2, format!("f32[N,{to},{size},{size}]"));
    let window = format!("strides=[1,1], pads_begin=[{pad},{pad}], pads_end=[{pad},{pad}], dilations=[1,1], groups=1");
    format!(
        "  %{id} = parameter {{name=\"w{id}\"}} : f32[{to},{from},{kernel},{kernel}]
  %{} = conv(%{of}, %{id}) {{{window}}} : {shape} output \"conv{id}\"
  %{} = relu(%{}) : {shape} output \"relu{id}\"
",
        id + 1,
        id + 2,
        id + 1
    )
}

/// Two fire modules without normalisation: convolutions that squeeze, and some that expand, side by side.
fn fire_modules() -> Graph {
    let mut text = String::from("graph \"g\" {\n  %0 = input {name=\"x\"} : f32[N,3,32,32]\n");
    text += &rectified(1, 0, [3, 32, 3, 32]);
    let window = "kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], ceil=false";
    text += &format!("  %4 = max_pool(%3) {{{window}}} : f32[N,32,16,16] output \"pool\"\n");
    let (mut last, mut channels) = (4, 32);
    for _ in 0..2 {
        text += &rectified(last + 1, last, [channels, 8, 1, 16]);
        text += &rectified(last + 4, last + 3, [8, 32, 1, 16]);
        text += &rectified(last + 7, last + 3, [8, 32, 3, 16]);
        let parts = format!("%{}, %{}", last + 6, last + 9);
        (last, channels) = (last + 10, 64);
        text += &format!("  %{last} = concat({parts}) {{axis=1}} : f32[N,64,16,16] output \"fire{last}\"\n");
    }
    text += &rectified(last + 1, last, [64, 10, 1, 16]);
    text += &format!(
        "  %{} = reduce_mean(%{}) {{axes=[2,3], keep=false}} : f32[N,10] output \"mean\"\n",
        last + 4,
        last + 3
    );
    text += &format!("  return \"y\" = %{}\n}}\n", last + 4);
    training(&text.parse().unwrap(), &Optimizer::sgd()).unwrap()
}

/// The peak that the rows state and the true one, as parts of FP32's, for some budgets.
fn peaks(training: &Graph, recompute: bool, percents: &[usize]) -> Vec<[f64; 2]> {
    let pinned = Pinned::new();
    let subject = Subject::new(training, 32, 1, &pinned);
    let budget = Budget { recompute, ..Budget::new(Limit::Share(1.0), 1) };
    let (search, beside) = (subject.search(&budget), subject.fp32.step.beside);
    let (costs, all) = (search.costs().unwrap(), subject.exact_peak() - beside);
    let both = |percent: &usize| {
        let memory = all * percent / 100;
        let program = search.program(&costs, memory);
        let settings = Settings { effort: Some(1), seconds: f64::INFINITY, gap: 0.05, start: None };
        let Outcome::Solved(solution) = solve(&program.problem, Engine::Embedded, &settings).unwrap() else {
            return None;
        };
        let mut free = program.problem.limits.clone();
        let picked =
            program.problem.items.iter().zip(&solution.picks).map(|(item, &pick)| &item.options[pick as usize]);
        for used in picked.flat_map(|option| &option.uses) {
            (used.first..=used.last).for_each(|row| free[row as usize] -= used.amount);
        }
        let said = memory as f64 - *free.iter().min().unwrap() as f64;
        let peak = subject.peak(&search.assignment(program.choices(&solution.picks)).unwrap()) - beside;
        Some([said, peak as f64].map(|bytes| bytes / all as f64))
    };
    percents.iter().filter_map(both).collect()
}

fn check(name: &str, training: &Graph, recompute: bool, percents: &[usize]) {
    let peaks = peaks(training, recompute, percents);
    println!("{name} {recompute}: {peaks:.3?}");
    assert!(peaks.len() > 1, "{name}");
    for [said, peak] in peaks {
        assert!((-0.05..0.03).contains(&(peak - said)), "{name}: {said} said, {peak} true");
    }
}

#[test]
fn the_rows_say_what_fire_modules_take() {
    let training = fire_modules();
    for recompute in [false, true] {
        check("fire", &training, recompute, &[30, 40, 50, 60, 70, 80, 90]);
    }
}

#[test]
fn the_rows_say_what_networks_take() {
    for network in Network::OF_PAPER {
        let spec = Spec { network, width: 0.25, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
        let training = training(&build(&spec).unwrap().graph, &Optimizer::sgd()).unwrap();
        check(&network.to_string(), &training, false, &[20, 35, 50, 70]);
    }
}
