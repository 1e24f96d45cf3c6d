//! Plans: what is written reads back as the same assignment, and all that is wrong is told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget::{
    Budget, BudgetError, CompileError, Compiled, FileKind, Limit, Options, Plan, PlanError, Problem, Promotion,
    compile, compile_as,
};
use bitbudget_autodiff::Optimizer;
use bitbudget_formats::Format;
use bitbudget_ir::Model;
use bitbudget_precision::{Assignment, Kind, Method, Pin, PinFormats};
use bitbudget_zoo::{Network, Spec, build};

const BATCH: usize = 8;

fn model(network: Network) -> Model {
    build(&Spec { network, width: 0.1, classes: 10, input: [3, 16, 16], seed: 0, ..Spec::default() }).unwrap()
}

fn options(method: Method, budget: Option<f64>) -> Options {
    let budget = budget.map(|share| Budget { seconds: 2.0, ..Budget::new(Limit::Share(share), 1) });
    let pins = vec![
        Pin { pattern: "Conv*".into(), formats: Some("bf16".parse::<PinFormats>().unwrap()) },
        Pin { pattern: "conv1*".into(), formats: Some("1-4-3/1-5-2".parse::<PinFormats>().unwrap()) },
        Pin { pattern: "BatchNormalization".into(), formats: None },
    ];
    Options { batch: BATCH, method, low_ratio: 0.3, seed: 7, pins, budget, ..Options::default() }
}

/// The plan's text, with a change, as it is compiled.
fn compiled_as(
    network: Network,
    plan: &Plan,
    kind: FileKind,
    edit: impl Fn(String) -> String,
) -> Result<Compiled, CompileError> {
    let plan = Plan::read(&edit(plan.write(kind).unwrap()), kind).unwrap();
    compile_as(model(network), &plan.options(1), &plan)
}

#[test]
fn what_is_written_reads_back() {
    let mut recomputed = 0;
    let cases = [
        (Network::SqueezeNet, Method::Ilp, Some(0.8)),
        (Network::ShuffleNetV2, Method::Demote, None),
        (Network::SqueezeNet, Method::Random, Some(0.9)),
        (Network::SqueezeNet, Method::Operator, None),
        (Network::SqueezeNet, Method::Fp32, None),
        (Network::MobileNetV2, Method::UniformLow, None),
    ];
    for (network, method, budget) in cases {
        let mut options = options(method, budget);
        // The optimizer is part of a plan.
        options.optimizer = match method {
            Method::Operator => Optimizer::adamw(),
            Method::Fp32 => Optimizer::Sgd { momentum: 0.5, weight_decay: 0.0 },
            _ => Optimizer::sgd(),
        };
        let compiled = compile(model(network), &options).unwrap();
        recomputed += compiled.assignment.recomputed.len();
        let plan = Plan::new(&compiled, &options);
        for kind in [FileKind::Toml, FileKind::Json] {
            let read = Plan::read(&plan.write(kind).unwrap(), kind).unwrap();
            assert!(read == plan, "{network} {method}: {}", read.write(kind).unwrap());
            let asked = |options: &Options| {
                let mut options = options.clone();
                options.pins.sort_by(|a, b| a.pattern.cmp(&b.pattern));
                options
            };
            assert_eq!(asked(&read.options(1)), asked(&options), "{network} {method}");
            let again = compile_as(model(network), &read.options(1), &read).unwrap();
            // A file does not say which groups were demoted.
            let assignment = Assignment { demoted: Vec::new(), ..compiled.assignment.clone() };
            assert_eq!(again.assignment, assignment, "{network} {method}");
            assert_eq!(again.train, compiled.train);
            assert_eq!(again.solved.map(|solved| solved.peak), compiled.solved.as_ref().map(|solved| solved.peak));
        }
    }
    assert!(recomputed > 0);
}

#[test]
fn edits_are_used_and_the_budget_is_checked() {
    let options = options(Method::Ilp, Some(0.8));
    let compiled = compile(model(Network::SqueezeNet), &options).unwrap();
    let plan = Plan::new(&compiled, &options);
    let line = "\"fire2.conv1.weight\" = { operator = \"conv\", shape = \"[4,12,1,1]\", forward = \"bf16\"";
    let edit = |text: String| {
        assert!(text.contains(line), "{text}");
        text.replace(line, &line.replace("bf16", "e4m3"))
    };
    let edited = compiled_as(Network::SqueezeNet, &plan, FileKind::Toml, edit).unwrap();
    let differing = edited.assignment.assigned().zip(&compiled.assignment.chosen).filter(|((.., a), b)| a != *b);
    let differing: Vec<_> = differing.map(|((tensor, _, format), _)| (tensor.kind, format)).collect();
    assert_eq!(differing, [(Kind::Parameter, Format::E4M3)]);
    let tight = |text: String| text.replace("limit = \"80%\"", "limit = \"60%\"");
    let error = compiled_as(Network::SqueezeNet, &plan, FileKind::Toml, tight).unwrap_err();
    let solved = compiled.solved.unwrap();
    let CompileError::Budget(BudgetError::Exceeded { peak, budget, .. }) = error else { panic!("{error}") };
    assert_eq!((peak, budget), (solved.peak, (0.6 * solved.fp32 as f64) as usize));
}

#[test]
fn all_problems_are_reported_at_once() {
    let options = Options { batch: BATCH, method: Method::Demote, ..Options::default() };
    let plan = Plan::new(&compile(model(Network::SqueezeNet), &options).unwrap(), &options);
    let wrong = |text: String| {
        let mut text = text.replace("recompute = []", "recompute = [\"conv1\", \"input\", \"conv99\"]");
        text = text.replace("[pin]\n", "[pin]\n\"bn99\" = \"bf16\"\n");
        text = text.replace("conv1 = {", "conv0 = {");
        let change = |line: &str| match line.split(' ').next() {
            Some("relu") => line.replace("[N,12,16,16]", "[N,12,16,17]"),
            Some("maxpool1") => line.replace("forward = \"", "forward = \"x"),
            Some("nll_loss") => line.replace("forward = \"1-6-9\"", "forward = \"e4m3\""),
            _ => line.to_string(),
        };
        text.lines().map(change).collect::<Vec<_>>().join("\n")
    };
    let error = compiled_as(Network::SqueezeNet, &plan, FileKind::Toml, wrong).unwrap_err();
    let CompileError::Plan(PlanError::Problems(problems)) = &error else { panic!("{error}") };
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let expected = [
        "`bn99` matches no operator type",
        "tensor `conv1` [N,12,16,16] is missing",
        "tensor `relu` has the shape [N,12,16,16], not [N,12,16,17]",
        "tensor `maxpool1`, forward: unknown format `x1-",
        "tensor `nll_loss`, forward: it cannot be e4m3",
        "no tensor `conv0`",
        "`input` under `recompute`",
        "`conv99` under `recompute`",
    ];
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    std::iter::zip(&shown, expected).for_each(|(shown, words)| assert!(shown.contains(words), "{shown}"));
    // Another network is named first.
    let error = compile_as(model(Network::ResNet18), &plan.options(1), &plan).unwrap_err();
    let CompileError::Plan(PlanError::Problems(problems)) = &error else { panic!("{error}") };
    assert!(matches!(&problems[0], Problem::Network { found, .. } if found == "squeezenet-0.1"));
    // JSON keeps lines that are there twice, so that they can be told.
    let twice = |text: String| text.replacen("\"conv1.bias\": {", "\"conv1.weight\": {", 1);
    let error = compiled_as(Network::SqueezeNet, &plan, FileKind::Json, twice).unwrap_err().to_string();
    assert!(error.contains("tensor `conv1.weight` is there twice"), "{error}");
}

#[test]
fn texts_that_are_no_plan_are_refused() {
    let options = Options { batch: BATCH, ..Options::default() };
    let plan = Plan::new(&compile(model(Network::SqueezeNet), &options).unwrap(), &options);
    let text = plan.write(FileKind::Toml).unwrap();
    let cases = [
        ("version = 1", "version = 2", "version 2 is not 1"),
        ("version = 1", "version = 1\nsize = 3", "unknown field `size`"),
        ("method = \"demote\"", "method = \"best\"", "no method `best`"),
        ("high = \"1-6-9\"", "high = \"1-9-9\"", "9 exponent bits"),
        ("[pin]\n", "[pin]\nconv = \"fp7\"\n", "unknown format `fp7`"),
        ("[tensors]\n", "[tensors]\nconv1 = 3\n", "conv1"),
        ("[tensors]\n", "[tensors\n", "expected"),
    ];
    for (from, to, word) in cases {
        assert!(text.contains(from), "{from}: {text}");
        let error = Plan::read(&text.replacen(from, to, 1), FileKind::Toml).unwrap_err().to_string();
        assert!(error.contains(word) && error.starts_with("not an assignment"), "{to}: {error}");
    }
    assert!(Plan::read(&text, FileKind::Json).is_err());
}

/// An assignment file with every table.
const PLAN: &str = r#"version = 1
network = "net"
method = "ilp"
batch = 8
low_ratio = 0.5
seed = 0
high = "1-6-9"
low_forward = "1-4-3"
low_backward = "1-5-2"
low_parameter_gradient = "1-6-9"
[budget]
limit = "40%"
formats = ["fp32"]
backward_formats = ["fp32"]
may_recompute = true
granularity = "tensor"
time_weight = 1.0
max_slowdown = 0.1
solver = "embedded"
solve_seconds = 1.0
[optimizer]
rule = "sgd"
momentum = 0.9
weight_decay = 0.0
[tensors.conv1]
operator = "conv"
shape = "[N,12]"
forward = "fp32"
backward = "fp32"
"#;

#[test]
fn a_missing_field_is_named_with_its_table_and_what_to_write() {
    assert!(Plan::read(PLAN, FileKind::Toml).is_ok());
    let mut table = "at the top of the file".to_string();
    let with = |line: &str, other: &str| {
        PLAN.lines().map(|l| if l == line { other } else { l }).collect::<Vec<_>>().join("\n")
    };
    for line in PLAN.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = match name.trim_end_matches(']') {
                "tensors.conv1" => "in the line of tensor `conv1` under [tensors]".into(),
                name => format!("under [{name}]"),
            };
            continue;
        }
        let name = line.split_once(" = ").unwrap().0;
        let without = with(line, "");
        if name == "max_slowdown" {
            assert!(Plan::read(&without, FileKind::Toml).is_ok());
            continue;
        }
        let error = Plan::read(&without, FileKind::Toml).unwrap_err().to_string();
        let words = format!("not an assignment: the field `{name}` is missing {table}; write ");
        assert!(error.starts_with(&words), "{name}: {error}");
        // What the message suggests is accepted in that place.
        let example = error.split_once("as in `").unwrap().1.trim_end_matches('`');
        assert!(example.starts_with(&format!("{name} = ")), "{error}");
        let mended = Plan::read(&with(line, example), FileKind::Toml);
        assert!(mended.is_ok(), "{example}: {mended:?}");
    }
    let (text, _) = PLAN.split_once("[tensors.conv1]").unwrap();
    let error = Plan::read(text, FileKind::Toml).unwrap_err().to_string();
    assert!(error.contains("the field `tensors` is missing at the top of the file; write the table"), "{error}");
    let error = Plan::read(r#"{"version": 1}"#, FileKind::Json).unwrap_err().to_string();
    assert!(error.ends_with(r#"write the network's name, as in `"network": "squeezenet"`"#), "{error}");
}

#[test]
fn values_of_other_kinds_are_refused_in_plain_words() {
    let cases = [
        ("batch = 8", "batch = 1.5", "1.5`, expected a whole number of at least 0"),
        ("batch = 8", "batch = -1", "-1`, expected a whole number"),
        (
            "batch = 8",
            "batch = \"8\"",
            "`batch` is a text, not a number; write the examples per step, as in `batch = 128`",
        ),
        ("seed = 0", "seed = 0.5", "expected a whole number"),
        ("version = 1", "version = 4294967296", "4294967296`, expected a smaller number"),
        ("low_ratio = 0.5", "low_ratio = \"half\"", "`low_ratio` is a text, not a number"),
        ("low_ratio = 0.5", "low_ratio = 7.0", "`low_ratio` is 7.0; it must be a share from 0 to 1"),
        ("time_weight = 1.0", "time_weight = true", "`time_weight` under [budget] is true or false, not a number"),
        ("max_slowdown = 0.1", "max_slowdown = \"10%\"", "expected a number"),
        (
            "momentum = 0.9",
            "momentum = \"0.9\"",
            "`momentum` under [optimizer] is a text, not a number; write the momentum of sgd, as in `momentum = 0.9`",
        ),
        ("[tensors.conv1]", "[tensors]\nconv1 = 3\n[tensors.conv2]", "expected a table of operator, shape"),
        (
            "time_weight = 1.0",
            "time_weight = 1e300",
            "`time_weight` under [budget] is 1e300; it must be from 0 to 1000000",
        ),
        ("time_weight = 1.0", "time_weight = nan", "`time_weight` under [budget] is NaN"),
        ("solve_seconds = 1.0", "solve_seconds = 0", "`solve_seconds` under [budget] is 0.0; it must be above 0"),
        ("max_slowdown = 0.1", "max_slowdown = -1", "`max_slowdown` under [budget] is -1.0"),
        ("weight_decay = 0.0", "weight_decay = 1e39", "`weight_decay` under [optimizer] is 1e39"),
    ];
    for (from, to, words) in cases {
        let error = Plan::read(&PLAN.replacen(from, to, 1), FileKind::Toml).unwrap_err().to_string();
        assert!(error.contains(words), "{to}: {error}");
        for noise in ["usize", "u32", "u64", "f64", "struct", "newtype"] {
            assert!(!error.contains(noise), "{to}: {error}");
        }
    }
    assert!(Plan::read(&PLAN.replacen("low_ratio = 0.5", "low_ratio = 1", 1), FileKind::Toml).is_ok());
}

#[test]
fn a_text_of_the_other_kind_is_told_its_name() {
    let plan = Plan::read(PLAN, FileKind::Toml).unwrap();
    let json = plan.write(FileKind::Json).unwrap();
    let misnamed = |text: &str, kind| Plan::read(text, kind).unwrap_err().to_string();
    assert_eq!(misnamed(&json, FileKind::Toml), "not an assignment: the text is JSON; name the file .json");
    assert_eq!(misnamed(PLAN, FileKind::Json), "not an assignment: the text is TOML; name the file .toml");
}

#[test]
fn pinned_tensors_are_not_promoted() {
    let pin = |pattern: &str| Pin { pattern: pattern.into(), formats: Some("1-4-3".parse::<PinFormats>().unwrap()) };
    for (method, budget) in [(Method::UniformLow, None), (Method::Ilp, Some(0.7))] {
        let pins = vec![pin("conv1.weight"), pin("relu")];
        let options = Options { pins, ..options(method, budget) };
        let compiled = compile(model(Network::SqueezeNet), &options).unwrap();
        let plan = Plan::new(&compiled, &options);
        let planned = compile_as(model(Network::SqueezeNet), &plan.options(1), &plan).unwrap();
        // From a trainer file, from a plan, and as compiled.
        for mut compiled in [Compiled::decode(&compiled.encode()).unwrap(), planned, compiled] {
            let Assignment { tensors, chosen, .. } = compiled.assignment.clone();
            let is_forward = |at: &usize| matches!(tensors[*at].kind, Kind::Parameter | Kind::Output);
            let low = (0..tensors.len()).filter(|at| is_forward(at) && chosen[*at].bits() == 8);
            let low: Vec<u32> = low.map(|at| tensors[at].node.0).collect();
            let promoted = compiled.promote(&low, Promotion::Paper).unwrap();
            for (at, tensor) in tensors.iter().enumerate() {
                let graph = &compiled.training;
                let is_pinned =
                    graph.op(tensor.operator).name() == "relu" || graph.node(tensor.node).name == "conv1.weight";
                if is_pinned {
                    assert_eq!(compiled.assignment.chosen[at], chosen[at], "{method} {tensor:?}");
                    assert!(promoted.iter().all(|p| p.node != tensor.node));
                }
            }
            assert!(method == Method::Ilp || !promoted.is_empty());
        }
    }
}
