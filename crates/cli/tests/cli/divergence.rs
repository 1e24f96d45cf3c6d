//! Numbers that are not finite: where they were first, what the command ends with, and what it leaves alone.

use crate::bad_data::npz;
use crate::folder::{Folder, network};
use bitbudget::zoo::{Network, Spec, build};
use serde_json::Value;

const TRAIN: &str = "train net.onnx --batch 8 --quiet";

#[test]
fn a_run_that_diverges_names_step_and_tensor_and_saves_nothing() {
    let folder = Folder::new();
    folder.write("old.onnx", b"old");
    let lr = "--data digits --steps 4 --lr 1e38 --save old.onnx";
    // The first step makes weights of 1e36 and more, whose products overflow in the next one.
    let words = ["the loss was not finite at step 1: conv `conv1`", "lower --lr", "old.onnx stays as it was"];
    for options in ["--method fp32", "--method fp32 --loss-scale none", "--method fp32 --loss-scale 1"] {
        folder.diverges(&format!("{TRAIN} {lr} {options}"), &words);
    }
    let new = format!("{TRAIN} {lr} --method fp32").replace("old.onnx", "new.onnx");
    folder.diverges(&new, &["nothing was saved: new.onnx was not written"]);
    assert_eq!(folder.read("old.onnx"), b"old");
    // Narrow formats saturate, so that the loss stays finite; the network is not.
    for options in ["--method demote", "--method uniform-low", "--method fp32 --steps 1"] {
        let run = format!("{TRAIN} {lr} {options}")
            .replace("--steps 4 ", if options.contains("steps") { "" } else { "--steps 4 " });
        folder.diverges(&run, &["the run diverged", "lower --lr", "old.onnx stays as it was"]);
    }
    assert_eq!(folder.read("old.onnx"), b"old");
}

#[test]
fn weights_that_become_infinite_at_the_last_step_are_not_saved() {
    let folder = Folder::new();
    let run =
        format!("{TRAIN} --data synthetic:40 --steps 1 --lr 3e38 --weight-decay 1e6 --method fp32 --save x.trainer");
    folder.diverges(&run, &["the parameter `", "was not finite after step 0", "x.trainer was not written"]);
    // A hundred times the decayed weight, which is what momentum comes to, overflows; the parameter follows in the same step.
    let state = "--data synthetic:40 --lr 0 --weight-decay 1e37 --momentum 0.99 --method fp32";
    folder.succeed(&format!("{TRAIN} {state} --steps 1"));
    folder.diverges(
        &format!("{TRAIN} {state} --steps 200"),
        &["the optimizer's state `", ".velocity` was not finite after step"],
    );
}

#[test]
fn the_option_that_is_out_of_the_ordinary_is_named_with_the_update() {
    let folder = Folder::new();
    let run = format!("{TRAIN} --data synthetic:40 --steps 4 --method fp32");
    let decayed = ["lower --weight-decay (it was 1e38)", "w - 0.05 v with v = 0.9 v + gradient + 1e38 w"];
    folder.diverges(&format!("{run} --lr 0.05 --weight-decay 1e38"), &decayed);
    let kept = ["was not finite after step 0", "lower --weight-decay (it was 3e38)", "gradient + 3e38 w"];
    folder.diverges(&format!("{run} --lr 1 --steps 1 --weight-decay 3e38").replace("--steps 4 ", ""), &kept);
    let adamw = ["lower --weight-decay (it was 1e38)", "w - 0.05 (m / (sqrt(v) + 1e-8) + 1e38 w)"];
    folder.diverges(&format!("{run} --lr 0.05 --weight-decay 1e38 --optimizer adamw"), &adamw);
    folder.diverges(&format!("{run} --lr 1e38"), &["lower --lr (it was 1e38)", "w - 1e38 v"]);
    for (options, not) in [("--lr 0.05 --weight-decay 1e38", "--lr"), ("--lr 1e38", "--weight-decay")] {
        let said = folder.run(&format!("{run} {options}")).stderr;
        assert!(!said.contains(not), "{said}");
    }
}

#[test]
fn a_forward_tensor_that_saturates_is_named_with_its_format_and_its_largest_number() {
    let folder = Folder::new();
    // Normalising what is clamped to both ends of a narrow format divides by small deviations, over and over, so that gradients
    // overflow at any loss scale.
    let run = format!("{TRAIN} --data digits --steps 20 --lr 0.05 --method fp32 --save x.onnx");
    let run = format!("{run} --pin *conv?=1-3-4@8/1-5-2 --loss-scale 1024");
    let said = folder.run(&run);
    let words = [
        "20 of 20 steps (100.0%) were skipped",
        "conv1` saturates: it is stored in 1-3-4@8, which ends at 0.1211, but ",
        "of its numbers are larger, up to ",
        "a format with more exponent bits (--pin with 1-6-9 in place of 1-3-4@8)",
    ];
    folder.diverges(&run, &words);
    assert!(!said.stderr.contains("more steps") && !said.stderr.contains("--loss-scale"), "{}", said.stderr);
    // With the advice it trains.
    folder.succeed(&run.replace("1-3-4@8", "1-6-9"));
    // Clamped weights look small in training, whatever they grow to; in FP32 the network is not finite.
    let scores = format!("{TRAIN} --data digits --steps 60 --promotion off --lr 0.05 --method uniform-low");
    let run = format!("{scores} --low-forward 1-2-5@6");
    let words = [
        "in the formats of the run `",
        "stored in 1-2-5@6, which ends at 0.123",
        "or --low-forward ",
        "or --promotion on",
    ];
    folder.diverges(&run, &words);
}

#[test]
fn without_test_examples_the_network_is_tried_on_training_examples_before_it_is_saved() {
    let folder = Folder::new();
    data(&folder, "train.npz", 0, 1.0);
    folder.write("old.onnx", b"old");
    // Weights of 1e28 and more are finite, their products are not.
    let run = "train net.onnx --batch 2 --data npz:train.npz --steps 1 --lr 1e30 --method fp32 --save old.onnx --quiet";
    let words = [
        "the scores of 2 of 2 training examples are not finite",
        "`, stored in fp32, is the first tensor",
        "lower --lr",
    ];
    folder.diverges(run, &words);
    assert_eq!(folder.read("old.onnx"), b"old");
    let shown = folder.succeed(&run.replace("--lr 1e30", "--lr 0.01").replace(" --quiet", ""));
    assert!(shown.stdout.starts_with("no test examples, train loss "), "{}", shown.stdout);
}

#[test]
fn records_of_a_run_that_diverged_are_written() {
    let folder = Folder::new();
    folder.write("old.onnx", b"old");
    let run = folder.run(&format!(
        "{TRAIN} --data digits --steps 4 --lr 1e38 --method fp32 --save old.onnx --json r.json --metrics m --html p.html \
         --tensorboard events"
    ));
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(folder.read("old.onnx"), b"old");
    let record = folder.json("r.json");
    let text = String::from_utf8(folder.read("m")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second, last] = &lines[..] else { panic!("{text}") };
    assert_eq!((&first["record"], &second["record"], &second["loss"]), (&"step".into(), &"step".into(), &Value::Null));
    assert_eq!(last["record"], "final");
    for end in [last, &record] {
        assert_eq!((&end["diverged"], end["steps"].as_u64()), (&Value::Bool(true), Some(2)));
        assert_eq!((&end["train_loss"], &end["test_accuracy"]), (&Value::Null, &Value::Null));
        assert_eq!((end["divergence"]["step"].as_u64(), &end["divergence"]["tensor"]), (Some(1), &"conv1".into()));
        let message = end["divergence"]["message"].as_str().unwrap();
        assert!(run.stderr.contains(message) && message.contains("at step 1: conv `conv1`"), "{message}");
    }
    assert!(record["memory"]["predicted"].as_u64() > Some(0));
    let page = String::from_utf8(folder.read("p.html")).unwrap();
    assert!(page.contains(r#""diverged":"the run diverged: the loss was not finite at step 1"#));
    assert!(folder.files().contains(&"events".to_string()));
    // A run that ends well says so too.
    folder.succeed(&format!("{TRAIN} --data digits --steps 1 --lr 0.01 --json r.json"));
    let record = folder.json("r.json");
    assert_eq!((&record["diverged"], record.get("divergence")), (&Value::Bool(false), None));
}

/// Four batches of 2 examples of ordinary numbers, but for those of one example.
fn data(folder: &Folder, name: &str, example: usize, x: f32) {
    let mut numbers: Vec<f32> = (0..8 * 768).map(|i| ((i * 7919) % 97) as f32 / 97.0).collect();
    numbers[example * 768..][..768].iter_mut().for_each(|number| *number *= x);
    npz(folder, name, &[("x", &[8, 3, 16, 16], &numbers)], &[("y", &[8], &[0, 1, 2, 3, 4, 5, 6, 7])]);
}

#[test]
fn running_statistics_that_one_batch_makes_infinite_are_caught() {
    let folder = Folder::new();
    data(&folder, "large.npz", 5, 1e25);
    // The variance of a convolution's result overflows FP32, so that the normalised numbers are zero and the loss is finite.
    let run = "train net.onnx --batch 2 --method fp32 --lr 0.01 --epochs 1 --no-shuffle --data npz:large.npz --save x.onnx --quiet";
    folder.diverges(
        run,
        &[
            "the run diverged: training example 5 holds 9.897e24; the running variance `",
            "` of `conv1` was not finite after step 2",
            "scale the data down",
            "x.onnx was not written",
        ],
    );
    data(&folder, "larger.npz", 1, 3e38);
    let first = run.replace("large.npz", "larger.npz");
    folder.diverges(
        &first,
        &["training example 1 holds ", "; the loss was not finite at step 0: conv `conv1`", "scale the data down"],
    );
    // A number that is not finite itself is found when the data are read.
    data(&folder, "infinite.npz", 6, f32::INFINITY);
    folder.refused(&run.replace("large.npz", "infinite.npz"), &["infinite.npz: x has", "in example 6"]);
}

#[test]
fn a_run_that_skips_its_steps_fails_and_says_what_to_do() {
    let folder = Folder::new();
    let run = format!("{TRAIN} --data synthetic:40 --lr 0.05 --low-ratio 1.0");
    let words = ["20 of 20 steps (100.0%) were skipped", "nll_loss_grad", "in 1-5-2", "--loss-scale dynamic"];
    folder.diverges(&format!("{run} --steps 20 --loss-scale 1e30 --save x.onnx"), &words);
    // A fixed scale that is skipped a hundred times is given up.
    folder.diverges(&format!("{run} --steps 300 --loss-scale 1e30"), &["100 of 100 steps"]);
    // A dynamic one falls until gradients fit.
    folder.succeed(&format!("{run} --steps 20 --json r.json --metrics m --html p.html"));
    let record = folder.json("r.json");
    let text = String::from_utf8(folder.read("m")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let skipped = lines.iter().filter(|line| line["skipped"] == true).count() as u64;
    let end = lines.last().unwrap();
    for record in [&record, end] {
        assert_eq!(record["skipped"].as_u64(), Some(skipped));
        assert_eq!(record["skipped_share"].as_f64(), Some(skipped as f64 / 20.0));
    }
    let page = String::from_utf8(folder.read("p.html")).unwrap();
    assert!(page.contains(&format!(r#""skipped":{skipped},"seconds""#)), "the page holds what was skipped");
    let shown = folder.succeed(&format!("{run} --steps 20 --loss-scale 1").replace(" --quiet", ""));
    assert!(shown.stdout.contains(" 0 skipped (0.0%)"), "{}", shown.stdout);
}

/// Options belong to methods; those of other methods have no effect.
#[test]
fn only_options_that_have_an_effect_are_advised() {
    let folder = Folder::new();
    let run = format!("{TRAIN} --data digits --steps 20 --lr 0.05 --loss-scale 1024 --promotion off");
    let (high, low) = ("--high 1-3-4@8", "--low-forward 1-3-4@8 --low-backward 1-3-4@8");
    let all = ["--high ", "--low-forward ", "--promotion on", "--formats "];
    for (method, advised) in [
        ("uniform-low", &["--low-forward ", "--promotion on"][..]),
        ("demote --low-ratio 1", &["--low-forward ", "--promotion on"]),
        ("uniform-high", &["--high "]),
        ("operator", &["--high "]),
    ] {
        let low = if method == "uniform-high" { "" } else { low };
        let said = folder.run(&format!("{run} {high} {low} --method {method}")).stderr;
        for option in all {
            assert_eq!(said.contains(option), advised.contains(&option), "{method} {option}: {said}");
        }
        // Three tensors are named, with how many more there are.
        assert!(said.contains("--pin bn1.weight=1-6-9 --pin ") && said.contains(" and so on"), "{said}");
        assert!(said.contains(" more saturate too") && said.matches("=1-6-9").count() == 3, "{said}");
        assert!(!said.contains("up to 0"), "{said}");
    }
    // A comparison has no option but --pin and --promotion.
    let compare =
        "compare net.onnx --batch 8 --data digits --steps 20 --lr 0.05 --loss-scale 1024 --seeds 1 --threads 1";
    let said = folder.run(&format!("{compare} --methods uniform-low --pin *weight=1-3-4@8 --promotion off")).stderr;
    assert!(said.contains("--pin with ") && !said.contains("--low-forward"), "{said}");
}

#[test]
fn a_run_that_skips_half_of_its_steps_has_a_warning() {
    let folder = Folder::new();
    let run = "train net.onnx --batch 1 --data synthetic:40 --lr 0.05 --method uniform-low";
    let shown = folder.succeed(&format!("{run} --steps 4 --json r.json --html r.html"));
    let skipped = folder.json("r.json")["skipped"].as_u64().unwrap();
    assert!((2..4).contains(&skipped), "{skipped} of 4 steps were skipped");
    let warning = format!(
        "warning: {skipped} of 4 steps ({}.0%) were skipped, since gradients were not finite: the network has hardly trained",
        25 * skipped
    );
    assert!(shown.stderr.contains(&warning) && shown.stderr.contains("--loss-scale"), "{}", shown.stderr);
    let (_, words) = warning.split_once(": ").unwrap();
    let page = String::from_utf8(folder.read("r.html")).unwrap();
    assert!(page.contains(&format!(r#""warning":"{words}""#)), "the page has the warning");
    let compare = run.replace("train ", "compare ").replace("--method ", "--seeds 1 --methods ");
    let shown = folder.succeed(&format!("{compare} --steps 4"));
    let warning =
        "warning: 1 training skipped half of the steps or more and hardly trained; the first is uniform-low, seed 0";
    assert!(shown.stderr.contains(warning), "{}", shown.stderr);
    let shown = folder.succeed(&format!("{run} --steps 20 --html r.html"));
    assert!(!shown.stderr.contains("warning"), "{}", shown.stderr);
    let page = String::from_utf8(folder.read("r.html")).unwrap();
    assert!(!page.contains("has hardly trained"), "the page has no warning");
}

/// The small network with a weight of a value.
pub(crate) fn broken(x: f32) -> Vec<u8> {
    let spec =
        Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 16, 16], seed: 0, ..Spec::default() };
    let mut model = build(&spec).unwrap();
    assert_eq!(bitbudget::onnx::export_bytes(&model).unwrap(), network());
    model.values.get_mut("conv1.weight").unwrap()[5] = x;
    bitbudget::onnx::export_bytes(&model).unwrap()
}

#[test]
fn scores_that_are_not_finite_are_wrong() {
    let folder = Folder::new();
    folder.write("broken.onnx", &broken(3e38));
    let run = folder.run("eval broken.onnx --data digits --json r.json");
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.contains("error: fp32: the scores of 359 of 359 examples are not finite"), "{}", run.stderr);
    assert!(
        run.stderr.contains("The first is example 0: conv `conv1`, stored in fp32, is the first"),
        "{}",
        run.stderr
    );
    let record = folder.json("r.json");
    for which in ["", "_fp32"] {
        assert_eq!(record[format!("accuracy{which}")].as_f64(), Some(0.0));
        assert_eq!(record[format!("loss{which}")], Value::Null);
        assert_eq!(record[format!("not_finite{which}")].as_u64(), Some(359));
    }
    folder.diverges(
        "train broken.onnx --data digits --steps 1 --batch 8 --method fp32 --quiet",
        &[
            "the loss was not finite at step 0",
            "conv `conv1`",
            "the run diverged: the parameter `conv1.weight` holds 3e38 before the first step; ",
            "scale `conv1.weight` down",
        ],
    );
    folder.diverges(
        "profile broken.onnx --data digits -o p.json --batches 1 --quiet",
        &[
            "error: the parameter `conv1.weight` holds 3e38 before the first step; output `conv1`",
            "not finite",
            "scale `conv1.weight` down",
        ],
    );
    folder.write("broken.onnx", &broken(f32::NAN));
    folder
        .refused("eval broken.onnx --data digits", &["initializer `conv1.weight` is not a number (NaN) at element 5"]);
}

#[test]
fn a_comparison_marks_what_diverged() {
    let folder = Folder::new();
    let compare =
        "compare net.onnx --data synthetic:40 --batch 8 --steps 3 --methods fp32,uniform-low --seeds 2 --threads 1";
    let run = folder.run(&format!("{compare} --lr 1e38 --json c.json --csv c.csv --html c.html"));
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let all = "error: all 4 trainings diverged, so there is nothing to compare; fp32, seed 0: the run diverged";
    assert!(run.stderr.contains(all), "{}", run.stderr);
    assert!(run.stderr.contains("fp32, seed 0: diverged"), "{}", run.stderr);
    let json = folder.json("c.json");
    let cases = json["cases"].as_array().unwrap();
    for case in cases {
        assert_eq!((case["diverged"].as_u64(), case["front"].as_bool()), (Some(2), Some(false)));
        assert_eq!((&case["accuracy"], &case["trainings"][1]["outcome"]), (&Value::Null, &Value::from("diverged")));
    }
    let message = cases[0]["trainings"][0]["message"].as_str().unwrap();
    assert!(message.contains("at step 1: conv `conv1`") && !message.contains("saved"), "{message}");
    let csv = String::from_utf8(folder.read("c.csv")).unwrap();
    let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let at = |name: &str| header.iter().position(|column| *column == name).unwrap();
    for line in csv.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!((fields[at("diverged")], fields[at("front")], fields[at("test_accuracy")]), ("true", "false", ""));
    }
    let table = folder.run(&format!("{compare} --lr 1e38"));
    let rows: Vec<&str> =
        table.stdout.lines().filter(|line| line.starts_with(" fp32") || line.starts_with(" uniform")).collect();
    assert!(
        rows.len() == 2 && rows.iter().all(|row| row.contains("diverged") && !row.contains('*')),
        "{}",
        table.stdout
    );
    assert!(String::from_utf8(folder.read("c.html")).unwrap().contains(r#""outcome":"diverged""#));
    // Where some diverged, the others are a result: gradients of this scale fit FP32 and no format of 8 bits.
    let some = folder.succeed(&format!("{compare} --lr 0.05 --loss-scale 1e30"));
    assert!(some.stderr.contains("note: 2 of 4 trainings diverged; uniform-low, seed 0: the run"), "{}", some.stderr);
}

/// A run that comes to its end with a loss far above the first one names what made it grow, whatever else was seen.
#[test]
fn a_loss_that_grew_names_the_settings_of_updates() {
    let folder = Folder::new();
    let run = "train net.onnx --batch 8 --data digits --steps 8 --lr-schedule constant --method uniform-low";
    for (options, words) in [
        ("--lr 10", "lower --lr (it was 10)"),
        ("--lr 10 --loss-scale 1 --save out.onnx", "lower --lr (it was 10)"),
        ("--lr 10 --loss-scale 1 --optimizer adamw --weight-decay 0", "lower --lr (it was 10)"),
    ] {
        let shown = folder.run(&format!("{run} {options}"));
        assert!(shown.stderr.contains(words), "{options}: {}", shown.stderr);
        assert!(!shown.stderr.contains("train for more steps"), "{options}: {}", shown.stderr);
    }
    let shown = folder.succeed(&format!("{run} --lr 0.01"));
    assert!(!shown.stderr.contains("the loss grew"), "{}", shown.stderr);
}
