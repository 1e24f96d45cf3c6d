//! Every rule where it holds and where it does not, with the bits that it gives.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod common;

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::Graph;
use bitbudget_precision::{Formats, Method, assign};
use bitbudget_rewrite::{Limits, Rules};
use bitbudget_testkit::NETWORK;
use bitbudget_zoo::{Network, Spec, build};
use common::{FORMATS, in_all_formats, parse};
use std::collections::BTreeMap;

/// How often a rule merges classes of a graph, after all alternatives were checked, and the graph that was extracted.
fn fired(rule: &str, graph: &Graph) -> (usize, String) {
    let mut text = String::new();
    let mut times = 0;
    for (seed, special) in [(1, false), (2, true), (9, true)] {
        let (found, rewritten) = common::check(graph, seed, special);
        times = found.fired.iter().find(|(name, _)| *name == rule).unwrap().1;
        text = rewritten.graph.to_string();
    }
    (times, text)
}

/// Checks that a rule holds and gives these lines.
fn holds(rule: &str, lines: &str, expected: &[&str]) {
    let graph = parse(lines);
    let (times, text) = fired(rule, &graph);
    assert!(times > 0, "{rule} on {graph}");
    let mut rest = text.as_str();
    for line in expected {
        rest = rest.split_once(line).unwrap_or_else(|| panic!("`{line}` is missing in order in {text}")).1;
    }
}

/// Checks that a rule does not hold.
fn fails(rule: &str, lines: &str) {
    let graph = parse(lines);
    assert_eq!(fired(rule, &graph).0, 0, "{rule} on {graph}");
}

/// A gradient that passes a pooling of a concatenation of rectified tensors.
const POOLED: &str = "
    %0 = input {name=\"x\"} : f32[N,2,4,4]
    %1 = scalar {kind=\"loss_scale\"} : f32[]
    %2 = exp(%0) : f32[N,2,4,4] output in FORMAT
    %3 = tanh(%0) : f32[N,2,4,4] output in FORMAT
    %4 = relu(%2) : f32[N,2,4,4] output in FORMAT
    %5 = relu(%3) : f32[N,2,4,4] output in FORMAT
    %6 = concat(%4, %5) {axis=1} : f32[N,4,4,4] output in FORMAT
    %7 = max_pool(%6) {kernel=[3,3], strides=[2,2], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], ceil=false} : f32[N,4,2,2] output in FORMAT
    %8 = max_pool_indices(%6) {kernel=[3,3], strides=[2,2], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], ceil=false} : index8[N,4,2,2]
    %9 = mul(%7, %1) : f32[N,4,2,2] gradient of %7 in GRADIENT
    %10 = max_pool_grad(%9, %8) {kernel=[3,3], strides=[2,2], pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], ceil=false, input=<N,4,4,4>} : f32[N,4,4,4] gradient of %6 in GRADIENT
    %11 = slice(%10) {begin=[0,0,0,0], step=[1,1,1,1], shape=<N,2,4,4>} : f32[N,2,4,4] gradient of %4 in GRADIENT
    %12 = slice(%10) {begin=[0,2,0,0], step=[1,1,1,1], shape=<N,2,4,4>} : f32[N,2,4,4] gradient of %5 in GRADIENT
    %13 = relu_grad(%11, %2) : f32[N,2,4,4] gradient of %2 in GRADIENT
    %14 = relu_grad(%12, %3) : f32[N,2,4,4] gradient of %3 in GRADIENT
    return \"a\" = %13
    return \"b\" = %14";

#[test]
fn a_pooled_concatenation_of_rectified_tensors_is_not_kept() {
    // Neither the parts nor the whole: the pooled tensor tells where the gradient passes.
    let expected = ["= max_pool(%6)", "= relu_grad(%9, %7)", "= max_pool_grad(", "= slice(", "= slice("];
    for rule in ["part-of-concat", "relu-grad-from-output", "relu-grad-of-slices", "relu-grad-behind-max-pool"] {
        in_all_formats(&POOLED.replace("GRADIENT", "FORMAT"), |lines| holds(rule, lines, &expected));
        // Whether it saves memory depends on formats; whether it is equal does not.
        in_all_formats(&POOLED.replace("GRADIENT", "1-5-2"), |lines| holds(rule, lines, &[]));
    }
}

#[test]
fn relu_grad_of_slices_needs_one_region_and_the_same_formats() {
    let lines = POOLED.replace("GRADIENT", "1-5-2").replace("FORMAT", "1-4-3");
    // The second gradient is that of the first part.
    let crossed = lines.replace("%12 = slice(%10) {begin=[0,2,0,0]", "%12 = slice(%10) {begin=[0,1,0,0]");
    let graph = parse(&crossed);
    assert_eq!(fired("relu-grad-of-slices", &graph).0, 1);
    // The whole lacks small numbers of its parts.
    let narrower = lines.replacen(
        "concat(%4, %5) {axis=1} : f32[N,4,4,4] output in 1-4-3",
        "concat(%4, %5) {axis=1} : f32[N,4,4,4] output in 1-5-2",
        1,
    );
    fails("relu-grad-behind-max-pool", &narrower);
}

#[test]
fn relu_grad_behind_max_pool_needs_a_pooling_of_the_same_window() {
    let lines = POOLED.replace("GRADIENT", "fp32").replace("FORMAT", "fp32");
    // Of another window the indices mean other elements.
    let window = lines.replacen(
        "max_pool(%6) {kernel=[3,3], strides=[2,2], pads_begin=[1,1], pads_end=[1,1]",
        "max_pool(%6) {kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0]",
        1,
    );
    fails("relu-grad-behind-max-pool", &window);
}

/// Groups of channels that were shuffled: every third channel, say.
const SHUFFLED: &str = "
    %0 = input {name=\"x\"} : f32[N,6,2,1]
    %1 = exp(%0) : f32[N,6,2,1] output in FORMAT
    %2 = reshape(%1) {shape=<N,2,3,2,1>} : f32[N,2,3,2,1] output in FORMAT
    %3 = transpose(%2) {perm=[0,2,1,3,4]} : f32[N,3,2,2,1] output in FORMAT
    %4 = reshape(%3) {shape=<N,6,2,1>} : f32[N,6,2,1] output in FORMAT
    %5 = slice(%4) {begin=[0,2,0,0], step=[1,1,1,1], shape=<N,2,2,1>} : f32[N,2,2,1] output in FORMAT
    %6 = slice(%4) {begin=[0,5,1,0], step=[1,1,1,1], shape=<N,1,1,1>} : f32[N,1,1,1] output in FORMAT
    return \"a\" = %5
    return \"b\" = %6";

#[test]
fn slice_of_shuffle() {
    let first = "= slice(%1) {begin=[0,1,0,0], step=[1,3,1,1], shape=<N,2,2,1>}";
    let second = "= slice(%1) {begin=[0,5,1,0], step=[1,3,1,1], shape=<N,1,1,1>}";
    in_all_formats(SHUFFLED, |lines| {
        holds("slice-of-shuffle", lines, &[first, second]);
        let graph = parse(lines);
        let text = fired("slice-of-shuffle", &graph).1;
        assert!(!text.contains("transpose"), "{text}");
    });
}

#[test]
fn slice_of_shuffle_needs_a_part_of_one_group_of_channels() {
    let lines = SHUFFLED.replace("FORMAT", "fp32");
    let first = |begin: &str, step: &str, shape: &str| {
        let part = format!(
            "%5 = slice(%4) {{begin=[0,{begin},0,0], step=[1,{step},1,1], shape=<N,{shape},2,1>}} : f32[N,{shape},2,1]"
        );
        let text =
            lines.replace("%5 = slice(%4) {begin=[0,2,0,0], step=[1,1,1,1], shape=<N,2,2,1>} : f32[N,2,2,1]", &part);
        let graph = parse(&text);
        fired("slice-of-shuffle", &graph).0
    };
    // The second part counts in all of them.
    assert_eq!([first("2", "1", "2"), first("1", "1", "2"), first("2", "1", "3"), first("4", "-1", "2")], [2, 1, 1, 1]);
    let begin = lines.replace("begin=[0,2,0,0]", "begin=[0,0,0,0]");
    fails("slice-of-shuffle", &begin.replace("perm=[0,2,1,3,4]", "perm=[0,2,1,4,3]").replace("N,3,2,2,1", "N,3,2,1,2"));
    // Not the channels are split, or not they alone.
    let pixels = begin.replace("N,2,3,2,1", "N,6,2,1,1").replace("N,3,2,2,1", "N,2,6,1,1");
    fails("slice-of-shuffle", &pixels);
    let batch = begin.replace("N,2,3,2,1", "2*N,3,1,2,1").replace("N,3,2,2,1", "2*N,1,3,2,1");
    fails("slice-of-shuffle", &batch.replace("begin=[0,0,0,0]", "begin=[0,3,0,0]"));
    // What comes out has other dimensions.
    let long = begin.replace(
        "%4 = reshape(%3) {shape=<N,6,2,1>} : f32[N,6,2,1]",
        "%4 = reshape(%3) {shape=<N,3,4,1>} : f32[N,3,4,1]",
    );
    fails("slice-of-shuffle", &long.replace("begin=[0,5,1,0]", "begin=[0,2,1,0]"));
}

/// A gradient with a kink.
const KINKED: &str = "
    %0 = input {name=\"x\"} : f32[N,64]
    %1 = scalar {kind=\"loss_scale\"} : f32[]
    %2 = scale(%0) {by=3.0} : f32[N,64] output in FORMAT
    %3 = KINK(%2)ATTRIBUTES : f32[N,64] output in RESULT
    %4 = mul(%3, %1) : f32[N,64] gradient of %3 in 1-5-2
    %5 = KINK_grad(%4, %2)ATTRIBUTES : f32[N,64] gradient of %2 in 1-5-2
    return \"dx\" = %5";

const KINKS: [(&str, &str, &str); 3] = [
    ("relu-grad-from-output", "relu", ""),
    ("clip-grad-from-output", "clip", " {min=0.0, max=6.0}"),
    ("leaky-relu-grad-from-output", "leaky_relu", " {alpha=0.1}"),
];

fn kinked((_, kink, attributes): (&str, &str, &str), format: &str, result: &str) -> String {
    let lines = KINKED.replace("KINK", kink).replace("ATTRIBUTES", attributes);
    lines.replace("FORMAT", format).replace("RESULT", result)
}

#[test]
fn gradients_read_outputs_of_the_same_format() {
    for kink in KINKS {
        for format in FORMATS.map(|format| format.to_string()) {
            holds(kink.0, &kinked(kink, &format, &format), &["_grad(%4, %3)"]);
        }
    }
}

#[test]
fn gradients_read_inputs_of_wider_formats_and_of_other_kinks() {
    for kink in KINKS {
        let graph = parse(&kinked(kink, "1-6-9", "1-4-3"));
        assert!(fired(kink.0, &graph).1.contains("_grad(%4, %2)"));
    }
    let [relu, clip, leaky] = KINKS.map(|kink| kinked(kink, "1-6-9", "1-6-9"));
    fails("relu-grad-from-output", &relu.replace("= relu(%2)", "= sigmoid(%2)"));
    fails("clip-grad-from-output", &clip.replacen("max=6.0", "max=5.0", 1));
    fails("clip-grad-from-output", &clip.replace("max=6.0", "max=0.0"));
    fails("leaky-relu-grad-from-output", &leaky.replacen("alpha=0.1", "alpha=0.2", 1));
    fails("leaky-relu-grad-from-output", &leaky.replace("alpha=0.1", "alpha=-0.1"));
    // The bound is no number of the format: rounded, the output may stand beyond it.
    let graph = parse(&clip.replace("max=6.0", "max=6.0001"));
    assert!(fired("clip-grad-from-output", &graph).1.contains("clip_grad(%4, %2)"));
}

#[test]
fn round_of_exact() {
    let lines = "
        %0 = input {name=\"x\"} : f32[N,64]
        %1 = exp(%0) : f32[N,64] output in FIRST
        %2 = slice(%1) {begin=[0,1], step=[1,2], shape=<N,32>} : f32[N,32] output in SECOND
        %3 = reshape(%2) {shape=<N,4,8>} : f32[N,4,8] output in SECOND
        %4 = transpose(%3) {perm=[0,2,1]} : f32[N,8,4] output in SECOND
        %5 = relu(%4) : f32[N,8,4] output in THIRD
        return \"y\" = %5";
    let with = |first: &str, second: &str, third: &str| {
        lines.replace("FIRST", first).replace("SECOND", second).replace("THIRD", third)
    };
    for format in ["1-6-9", "1-4-3", "1-5-2", "bf16", "e4m3"] {
        holds("round-of-exact", &with(format, format, format), &[]);
    }
    // A widening is nothing.
    holds("round-of-exact", &with("1-4-3", "1-6-9", "bf16"), &[]);
    // Another format lacks numbers, though it be of as many bits; e4m3 has a negative zero, the paper's formats do not.
    for (first, second, third) in [("1-6-9", "1-4-3", "1-5-2"), ("1-4-3", "1-5-2", "1-4-3"), ("bf16", "1-6-9", "1-4-3")]
    {
        fails("round-of-exact", &with(first, second, third));
    }
}

#[test]
fn saturation_of_what_is_not_finite_is_something() {
    fails(
        "round-of-exact",
        "%0 = input {name=\"x\"} : f32[N,64]
        %1 = exp(%0) : f32[N,64] gradient of %0 in 1-5-2
        %2 = relu(%1) : f32[N,64] output in 1-5-2
        return \"y\" = %2",
    );
}

#[test]
fn relu_grad_of_rounded() {
    let lines = "
        %0 = input {name=\"x\"} : f32[N,64]
        %1 = scale(%0) {by=1e5} : f32[N,64] gradient of %0 in FORMAT
        %2 = relu_grad(%1, %0) : f32[N,64] gradient of %0 in FORMAT
        return \"y\" = %2";
    FORMATS[1..]
        .iter()
        .for_each(|format| holds("relu-grad-of-rounded", &lines.replace("FORMAT", &format.to_string()), &[]));
    fails("relu-grad-of-rounded", &lines.replace("FORMAT", "fp32"));
    // Of a leaky rectifier it is no rounding any more.
    let leaky = lines.replace("relu_grad(%1, %0)", "leaky_relu_grad(%1, %0) {alpha=0.1}");
    fails("relu-grad-of-rounded", &leaky.replace("FORMAT", "1-5-2"));
}

const SPLIT: &str = "
    %0 = input {name=\"a\"} : f32[N,2,3]
    %1 = input {name=\"b\"} : f32[N,4,3]
    %2 = scalar {kind=\"loss_scale\"} : f32[]
    %3 = mul(%0, %2) : f32[N,2,3] gradient of %0
    %4 = mul(%1, %2) : f32[N,4,3] gradient of %1
    %5 = slice_scatter(%4) {begin=[0,2,0], step=[1,1,1], shape=<N,6,3>} : f32[N,6,3] gradient of %0 in FORMAT
    %6 = slice_scatter(%3) {begin=[0,0,0], step=[1,1,1], shape=<N,6,3>} : f32[N,6,3] gradient of %0 in OTHER
    %7 = sum(%5, %6) : f32[N,6,3]
    return \"y\" = %7";

#[test]
fn sum_of_parts() {
    in_all_formats(&SPLIT.replace("OTHER", "FORMAT"), |lines| {
        holds("sum-of-parts", lines, &["%5 = concat(%3, %4) {axis=1} : f32[N,6,3] gradient of %0"]);
    });
    fails("sum-of-parts", &SPLIT.replace("FORMAT", "1-5-2").replace("OTHER", "1-6-9"));
    let lines = SPLIT.replace("FORMAT", "fp32").replace("OTHER", "fp32");
    fails("sum-of-parts", &lines.replace("begin=[0,2,0]", "begin=[0,1,0]"));
    fails("sum-of-parts", &lines.replace("shape=<N,6,3>", "shape=<N,7,3>").replace("f32[N,6,3]", "f32[N,7,3]"));
}

/// The format in which the rewritten graph stores what an operator gives.
fn stored(lines: &str, operator: &str) -> Format {
    let graph = parse(lines);
    let rewritten = common::check(&graph, 1, false).1;
    let id = rewritten.graph.ids().find(|&id| rewritten.graph.op(id).name() == operator).unwrap();
    rewritten.graph.format(id)
}

#[test]
fn a_sum_that_became_a_concatenation_is_stored_as_its_parts_are() {
    let lines = SPLIT.replace("OTHER", "FORMAT");
    let lines = lines.replace("gradient of %0\n", "gradient of %0 in FORMAT\n");
    let lines = lines.replace("gradient of %1\n", "gradient of %1 in FORMAT\n");
    in_all_formats(&lines, |lines| {
        let format = parse(lines).format(bitbudget_ir::NodeId(5));
        assert_eq!(stored(lines, "concat"), format);
    });
}

#[test]
fn of_terms_that_cost_the_same_in_fp32_the_narrower_is_stored() {
    // The gradient of the rectifier could read what is not rounded as well.
    let lines = "
        %0 = input {name=\"x\"} : f32[N,4]
        %1 = exp(%0) : f32[N,4] output in 1-6-9
        %2 = scalar {kind=\"loss_scale\"} : f32[]
        %3 = mul(%0, %2) : f32[N,4] gradient of %1 in 1-5-2
        %4 = relu_grad(%3, %1) : f32[N,4] gradient of %1 in 1-5-2
        return \"y\" = %4";
    assert_eq!(stored(lines, "mul").to_string(), "1-5-2");
}

#[test]
fn part_of_concat_is_no_slice_of_a_coarser_whole() {
    let lines = POOLED.replace("GRADIENT", "fp32").replace("output in FORMAT", "output in 1-6-9");
    let coarser = lines.replacen(
        "concat(%4, %5) {axis=1} : f32[N,4,4,4] output in 1-6-9",
        "concat(%4, %5) {axis=1} : f32[N,4,4,4] output in 1-4-3",
        1,
    );
    let graph = parse(&coarser);
    let text = fired("part-of-concat", &graph).1;
    assert!(text.contains("relu_grad(%11, %4)") && text.contains("relu_grad(%12, %5)"), "{text}");
}

#[test]
fn state_keeps_its_names_and_equal_nodes_become_one() {
    let lines = "
        %0 = state {name=\"a\"} : f32[4]
        %1 = state {name=\"b\"} : f32[4]
        %2 = scale(%0) {by=0.5} : f32[4]
        %3 = scale(%0) {by=0.5} : f32[4]
        %4 = scale(%1) {by=0.5} : f32[4]
        %5 = exp(%1) : f32[4]
        return \"y\" = %2
        update %0 <- %3
        update %1 <- %4";
    let graph = parse(lines);
    let (_, rewritten) = common::check(&graph, 1, true);
    assert_eq!(rewritten.graph.len(), 4, "{}", rewritten.graph);
    assert_eq!(rewritten.values[2], rewritten.values[3]);
    assert_eq!(rewritten.values[5], None);
}

/// Rectifiers of other networks than those of the zoo: that of MobileNet-v2 as published, and that of YOLO.
const OTHERS: &str = r#"graph "others" {
  %0 = input {name="x"} : f32[N,8]
  %1 = parameter {name="w"} : f32[8,8]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,8] output
  %3 = clip(%2) {min=0.0, max=6.0} : f32[N,8] output
  %4 = parameter {name="v"} : f32[5,8]
  %5 = matmul(%3, %4) {trans_a=false, trans_b=true} : f32[N,5] output
  %6 = leaky_relu(%5) {alpha=0.1} : f32[N,5] output
  %7 = reshape(%6) {shape=<N,5>} : f32[N,5] output
  return "scores" = %7
}"#;

#[test]
fn every_rule_fires_on_a_network() {
    let zoo = Network::ALL.map(|network| {
        let spec = Spec { network, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0 };
        (network.to_string(), build(&spec).unwrap().graph)
    });
    let small = [("others".to_string(), OTHERS.parse().unwrap()), ("net".to_string(), NETWORK.parse().unwrap())];
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, forward) in zoo.into_iter().chain(small) {
        let graph = training(&forward, &Optimizer::sgd()).unwrap();
        let mixed = assign(&graph, 8, Method::Demote, 0.5, 0, Formats::PAPER).unwrap().formats;
        for graph in [graph.clone(), graph.stored_in(&mixed)] {
            let found = bitbudget_rewrite::alternatives(&graph, Rules::Reassociating, &Limits::default());
            println!("{name}: {:?}", found.fired.iter().filter(|(_, times)| *times > 0).collect::<Vec<_>>());
            found.fired.iter().for_each(|&(rule, times)| *all.entry(rule).or_default() += times);
        }
    }
    let never: Vec<&&str> = all.iter().filter(|(_, times)| **times == 0).map(|(rule, _)| rule).collect();
    assert!(never.is_empty(), "these earn nothing: {never:?}");
}

#[test]
fn a_whole_training_step_gives_the_same_bits() {
    for text in [NETWORK, OTHERS] {
        let graph = training(&text.parse().unwrap(), &Optimizer::sgd()).unwrap();
        for method in [Method::Fp32, Method::UniformHigh, Method::UniformLow, Method::Demote, Method::Operator] {
            let graph = graph.stored_in(&assign(&graph, 2, method, 0.5, 0, Formats::PAPER).unwrap().formats);
            let (_, rewritten) = common::check(&graph, 3, false);
            assert_ne!(rewritten.graph.to_string(), graph.to_string());
        }
    }
}
