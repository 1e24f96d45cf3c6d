//! `explain`.

use crate::folder::Folder;
use serde_json::Value;

fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|one| one[key] == name).unwrap()
}

#[test]
fn rules_say_what_they_saved() {
    let folder = Folder::new();
    let text = folder.succeed("explain net.onnx --batch 64 --method fp32 --json e.json").stdout;
    let record = folder.json("e.json");
    let number = |key: &str| record[key].as_f64().unwrap();
    assert!(number("peak") < 0.75 * number("peak_without_rewriting"));
    assert!(number("step_seconds") < number("step_seconds_without_rewriting"));
    for (key, peak) in [("--no-rewrite", "peak_without_rewriting"), ("", "peak")] {
        folder.succeed(&format!("inspect net.onnx --batch 64 --method fp32 {key} --json i.json"));
        assert_eq!(folder.json("i.json")["memory"]["predicted"], record[peak], "{key}");
    }
    let rule = named(&record["rules"], "rule", "relu-grad-from-output");
    assert!(rule["fired"].as_u64() > Some(5) && !rule["nodes"].as_array().unwrap().is_empty());
    assert!(record["computed_in_passing"]["saved_bytes"].as_f64() > Some(0.0));
    assert_eq!(named(&record["rules"], "rule", "leaky-relu-grad-from-output")["fired"], 0);
    for word in ["relu-grad-from-output", "computed-in-passing", "never fired: ", "leaky-relu-grad-from-output"] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn reassociation_is_listed_where_it_is_allowed_and_how_to_allow_it_where_not() {
    let folder = Folder::new();
    let explain = "--batch 4 --method fp32 --json e.json";
    let text = folder.succeed(&format!("explain net.onnx {explain}")).stdout;
    let names =
        |list: &Value| list.as_array().map_or(Vec::new(), |all| all.iter().map(|one| one["rule"].clone()).collect());
    let record = folder.json("e.json");
    assert_eq!(record["not_allowed"], serde_json::json!(["sum-of-batch-norm-grad"]));
    assert!(!names(&record["rules"]).contains(&"sum-of-batch-norm-grad".into()));
    assert!(
        text.contains("change rounding: sum-of-batch-norm-grad") && text.contains("--allow-reassociation"),
        "{text}"
    );

    let text = folder.succeed(&format!("explain net.onnx --allow-reassociation {explain}")).stdout;
    let allowed = folder.json("e.json");
    let rule = named(&allowed["rules"], "rule", "sum-of-batch-norm-grad");
    assert_eq!(rule["fired"], 25);
    assert!(rule["saved_seconds"].as_f64() > Some(0.0));
    assert!(allowed["step_seconds"].as_f64() < record["step_seconds"].as_f64());
    assert!(allowed["not_allowed"].is_null() && !text.contains("not allowed"), "{text}");

    // A trainer file keeps the choice.
    folder.succeed("compile net.onnx --batch 4 --method fp32 --allow-reassociation -o net.trainer");
    folder.succeed("explain net.trainer --json e.json");
    assert_eq!(folder.json("e.json")["rules"], allowed["rules"]);
    folder.refused("explain net.trainer --allow-reassociation", &["fixes --allow-reassociation"]);
    folder.refused("explain net.onnx --allow-reassociation --no-rewrite", &["--no-rewrite", "cannot be used with"]);
    let off = folder.succeed("explain net.onnx --batch 4 --no-rewrite").stdout;
    assert!(off.contains("rewriting is off") && !off.contains("not allowed"), "{off}");
}

#[test]
fn a_tensor_has_its_choices() {
    let folder = Folder::new();
    let options = "explain net.onnx --batch 16 --budget 75% --solve-seconds 2";
    folder.succeed(&format!("{options} --json e.json"));
    let record = folder.json("e.json");
    let mut priced = 0;
    for tensor in record["tensors"].as_array().unwrap() {
        let choices = tensor["choices"].as_array().unwrap();
        let chosen: Vec<&Value> = choices.iter().filter(|choice| choice["chosen"] == true).collect();
        if choices.is_empty() {
            continue;
        }
        priced += 1;
        assert_eq!(chosen.len(), 1, "{tensor}");
        assert_eq!(chosen[0]["format"], tensor["format"], "{tensor}");
        assert!(choices.iter().all(|choice| choice["cost"].as_f64() >= Some(0.0)));
    }
    assert!(priced > 10);
    let passing = named(&record["tensors"], "storage", "computed-in-passing");
    let (name, by) = (passing["name"].as_str().unwrap(), passing["computed_by"].as_array().unwrap());
    assert!(!by.is_empty());
    let text = folder.succeed(&format!("{options} --tensor {name}")).stdout;
    assert!(text.contains("stored nowhere: computed in passing by"), "{text}");
    folder.refused(&format!("{options} --tensor nothing"), &["there is no tensor `nothing`"]);
}
