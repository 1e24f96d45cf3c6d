//! `compare`: what it finds, that it goes on where it was, and its page.

use crate::browser::{data, visit};
use crate::folder::Folder;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A small comparison: 5 assignments and 10 trainings, where two budgets are given.
const SMALL: &str = "compare net.onnx --data digits --batch 64 --lr 0.05 --steps 3 --seeds 2 --threads 1 --methods ilp,demote,fp32 --effort 1";

/// How many results a folder holds.
fn results(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "json")).count()
}

/// Starts a comparison and kills it as soon as it has so many results.
fn killed(folder: &Folder, arguments: &str, state: &str, after: usize) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitbudget"));
    command.current_dir(folder.path(".")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.args(arguments.split_whitespace()).spawn().unwrap();
    let start = Instant::now();
    while results(&folder.path(state)) < after {
        assert!(start.elapsed() < Duration::from_secs(120), "no {after} results");
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it had {after} results");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_comparison_that_was_killed_twice_is_the_same() {
    let folder = Folder::new();
    let small = format!("{SMALL} --budgets 80%,100%");
    folder.succeed(&format!("{small} --json whole.json --state whole --quiet"));
    assert_eq!(results(&folder.path("whole")), 15);
    let again = format!("{small} --json parts.json --state parts");
    for after in [2, 7] {
        killed(&folder, &again, "parts", after);
        assert!(results(&folder.path("parts")) < 15, "it was killed too late to test anything");
        assert!(!folder.path("parts.json").exists());
    }
    let kept = results(&folder.path("parts"));
    let log = folder.succeed(&again).stderr;
    assert_eq!(log.matches("kept from before").count(), kept, "{log}");
    assert!(folder.read("parts.json") == folder.read("whole.json"));
    // Several at a time come to the same, too.
    folder.succeed(&format!("{small} --json jobs.json --state jobs --jobs 3 --quiet"));
    assert!(folder.read("jobs.json") == folder.read("whole.json"));
}

#[test]
fn what_decides_a_result_is_in_its_key() {
    let folder = Folder::new();
    let compare = "compare net.onnx --data digits --steps 2 --budgets 80% --methods demote,fp32";
    let kept = |options: &str| folder.succeed(&format!("{compare} {options}")).stderr.matches("kept from").count();
    assert_eq!(kept("--batch 64 --seeds 1"), 0);
    assert_eq!(kept("--batch 64 --seeds 1"), 4);
    // Trainings depend on what assignments do not, and on these.
    assert_eq!(kept("--batch 64 --seeds 1 --lr 0.01"), 2);
    assert_eq!(kept("--batch 64 --seeds 2"), 4);
    assert_eq!(kept("--batch 32 --seeds 1"), 0);
    folder.succeed("zoo squeezenet --width 0.1 --input 3x16x16 --seed 1 -o net.onnx");
    assert_eq!(kept("--batch 64 --seeds 1"), 0);
    // The folder is called after the network.
    assert!(results(&folder.path("net.compare")) > 10);
}

#[test]
fn budgets_that_are_too_small_are_results() {
    let folder = Folder::new();
    let compare = "compare net.onnx --batch 16 --budgets 5%,100% --methods demote,fp32,uniform-low";
    let table = folder.succeed(&format!("{compare} --json c.json --csv c.csv --timings")).stdout;
    let record = folder.json("c.json");
    let cases = record["cases"].as_array().unwrap();
    let names: Vec<(&str, Option<&str>)> =
        cases.iter().map(|case| (case["method"].as_str().unwrap(), case["budget"].as_str())).collect();
    assert_eq!(names, [("demote", Some("5%")), ("demote", Some("100%")), ("fp32", None), ("uniform-low", None)]);
    assert_eq!(cases.iter().map(|case| case["fits"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true, true, true]);
    // What it would need is more than the budget, and what it takes at its lowest.
    assert_eq!(cases[0]["peak"], cases[3]["peak"]);
    assert!(cases[0]["peak"].as_u64() > cases[0]["budget_bytes"].as_u64());
    assert_eq!(cases[2]["peak"], record["fp32_peak"]);
    assert_eq!(cases[2]["cost"], 0.0);
    assert!(table.contains("no fit") && table.contains("uniform-low"), "{table}");
    assert_eq!(record["timings"].as_array().unwrap().len(), 4);
    let csv = String::from_utf8(folder.read("c.csv")).unwrap();
    assert_eq!(csv.lines().count(), 5);
    assert!(csv.starts_with("method,budget,budget_bytes,fits,peak_bytes,cost,"), "{csv}");
    let assigned = folder.succeed("assign net.onnx --batch 16 --method uniform-low --json -").stdout;
    let assigned: Value = serde_json::from_str(&assigned).unwrap();
    assert_eq!(assigned["memory"]["predicted"], cases[3]["peak"]);
    // Nothing but the JSON where that goes to standard output, and no seconds in it.
    let printed = folder.succeed(&format!("{compare} --json - --quiet"));
    let mut expected = record.clone();
    expected.as_object_mut().unwrap().remove("timings");
    assert_eq!((serde_json::from_str::<Value>(&printed.stdout).unwrap(), printed.stderr.as_str()), (expected, ""));
}

#[test]
fn a_training_is_that_of_train() {
    let folder = Folder::new();
    let options = "--data digits --batch 64 --lr 0.05 --steps 6 --threads 1";
    folder.succeed(&format!(
        "compare net.onnx {options} --budgets 90% --methods demote --seed 3 --seeds 1 --json c.json"
    ));
    folder.succeed(&format!("train net.onnx {options} --budget 90% --method demote --seed 3 --json t.json --quiet"));
    let (compared, trained) = (folder.json("c.json")["cases"][0]["trainings"][0].clone(), folder.json("t.json"));
    assert_eq!(compared["seed"], 3);
    for field in ["test_accuracy", "test_accuracy_fp32", "test_loss", "train_accuracy", "train_loss", "steps"] {
        assert_eq!(compared[field], trained[field], "{field}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = Folder::new();
    folder.succeed("compile net.onnx --batch 8 -o net.trainer");
    folder.refused("compare net.trainer", &["trainer file", "give the network"]);
    folder.refused("compare none.onnx", &["cannot read none.onnx"]);
    for (options, words) in [
        ("--methods best", ["best", "demote"]),
        ("--budgets 40%,much", ["much", "300MiB"]),
        ("--epochs 3", ["--data", "required"]),
        ("--data digits --steps 0", ["--steps", "at least 1"]),
        ("--seeds 0", ["--seeds", "at least 1"]),
        ("--json no/such/folder.json", ["no/such", "make it first"]),
    ] {
        folder.refused(&format!("compare net.onnx {options}"), &words);
    }
}

#[test]
fn the_page_shows_the_numbers_of_the_json() {
    let folder = Folder::new();
    folder.succeed(&format!("{SMALL} --budgets 10%,80%,90% --html c.html --json c.json --timings --quiet"));
    let (page, record) = (folder.path("c.html"), folder.json("c.json"));
    assert_eq!(data(&page), record);
    let script = r##"
      const rows = (id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.children].map((cell) => cell.textContent));
      const press = (node) => node.dispatchEvent(new MouseEvent("click", { bubbles: true }));
      const found = { title: document.querySelector("#title").textContent, cases: rows("case-table"), refused: byId("refused").textContent };
      found.markers = [...document.querySelectorAll("#trade-off-chart .point")].map((point) => Number(point.dataset.case));
      found.times = document.querySelectorAll("#time-chart .point").length;
      const point = document.querySelector('#trade-off-chart .point[data-case="2"]');
      point.dispatchEvent(new PointerEvent("pointerenter"));
      found.readout = byId("trade-off-readout").textContent;
      press([...document.querySelectorAll("#case-table th button")].find((head) => head.textContent === "peak"));
      found.sorted = rows("case-table").map((row) => row[2]);
      found.options = [...byId("first").options].map((option) => Number(option.value));
      const pick = (id, at) => { byId(id).value = at; byId(id).dispatchEvent(new Event("change", { bubbles: true })); };
      pick("first", 6);
      pick("second", 4);
      found.lead = byId("difference-lead").textContent;
      found.differences = rows("difference-table").length;
      const input = document.querySelector("#difference-table input");
      input.value = "conv1 gradient";
      input.dispatchEvent(new Event("input", { bubbles: true }));
      found.filtered = rows("difference-table").map((row) => row.slice(0, 4));
      pick("second", 6);
      found.same = byId("difference-lead").textContent;
      found.shown = data.cases.map((one) => bytes(one.peak));
      found.wide = document.documentElement.scrollWidth <= innerWidth;
      return found;"##;
    let Some(found) = visit(&page, script) else { return };
    let cases = record["cases"].as_array().unwrap();
    let fitting: Vec<usize> = (0..cases.len()).filter(|&at| cases[at]["fits"] == true).collect();
    assert_eq!((cases.len(), fitting.as_slice()), (7, [1, 2, 4, 5, 6].as_slice()));
    assert_eq!(found["title"], "squeezenet-0.1: what less memory costs");
    assert_eq!((&found["markers"], &found["options"]), (&json!(fitting), &json!(fitting)));
    assert_eq!(found["times"], 5);
    for text in ["ilp at 10%", "demote at 10%", "the smallest peak that was found is"] {
        assert!(found["refused"].as_str().unwrap().contains(text), "{found}");
    }
    let accuracy = cases[2]["accuracy"]["mean"].as_f64().unwrap();
    let readout = found["readout"].as_str().unwrap();
    assert!(readout.starts_with(&format!("ilp at 90%: accuracy {:.2}%", 100.0 * accuracy)), "{readout}");
    let shown = found["cases"].as_array().unwrap();
    for (at, case) in cases.iter().enumerate() {
        assert_eq!(shown[at][0], case["method"]);
        assert_eq!(shown[at][2], found["shown"][at]);
    }
    let mut peaks: Vec<(u64, &Value)> =
        cases.iter().zip(found["shown"].as_array().unwrap()).map(|(c, s)| (c["peak"].as_u64().unwrap(), s)).collect();
    peaks.sort_by_key(|(peak, _)| std::cmp::Reverse(*peak));
    assert_eq!(found["sorted"], json!(peaks.iter().map(|(_, shown)| *shown).collect::<Vec<_>>()));
    let formats = |at: usize| cases[at]["formats"].as_array().unwrap();
    let different = formats(6).iter().zip(formats(4)).filter(|(a, b)| a != b).count();
    let lead = found["lead"].as_str().unwrap();
    let tensors = record["tensors"].as_array().unwrap().len();
    assert!(lead.starts_with(&format!("{different} of {tensors} tensors have other formats")), "{lead}");
    assert_eq!(found["differences"], different.min(100));
    assert!(different > 0 && found["same"].as_str().unwrap().starts_with("Both store all"), "{found}");
    for row in found["filtered"].as_array().unwrap() {
        assert!(row[0].as_str().unwrap().contains("conv1") && row[1].as_str().unwrap().contains("gradient"), "{row}");
        assert_eq!(row[2], "fp32");
    }
    assert_eq!(found["wide"], true);
    assert!(std::fs::metadata(&page).unwrap().len() < 2_000_000);
}

#[test]
fn accuracies_without_test_examples_are_those_of_training() {
    let folder = Folder::new();
    let numbers: Vec<f32> = (0..8 * 768).map(|i| ((i * 7919) % 97) as f32 / 97.0).collect();
    let labels = ("y", &[8][..], &[0, 1, 2, 3, 4, 5, 6, 7][..]);
    crate::bad_data::npz(&folder, "train.npz", &[("x", &[8, 3, 16, 16], &numbers)], &[labels]);
    let compare = "compare net.onnx --batch 8 --steps 1 --methods fp32 --seeds 1 --json c.json --html c.html";
    for (data, on, words, title) in [
        (
            "npz:train.npz",
            "training",
            "accuracy: on training examples, since there are no test examples;",
            "training accuracy",
        ),
        ("digits", "test", "accuracy: on test examples;", "accuracy"),
    ] {
        let shown = folder.succeed(&format!("{compare} --data {data}"));
        assert!(shown.stdout.contains(words), "{}", shown.stdout);
        assert!(shown.stderr.contains(&format!("{on} accuracy ")), "{title}: {}", shown.stderr);
        assert_eq!(folder.json("c.json")["accuracy_on"], on);
        let page = String::from_utf8(folder.read("c.html")).unwrap();
        assert!(page.contains(&format!(r#""accuracy_on":"{on}""#)));
    }
}

#[test]
fn shares_of_fp32_are_there_where_the_only_budget_is_refused() {
    let folder = Folder::new();
    folder.succeed("compare net.onnx --batch 8 --methods demote --budgets 5% --json c.json --threads 1 --quiet");
    let record = folder.json("c.json");
    folder.succeed("assign net.onnx --batch 8 --method fp32 --threads 1 --quiet --json a.json");
    assert_eq!(record["cases"][0]["fits"], false);
    assert_eq!(record["fp32_peak"], folder.json("a.json")["memory"]["predicted"]);
}
