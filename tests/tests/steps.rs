//! Steps of small networks of all shapes: no rewriting, placement, way of storing or recomputation changes a bit.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

mod networks;

use bitbudget::{Budget, Compiled, FileKind, Limit, Options, Plan, Storage, compile, compile_as};
use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_ir::{Graph, Model};
use bitbudget_precision::Method;
use networks::{BATCH, CLASSES, Random, bits, model, random};

/// What two training steps and an evaluation gave.
#[derive(PartialEq, Debug)]
struct Outcome {
    losses: Vec<u32>,
    weights: Vec<(String, Vec<u32>)>,
    logits: Vec<u32>,
}

fn outcome(compiled: &Compiled) -> Outcome {
    let mut executor = Executor::new(Target::Cpu, 2).unwrap();
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    let x = compiled.train.input("x").unwrap();
    let count = x.elements();
    let mut random = Random(7);
    let examples: Vec<f32> = (0..count).map(|_| 2.0 * random.number()).collect();
    let labels: Vec<i32> = (0..BATCH).map(|i| (i % CLASSES) as i32).collect();
    let (loss_scale, learning_rate) = (64.0, 0.05);
    let inputs = [("x", Array::f32(&x.shape, &examples)), ("labels", Array::integers(&[BATCH], &labels))];
    let inputs = Inputs { loss_scale, learning_rate, ..Inputs::new(inputs) };
    let mut losses = Vec::new();
    for _ in 0..2 {
        let step = executor.run(&compiled.train, &mut values, &inputs);
        losses.extend(bits(&step.unwrap_or_else(|e| panic!("{e}\n{}", compiled.train)).outputs["loss"]));
    }
    let evaluated = compiled.evaluate.batch;
    let x = &compiled.evaluate.input("x").unwrap().shape;
    let inputs = Inputs::new([("x", Array::f32(x, &examples[..count / BATCH * evaluated]))]);
    let step = executor.run(&compiled.evaluate, &mut values, &inputs);
    let mut logits = bits(&step.unwrap_or_else(|e| panic!("{e}\n{}", compiled.evaluate)).outputs["logits"]);
    // Evaluations may be of fewer examples.
    logits.truncate(logits.len() / evaluated);
    let weights = values.download().unwrap().into_iter().map(|(name, numbers)| (name, bits(&numbers))).collect();
    Outcome { losses, weights, logits }
}

fn compiled(model: &Model, options: &Options) -> Compiled {
    compile(model.clone(), options).unwrap_or_else(|e| panic!("{e}\n{}", model.graph))
}

/// Checks that a network trains and evaluates to the same bits with and without rewriting and packing.
fn check(model: &Model, methods: &[Method]) {
    for &method in methods {
        let options = Options { batch: BATCH, method, low_ratio: 0.6, ..Options::default() };
        let expected = outcome(&compiled(model, &Options { rewrite: None, ..options.clone() }));
        assert!(outcome(&compiled(model, &options)) == expected, "{method} with rewriting\n{}", model.graph);
        for rewrite in [None, options.rewrite] {
            let simulated = Options { rewrite, storage: Storage::Simulated, ..options.clone() };
            assert!(outcome(&compiled(model, &simulated)) == expected, "{method} simulated\n{}", model.graph);
        }
    }
}

#[test]
fn random_networks_give_the_bits_that_they_give_without_rewriting() {
    for seed in 0..300 {
        let methods = [Method::Fp32, [Method::UniformLow, Method::Demote, Method::Amp][seed as usize % 3]];
        check(&random(seed), &methods);
    }
}

/// Shuffled and split channels beside their own operand, which a result may not be written over.
#[test]
fn no_result_is_written_over_what_another_part_of_its_step_reads() {
    let begin = "%0 = input {name=\"x\"} : f32[N,4,4,4]
        %1 = parameter {name=\"w\"} : f32[4,4,1,1]
        %2 = conv(%0, %1) {strides=[1,1], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], groups=1} : f32[N,4,4,4] output \"conv\"";
    let slice = |of: usize, begin: usize| {
        format!("slice(%{of}) {{begin=[0,{begin},0,0], step=[1,1,1,1], shape=<N,2,4,4>}} : f32[N,2,4,4] output")
    };
    let (first, second) = (slice(2, 0), slice(2, 2));
    let shuffle = "%4 = reshape(%3) {shape=<N,2,2,4,4>} : f32[N,2,2,4,4] output
        %5 = transpose(%4) {perm=[0,2,1,3,4]} : f32[N,2,2,4,4] output
        %6 = reshape(%5) {shape=<N,4,4,4>} : f32[N,4,4,4] output";
    let copy = "%3 = leaky_relu(%2) {alpha=0.1} : f32[N,4,4,4] output";
    let cases = [
        format!("{copy}\n{shuffle}\n%7 = add(%6, %3) : f32[N,4,4,4] output"),
        format!("{copy}\n{shuffle}\n%7 = mul(%3, %6) : f32[N,4,4,4] output"),
        format!("{copy}\n{shuffle}\n%7 = sub(%3, %6) : f32[N,4,4,4] output\n%8 = relu(%7) : f32[N,4,4,4] output"),
        format!("%3 = {second}\n%4 = {first}\n%5 = concat(%3, %4) {{axis=1}} : f32[N,4,4,4] output\n\
                 %6 = add(%5, %2) : f32[N,4,4,4] output"),
        format!("%3 = {first}\n%4 = relu(%3) : f32[N,2,4,4] output\n%5 = {second}\n\
                 %6 = concat(%4, %5) {{axis=1}} : f32[N,4,4,4] output\n%7 = add(%6, %2) : f32[N,4,4,4] output"),
        "%3 = clip(%2) {min=-inf, max=0.05} : f32[N,4,4,4] output\n%4 = reshape(%3) {shape=<N,64>} : f32[N,64] output\n\
         %5 = relu(%4) : f32[N,64] output\n%6 = reshape(%5) {shape=<N,4,4,4>} : f32[N,4,4,4] output\n\
         %7 = slice(%6) {begin=[0,1,0,0], step=[1,1,1,1], shape=<N,3,4,4>} : f32[N,3,4,4] output"
            .to_string(),
    ];
    for lines in cases {
        check(
            &model(&format!("{begin}\n{lines}")),
            &Method::ALL.map(|m| if m == Method::Ilp { Method::Fp32 } else { m }),
        );
    }
}

/// Normalisations whose input no trained parameter reaches, as lines behind an input of `[N,3,8,8]`.
fn untrained_inputs() -> Vec<Model> {
    let normalize = |at: usize, of: usize, shape: &str, name: &str| {
        let [scale, bias, mean, var, rm, rv, y] = std::array::from_fn(|i| at + i);
        let (next, after) = (y + 1, y + 2);
        format!(
            "%{scale} = parameter {{name=\"scale{name}\"}} : f32[3]
            %{bias} = parameter {{name=\"bias{name}\"}} : f32[3]
            %{mean} = batch_mean(%{of}) : f32[3]
            %{var} = batch_variance(%{of}, %{mean}) : f32[3]
            %{rm} = state {{name=\"mean{name}\"}} : f32[3]
            %{rv} = state {{name=\"var{name}\"}} : f32[3]
            %{y} = batch_normalize(%{of}, %{mean}, %{var}, %{scale}, %{bias}) {{epsilon=1e-5}} : f32[{shape}] output \"bn{name}\"
            %{next} = running_average(%{rm}, %{mean}) {{momentum=0.1}} : f32[3]
            %{after} = running_variance(%{rv}, %{var}, %{of}) {{momentum=0.1}} : f32[3]
            update %{rm} <- %{next}
            update %{rv} <- %{after}"
        )
    };
    let input = "%0 = input {name=\"x\"} : f32[N,3,8,8]";
    let pool = |op: &str, more: &str| {
        format!(
            "%1 = {op}(%0) {{kernel=[2,2], strides=[2,2], pads_begin=[0,0], pads_end=[0,0], dilations=[1,1], \
                 ceil=false{more}}} : f32[N,3,4,4] output \"pool\""
        )
    };
    let conv = |at: usize, of: usize, shape: &str| {
        format!(
            "%{at} = parameter {{name=\"w\"}} : f32[3,3,3,3]\n%{} = conv(%{of}, %{at}) {{strides=[1,1], \
                 pads_begin=[1,1], pads_end=[1,1], dilations=[1,1], groups=1}} : f32[{shape}] output \"conv\"",
            at + 1
        )
    };
    let (large, small) = ("N,3,8,8", "N,3,4,4");
    let cases = [
        format!("{}\n{}", normalize(1, 0, large, "1"), conv(10, 7, large)),
        normalize(1, 0, large, "1"),
        format!("{}\n{}\n{}", pool("max_pool", ""), normalize(2, 1, small, "1"), conv(11, 8, small)),
        format!("{}\n{}", pool("average_pool", ", count_include_pad=false"), normalize(2, 1, small, "1")),
        format!(
            "{}\n{}\n%19 = add(%7, %16) : f32[{large}] output",
            normalize(1, 0, large, "1"),
            normalize(10, 0, large, "2")
        ),
        format!(
            "{}\n%10 = relu(%7) : f32[{large}] output\n{}",
            normalize(1, 0, large, "1"),
            normalize(11, 10, large, "2")
        ),
    ];
    let two = format!(
        "%1 = relu(%0) : f32[{large}] output\n{}\n{}\n%20 = add(%8, %17) : f32[{large}] output",
        normalize(2, 0, large, "1"),
        normalize(11, 1, large, "2")
    );
    cases.into_iter().chain([two]).map(|lines| model(&format!("{input}\n{lines}"))).collect()
}

#[test]
fn normalisations_of_untrained_inputs_train_in_all_formats() {
    for model in untrained_inputs() {
        check(&model, &Method::ALL.map(|m| if m == Method::Ilp { Method::Fp32 } else { m }));
    }
}

#[test]
fn normalisations_of_untrained_inputs_train_under_budgets() {
    for model in untrained_inputs() {
        for (rewrite, share) in [(Options::default().rewrite, 0.9), (None, 0.9), (Options::default().rewrite, 0.6)] {
            let budget = Budget { seconds: 1.0, ..Budget::new(Limit::Share(share), 1) };
            let options =
                Options { batch: BATCH, method: Method::Ilp, rewrite, budget: Some(budget), ..Options::default() };
            // Scratch memory of threads may be most of what so small a network takes.
            let Ok(compiled) = compile(model.clone(), &options) else { continue };
            outcome(&compiled);
        }
    }
}

/// Every result of the forward pass computed again by itself, mean and variance of a normalisation included.
#[test]
fn recomputing_any_one_result_changes_no_bit() {
    let graph: Graph = bitbudget_testkit::NETWORK.parse().unwrap();
    let model = networks::initialised(graph);
    let forward = 25;
    for (method, rewrite) in
        [(Method::Fp32, None), (Method::Demote, None), (Method::UniformLow, Options::default().rewrite)]
    {
        let options = Options { batch: BATCH, method, rewrite, ..Options::default() };
        let compiled = compiled(&model, &options);
        let (expected, plan) = (outcome(&compiled), Plan::new(&compiled, &options));
        let text = plan.write(FileKind::Toml).unwrap();
        assert!(text.contains("recompute = []"), "{text}");
        let mut changed = 0;
        for id in compiled.training.ids().take(forward) {
            let name = match compiled.training.node(id).name.as_str() {
                "" => id.to_string(),
                name => name.to_string(),
            };
            let text = text.replace("recompute = []", &format!("recompute = [\"{name}\"]"));
            let Ok(again) = compile_as(model.clone(), &plan.options(1), &Plan::read(&text, FileKind::Toml).unwrap())
            else {
                continue;
            };
            changed += usize::from(again.train != compiled.train);
            assert!(outcome(&again) == expected, "{method}: {name} recomputed\n{}", again.train);
        }
        assert!(changed >= 3, "{method}: {changed}");
    }
}
