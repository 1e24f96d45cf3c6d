//! Losses: their values, metrics, files and error messages.

use crate::bad_data::npz;
use crate::folder::Folder;
use bitbudget::{Graph, Model, onnx};
use bitbudget_testkit::numbers as spread;
use serde_json::Value;
use std::collections::BTreeMap;

fn numbers(text: &str) -> Vec<f64> {
    text.split(',').map(|number| number.parse().unwrap()).collect()
}

/// Writes a network as ONNX, with values for its parameters.
fn write(folder: &Folder, name: &str, lines: &[&str], values: &[(&str, Vec<f32>)]) {
    let graph: Graph = format!("graph \"g\" {{\n{}\n}}", lines.join("\n")).parse().unwrap();
    let values: BTreeMap<String, Vec<f32>> = values.iter().map(|(name, v)| (name.to_string(), v.clone())).collect();
    folder.write(name, &onnx::export_bytes(&Model { graph, values }).unwrap());
}

/// A network whose result is its input, times the unit matrix or ones.
fn unit(folder: &Folder, name: &str, shape: &[usize]) {
    let dims: Vec<String> = shape[1..].iter().map(usize::to_string).collect();
    let (ty, last) = (format!("f32[N,{}]", dims.join(",")), shape[shape.len() - 1]);
    let (factor, product, w) = match shape.len() {
        2 => {
            let unit = (0..last * last).map(|i| if i % (last + 1) == 0 { 1.0 } else { 0.0 });
            (format!("f32[{last},{last}]"), "matmul(%0, %1) {trans_a=false, trans_b=false}", unit.collect())
        }
        _ => (format!("f32[{last}]"), "mul(%0, %1)", vec![1.0; last]),
    };
    let lines = [
        format!("%0 = input {{name=\"x\"}} : {ty}"),
        format!("%1 = parameter {{name=\"w\"}} : {factor}"),
        format!("%2 = {product} : {ty} output \"product\""),
        "return \"y\" = %2".to_string(),
    ];
    write(folder, name, &lines.each_ref().map(String::as_str), &[("w", w)]);
}

/// A network of three layers from 16 numbers to some, and examples for it with float targets of its result's shape.
fn layers(folder: &Folder, name: &str, outputs: usize) {
    let lines = [
        "%0 = input {name=\"x\"} : f32[N,16]".to_string(),
        "%1 = parameter {name=\"a\"} : f32[16,32]".to_string(),
        "%2 = matmul(%0, %1) {trans_a=false, trans_b=false} : f32[N,32] output \"first\"".to_string(),
        "%3 = relu(%2) : f32[N,32] output \"relu\"".to_string(),
        "%4 = parameter {name=\"b\"} : f32[32,32]".to_string(),
        "%5 = matmul(%3, %4) {trans_a=false, trans_b=false} : f32[N,32] output \"second\"".to_string(),
        "%6 = tanh(%5) : f32[N,32] output \"tanh\"".to_string(),
        format!("%7 = parameter {{name=\"c\"}} : f32[32,{outputs}]"),
        format!("%8 = matmul(%6, %7) {{trans_a=false, trans_b=false}} : f32[N,{outputs}] output \"third\""),
        "return \"y\" = %8".to_string(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(
        folder,
        &format!("{name}.onnx"),
        &lines,
        &[("a", spread(16 * 32, 1)), ("b", spread(32 * 32, 2)), ("c", spread(32 * outputs, 3))],
    );
}

fn step_loss(folder: &Folder, file: &str) -> f64 {
    let text = String::from_utf8(folder.read(file)).unwrap();
    let step: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    step["loss"].as_f64().unwrap()
}

/// The numbers of `crates/autodiff/tests/data/losses.py`, in training and evaluation.
#[test]
fn losses_are_those_of_pytorch() {
    let folder = Folder::new();
    for line in include_str!("../../../autodiff/tests/data/losses.txt").lines() {
        let [loss, options, shape, x, targets, expected, _] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let shape: Vec<usize> = numbers(shape).into_iter().map(|size| size as usize).collect();
        if shape.len() < 2 {
            continue;
        }
        unit(&folder, "unit.onnx", &shape);
        let x: Vec<f32> = numbers(x).into_iter().map(|x| x as f32).collect();
        let sizes: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        let labelled = match (loss, sizes.as_slice()) {
            ("cross-entropy", [n, _]) => vec![*n],
            ("cross-entropy", [n, tokens, _]) => vec![*n, *tokens],
            ("cross-entropy", [n, _, height, width]) => vec![*n, *height, *width],
            (_, all) => all.to_vec(),
        };
        let (floats, integers): (Vec<f32>, Vec<i64>) = numbers(targets).iter().map(|&t| (t as f32, t as i64)).unzip();
        match loss {
            "cross-entropy" => npz(&folder, "d.npz", &[("x", &sizes, &x)], &[("y", &labelled, &integers)]),
            _ => npz(&folder, "d.npz", &[("x", &sizes, &x), ("y", &labelled, &floats)], &[]),
        }
        // Labels of plain examples are never ignored in data sets of images or rows.
        let given = options
            .split(';')
            .filter_map(|option| option.split_once('='))
            .map(|(name, value)| match name {
                "smoothing" => format!(" --label-smoothing {value}"),
                "weights" => format!(" --class-weights {value}"),
                _ => format!(" --huber-delta {value}"),
            })
            .collect::<String>();
        let batch = shape[0];
        folder.succeed(&format!(
            "train unit.onnx --data npz:d.npz --loss {loss}{given} --method fp32 --batch {batch} --no-shuffle --lr 0 --steps 1 \
             --metrics m.jsonl --quiet"
        ));
        let expected: f64 = expected.parse().unwrap();
        let is_near = |found: f64| (found - expected).abs() < 2e-6 * expected.abs().max(1.0);
        assert!(is_near(step_loss(&folder, "m.jsonl")), "{loss}{given} {shape:?}: {}", step_loss(&folder, "m.jsonl"));
        for batch in [batch, 2] {
            folder.succeed(&format!(
                "eval unit.onnx --data npz:d.npz --loss {loss}{given} --batch {batch} --json e.json --quiet"
            ));
            let found = folder.json("e.json")["loss"].as_f64().unwrap();
            assert!(is_near(found), "{loss}{given} {shape:?} in batches of {batch}: {found}, not {expected}");
        }
    }
}

/// Scores [N, classes, steps], as PyTorch's cross-entropy takes them.
#[test]
fn classes_may_be_in_the_middle() {
    let folder = Folder::new();
    let w = ("w", vec![1.0; 4]);
    let network = |name: &str, ty: &str| {
        let lines = [
            format!("%0 = input {{name=\"x\"}} : {ty}"),
            "%1 = parameter {name=\"w\"} : f32[4]".to_string(),
            format!("%2 = mul(%0, %1) : {ty} output \"product\""),
            "return \"y\" = %2".to_string(),
        ];
        write(&folder, name, &lines.each_ref().map(String::as_str), std::slice::from_ref(&w));
    };
    network("net.onnx", "f32[N,3,4]");
    network("square.onnx", "f32[N,4,4]");
    let x = spread(8 * 3 * 4, 3);
    let y: Vec<i64> = (0..8 * 4).map(|i| i * i % 3).collect();
    npz(&folder, "d.npz", &[("x", &[8, 3, 4], &x)], &[("y", &[8, 4], &y)]);
    let common = "--data npz:d.npz --batch 8 --steps 1 --no-shuffle --method fp32 --metrics m.jsonl";
    folder.refused(&format!("train net.onnx {common}"), &["`y` has shape [8, 4]", "[N, 3]", "--class-axis"]);
    folder.succeed(&format!("train net.onnx {common} --class-axis 1"));
    let score = |n: usize, c: usize, t: usize| f64::from(x[12 * n + 4 * c + t]);
    let losses = (0..8).flat_map(|n| (0..4).map(move |t| (n, t))).map(|(n, t)| {
        let all: f64 = (0..3).map(|c| score(n, c, t).exp()).sum();
        all.ln() - score(n, y[4 * n + t] as usize, t)
    });
    let expected = losses.sum::<f64>() / 32.0;
    assert!((step_loss(&folder, "m.jsonl") - expected).abs() < 1e-6, "{} {expected}", step_loss(&folder, "m.jsonl"));
    // Files keep it.
    folder.succeed("compile net.onnx --class-axis 1 --method fp32 --batch 8 -o c.trainer");
    folder.succeed("train c.trainer --data npz:d.npz --steps 1 --no-shuffle --metrics m.jsonl");
    assert!((step_loss(&folder, "m.jsonl") - expected).abs() < 1e-6);
    folder.succeed("assign net.onnx --class-axis 1 --method fp32 --batch 8 -o plan.toml");
    folder.succeed("train net.onnx --assignment plan.toml --data npz:d.npz --steps 1 --no-shuffle --metrics m.jsonl");
    assert!((step_loss(&folder, "m.jsonl") - expected).abs() < 1e-6);
    // Where both could be meant, one is told.
    let note = "last of two dimensions of 4 is taken for the classes";
    assert!(folder.succeed("inspect square.onnx").stderr.contains(note));
    assert!(!folder.succeed("inspect square.onnx --class-axis 1").stderr.contains(note));
}

#[test]
fn every_loss_trains_under_a_budget_and_is_kept_in_files() {
    let folder = Folder::new();
    layers(&folder, "net", 3);
    let x = spread(4096 * 16, 7);
    let y: Vec<f32> = spread(4096 * 3, 8).iter().map(|y| y + 0.5).collect();
    let classes: Vec<i64> = y.iter().take(4096).map(|y| (y * 2.99) as i64).collect();
    npz(&folder, "numbers.npz", &[("x", &[4096, 16], &x), ("y", &[4096, 3], &y)], &[]);
    npz(&folder, "classes.npz", &[("x", &[4096, 16], &x)], &[("y", &[4096], &classes)]);
    for (given, data, metrics) in [
        ("--loss cross-entropy --label-smoothing 0.1 --class-weights 1,2,0.5", "classes", &["accuracy"][..]),
        ("--loss bce", "numbers", &["accuracy"]),
        ("--loss mse", "numbers", &["MAE", "RMSE"]),
        ("--loss l1", "numbers", &["MAE", "RMSE"]),
        ("--loss huber --huber-delta 0.25", "numbers", &["MAE", "RMSE"]),
    ] {
        let data = format!("--data npz:{data}.npz");
        let common = "--batch 4096 --threads 1 --lr 0.05 --lr-schedule constant";
        for precision in ["--budget 80%", "--method demote --low-ratio 0.5"] {
            let run = folder.succeed(&format!(
                "train net.onnx {data} {given} {common} {precision} --steps 60 --metrics m.jsonl --json r.json --save t.trainer"
            ));
            for metric in metrics {
                assert!(
                    run.stdout.contains(metric) && run.stderr.contains(metric),
                    "{given}: {}{}",
                    run.stdout,
                    run.stderr
                );
            }
            if !metrics.contains(&"accuracy") {
                assert!(!run.stdout.contains("accuracy") && !run.stderr.contains("accuracy"), "{}", run.stdout);
                assert!(folder.json("r.json").get("train_accuracy").is_none());
            }
            let (first, last) = (step_loss(&folder, "m.jsonl"), folder.json("r.json")["train_loss"].as_f64().unwrap());
            assert!(last < first, "{given} {precision}: {first} to {last}");
        }
        // The trainer file knows its loss, and so does the assignment file.
        folder.succeed(&format!("compile net.onnx {given} {common_batch} -o c.trainer", common_batch = "--batch 256"));
        let inspected = folder.succeed("inspect t.trainer").stdout;
        let name = given.split(' ').nth(1).unwrap();
        assert_eq!(inspected.contains(&format!("loss {name}")), name != "cross-entropy", "{inspected}");
        folder.succeed(&format!("train c.trainer {data} --lr 0.05 --steps 2 --metrics a.jsonl --no-shuffle --quiet"));
        folder.succeed(&format!("assign net.onnx {given} --batch 256 -o plan.toml"));
        folder.succeed(&format!(
            "train net.onnx {data} --assignment plan.toml --lr 0.05 --steps 2 --metrics b.jsonl --no-shuffle --quiet"
        ));
        assert_eq!(step_loss(&folder, "a.jsonl"), step_loss(&folder, "b.jsonl"), "{given}");
        folder.refused(&format!("train c.trainer {data} {given}"), &["is a trainer file, which fixes --loss"]);
        folder.refused(
            &format!("train net.onnx {data} --assignment plan.toml {given}"),
            &["--loss", "which the file settles"],
        );
    }
}

#[test]
fn metrics_are_of_all_numbers() {
    let folder = Folder::new();
    unit(&folder, "unit.onnx", &[1, 2]);
    let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.5, 2.0, 2.0, 4.0, 5.0, 9.0]);
    npz(&folder, "d.npz", &[("x", &[3, 2], &x), ("y", &[3, 2], &y)], &[]);
    folder.succeed("eval unit.onnx --data npz:d.npz --loss mse --batch 2 --json e.json --quiet");
    let found = folder.json("e.json");
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-6;
    assert!(near(&found["loss"], 10.25 / 6.0) && near(&found["metrics"]["mae"], 0.75), "{found}");
    assert!(near(&found["metrics"]["rmse"], (10.25f64 / 6.0).sqrt()) && found.get("accuracy").is_none(), "{found}");
    // A column of targets for one number out, and truth values as whole numbers.
    unit(&folder, "one.onnx", &[1, 1]);
    npz(&folder, "one.npz", &[("x", &[4, 1], &[2.0, -1.0, 3.0, -2.0])], &[("y", &[4], &[1, 0, 0, 0])]);
    let run = folder.succeed("eval one.onnx --data npz:one.npz --loss bce");
    assert!(run.stdout.contains("accuracy 75.00%"), "{}", run.stdout);
    // Tokens have a perplexity, pixels an intersection over union, many classes a top five.
    unit(&folder, "tokens.onnx", &[1, 3, 6]);
    let scores = spread(2 * 3 * 6, 4);
    npz(&folder, "t.npz", &[("x", &[2, 3, 6], &scores)], &[("y", &[2, 3], &[0, 1, 2, 3, 4, 5])]);
    let tokens = folder.succeed("eval tokens.onnx --data npz:t.npz --batch 2").stdout;
    assert!(tokens.contains("perplexity") && tokens.contains("top-5") && !tokens.contains("IoU"), "{tokens}");
    unit(&folder, "pixels.onnx", &[1, 3, 2, 2]);
    npz(&folder, "p.npz", &[("x", &[1, 3, 2, 2], &spread(12, 5))], &[("y", &[1, 2, 2], &[0, 1, 2, -1])]);
    let pixels = folder.succeed("eval pixels.onnx --data npz:p.npz --batch 1").stdout;
    assert!(pixels.contains("mean IoU") && !pixels.contains("perplexity") && !pixels.contains("top-5"), "{pixels}");
}

#[test]
fn what_fits_no_loss_is_told_what_would() {
    let folder = Folder::new();
    layers(&folder, "one", 1);
    layers(&folder, "net", 3);
    let x = spread(8 * 16, 7);
    npz(&folder, "float.npz", &[("x", &[8, 16], &x), ("y", &[8, 1], &spread(8, 3))], &[]);
    npz(&folder, "floats.npz", &[("x", &[8, 16], &x), ("y", &[8, 3], &spread(24, 3))], &[]);
    npz(&folder, "truth.npz", &[("x", &[8, 16], &x)], &[("y", &[8], &[0, 1, 1, 0, 0, 1, 0, 1])]);
    npz(&folder, "two.npz", &[("x", &[8, 16], &x), ("y", &[8, 1], &[2.0; 8])], &[]);
    for (arguments, words) in [
        ("train one.onnx --quiet --batch 4 --data npz:float.npz", &["train on numbers with --loss mse"][..]),
        ("train net.onnx --batch 4 --data npz:floats.npz", &["for numbers as targets give --loss mse"]),
        ("train one.onnx --quiet --batch 4 --data npz:truth.npz", &["for truth values give --loss bce"]),
        (
            "train one.onnx --batch 4 --data npz:two.npz --loss bce",
            &["target 2 at element 0", "from 0 to 1", "--loss mse"],
        ),
        ("train net.onnx --batch 4 --data npz:float.npz --loss mse", &["`y` has shape [8, 1]", "[N, 3]"]),
        (
            "train net.onnx --batch 4 --data npz:float.npz --loss mse --ignore-label -100",
            &["--ignore-label is an option of the loss cross-entropy, not of mse"],
        ),
        (
            "train net.onnx --batch 4 --data npz:float.npz --loss mse --layout channels-last",
            &["--layout and --resize are for images with one label each"],
        ),
        ("train net.onnx --data digits --loss mse", &["npz:FILE", "the targets of the loss mse as `y`"]),
        (
            "train net.onnx --data digits --loss mae",
            &["mae", "expected cross-entropy, bce, mse, l1, huber, or output:NAME"],
        ),
        ("inspect net.onnx --loss mse --label-smoothing 0.1", &["--label-smoothing", "cross-entropy, not of mse"]),
        ("inspect net.onnx --loss mse --huber-delta 0.1", &["--huber-delta", "huber, not of mse"]),
        ("inspect net.onnx --loss huber --huber-delta 0", &["Huber delta of 0 is not a number above 0"]),
        ("inspect net.onnx --label-smoothing 1.5", &["label smoothing of 1.5"]),
        ("inspect net.onnx --class-weights 1,2", &["2 class weights were given, but the network has 3 classes"]),
        ("inspect net.onnx --class-axis 2", &["dimension 2 of the network's output", "--class-axis 1"]),
        ("inspect net.onnx --loss mse --class-axis 1", &["--class-axis", "cross-entropy, not of mse"]),
        ("inspect net.onnx --class-weights nowhere.txt", &["nowhere.txt", "no file of that name"]),
        ("inspect net.onnx --class-weights 1,-2,1", &["class weight of -2"]),
        ("inspect net.onnx --loss output:losses", &["no output `losses`", "`y`"]),
    ] {
        folder.refused(arguments, words);
    }
    let run = folder.succeed("inspect one.onnx");
    assert!(run.stderr.contains("one score for each example") && run.stderr.contains("--loss bce"), "{}", run.stderr);
    folder.write("weights.txt", b"1 2\n0.5\n");
    folder.succeed("inspect net.onnx --class-weights weights.txt");
}

#[test]
fn all_commands_take_every_loss() {
    let folder = Folder::new();
    layers(&folder, "net", 3);
    let x = spread(4096 * 16, 7);
    npz(&folder, "d.npz", &[("x", &[4096, 16], &x), ("y", &[4096, 3], &spread(4096 * 3, 8))], &[]);
    folder.succeed("profile net.onnx --loss mse --data npz:d.npz --batch 16 --batches 2 -o net.json");
    folder.succeed("assign net.onnx --loss mse --batch 4096 --budget 80% --threads 1 --profile net.json");
    folder.succeed("explain net.onnx --loss huber --batch 16");
    folder.succeed("bench net.onnx --loss bce --batch 16 --steps 2");
    folder.succeed("report net.onnx --loss mse --batch 16 --html r.html");
    let run = folder.succeed(
        "compare net.onnx --loss mse --data npz:d.npz --batch 1024 --budgets 90% --threads 1 --methods demote,fp32 --steps 2 --seeds 1 --json c.json",
    );
    assert!(run.stdout.contains("loss") && !run.stdout.contains("accuracy"), "{}", run.stdout);
    let run = folder.succeed("inspect net.onnx --loss mse --json i.json");
    assert!(run.stdout.contains("target `targets` [N, 3] (numbers), loss mse"), "{}", run.stdout);
    assert_eq!(folder.json("i.json")["loss"], "mse");
}

/// The losses of a run's steps.
fn losses(folder: &Folder, file: &str) -> Vec<f64> {
    let text = String::from_utf8(folder.read(file)).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["record"] == "step").map(|record| record["loss"].as_f64().unwrap()).collect()
}

#[test]
fn a_loss_of_the_network_trains_as_the_same_by_name() {
    let folder = Folder::new();
    let head = [
        "%0 = input {name=\"x\"} : f32[N,4]",
        "%1 = parameter {name=\"w\"} : f32[4,3]",
        "%2 = matmul(%0, %1) {trans_a=false, trans_b=false} : f32[N,3] output \"fc\"",
    ];
    let w = [("w", spread(12, 2))];
    write(&folder, "plain.onnx", &[&head[..], &["return \"scores\" = %2"]].concat(), &w);
    let squares = |mean: &'static str| {
        let tail = [
            "%3 = input {name=\"goal\"} : f32[N,3]",
            "%4 = sub(%2, %3) : f32[N,3] output \"difference\"",
            "%5 = mul(%4, %4) : f32[N,3] output \"square\"",
            mean,
            "return \"scores\" = %2",
            "return \"total\" = %6",
        ];
        [&head[..], &tail[..]].concat()
    };
    write(&folder, "whole.onnx", &squares("%6 = reduce_mean(%5) {axes=[0,1]} : f32[] output \"mean\""), &w);
    write(&folder, "each.onnx", &squares("%6 = reduce_mean(%5) {axes=[1]} : f32[N] output \"mean\""), &w);
    let classes = [
        "%3 = input {name=\"classes\"} : i32[N]",
        "%4 = log_softmax(%2) : f32[N,3] output \"log\"",
        "%5 = nll_loss(%4, %3) : f32[] output \"nll\"",
        "return \"scores\" = %2",
        "return \"total\" = %5",
    ];
    write(&folder, "inside.onnx", &[&head[..], &classes[..]].concat(), &w);
    let (x, goal, labels) = (spread(9 * 4, 3), spread(9 * 3, 4), [0, 2, 1, 1, 0, 2, 2, 1, 0]);
    npz(&folder, "d.npz", &[("x", &[9, 4], &x), ("y", &[9, 3], &goal)], &[]);
    npz(&folder, "own.npz", &[("x", &[9, 4], &x), ("goal", &[9, 3], &goal)], &[]);
    npz(&folder, "classes.npz", &[("x", &[9, 4], &x)], &[("y", &[9], &labels)]);
    npz(&folder, "named.npz", &[("x", &[9, 4], &x)], &[("classes", &[9], &labels), ("y", &[9], &[0; 9])]);
    let how = "--method fp32 --batch 3 --lr 0.1 --epochs 2 --no-shuffle --quiet";
    let train = |network: &str, data: &str, loss: &str| {
        folder.succeed(&format!(
            "train {network}.onnx --data npz:{data}.npz --loss {loss} {how} --metrics m.jsonl --save out.onnx"
        ));
        losses(&folder, "m.jsonl")
    };
    let near = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    let expected = train("plain", "d", "mse");
    for network in ["whole", "each"] {
        let found = train(network, "own", "output:total");
        assert!(near(&found, &expected), "{network}: {found:?}, not {expected:?}");
    }
    // What is saved has the network's other outputs too. Examples that do not fill another batch are left out.
    let eval = |arguments: &str| {
        folder.succeed(&format!("eval {arguments} --json e.json --quiet"));
        (folder.json("e.json")["loss"].as_f64().unwrap(), folder.json("e.json")["examples"].as_u64().unwrap())
    };
    let (each, counted) = eval("out.onnx --data npz:own.npz --loss output:total --batch 3");
    let (plain, all) = eval("out.onnx --data npz:d.npz --loss mse --output scores --batch 4");
    assert!((each - plain).abs() < 1e-6 && (counted, all) == (9, 9), "{each} {plain} {counted} {all}");
    assert_eq!(eval("out.onnx --data npz:own.npz --loss output:total --batch 7").1, 7);
    let expected = train("plain", "classes", "cross-entropy");
    let found = train("inside", "named", "output:total");
    assert!(near(&found, &expected), "{found:?}, not {expected:?}");
    // Targets are never rounded, nor the loss.
    folder.succeed(
        "train whole.onnx --data npz:own.npz --loss output:total --batch 9 --method uniform-low --steps 3 --quiet",
    );
    let training = folder.succeed("inspect whole.onnx --loss output:total --text training").stdout;
    assert!(training.contains("input {name=\"goal\", target=true}"), "{training}");
    folder.refused("train whole.onnx --data npz:classes.npz --loss output:total --batch 3", &["`y` has shape [9]"]);
}
