//! `assign`: its JSON, its table, and the authors' own grouping.

use crate::folder::Folder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

fn assign(folder: &Folder, arguments: &str) -> Value {
    let run = folder.succeed(&format!("assign {arguments} --json -"));
    serde_json::from_str(&run.stdout).unwrap()
}

fn sum(groups: &Value, wanted: impl Fn(&Value) -> bool) -> u64 {
    let groups = groups.as_array().unwrap().iter().filter(|g| wanted(g));
    groups.map(|g| g["elements"].as_u64().unwrap()).sum()
}

#[test]
fn the_record_is_consistent_and_equals_the_table() {
    let folder = Folder::new();
    for (method, mixed) in
        [("demote", false), ("demote-smallest", false), ("uniform-low", false), ("random", true), ("operator", true)]
    {
        let has_ratio = method.starts_with("demote") || method == "random";
        let ratio = if has_ratio { "--low-ratio 0.4" } else { "" };
        let record = assign(&folder, &format!("net.onnx --batch 8 --method {method} {ratio} --seed 3"));
        let printed = folder.succeed(&format!("assign net.onnx --batch 8 --method {method} {ratio} --seed 3"));
        let groups = &record["groups"];
        let elements = record["elements"].as_u64().unwrap();
        assert_eq!(sum(groups, |_| true), elements, "{method}");
        let ratio = record["low_ratio"]["elements"].as_f64().unwrap();
        if !mixed {
            let low = sum(groups, |g| g["level"] == "low") as f64;
            assert!((ratio - low / elements as f64).abs() < 1e-12, "{method}: {ratio}");
        }
        if method.starts_with("demote") {
            assert!((0.4..1.0).contains(&ratio), "{method}: {ratio}");
        }
        for (id, group) in groups.as_array().unwrap().iter().enumerate() {
            assert_eq!(group["id"].as_u64(), Some(id as u64));
            assert!(!group["operators"].as_array().unwrap().is_empty());
        }
        // Every group has a line, and the totals are those of the record.
        let lines: Vec<&str> = printed.stdout.lines().collect();
        let rows: BTreeMap<u64, (&str, u64)> = lines[1..]
            .iter()
            .take_while(|line| !line.trim().is_empty())
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [.., level, elements, _] = words[..] else { unreachable!("{line}") };
                (words[0].parse().unwrap(), (level, elements.replace(',', "").parse().unwrap()))
            })
            .collect();
        assert_eq!(rows.len(), groups.as_array().unwrap().len(), "{}", printed.stdout);
        for group in groups.as_array().unwrap() {
            let row = (group["level"].as_str().unwrap(), group["elements"].as_u64().unwrap());
            assert_eq!(rows[&group["id"].as_u64().unwrap()], row);
        }
        let bits = record["bits_total"].as_u64().unwrap() as f64 / elements as f64;
        for words in [format!("{:.1}% low", 100.0 * ratio), format!("({bits:.2} bits an element)")] {
            // The totals wrap nowhere inside of these words.
            assert!(printed.stdout.contains(&words), "{words}: {}", printed.stdout);
        }
    }
}

#[test]
fn bits_lie_between_the_uniform_assignments() {
    let folder = Folder::new();
    let bits = |arguments: &str| assign(&folder, &format!("net.onnx --batch 8 {arguments}"))["bits_total"].as_u64();
    let elements = assign(&folder, "net.onnx --batch 8")["elements"].as_u64().unwrap();
    assert_eq!(bits("--method fp32"), Some(32 * elements));
    assert_eq!(bits("--method uniform-high"), Some(16 * elements));
    let ratios = ["0", "0.2", "0.4", "0.6", "0.8", "1"].map(|r| bits(&format!("--low-ratio {r}")).unwrap());
    assert_eq!(ratios[0], 16 * elements);
    assert!(ratios.is_sorted_by(|a, b| a > b), "{ratios:?}");
    assert_eq!(Some(ratios[5]), bits("--method uniform-low"));
    assert_eq!(bits("--method uniform-low --high fp32 --low-forward bf16 --low-backward bf16"), {
        let record = assign(&folder, "net.onnx --batch 8 --method uniform-low");
        // Gradients of parameters stay high: 16 more bits each than the others.
        let parameters = folder.succeed("inspect net.onnx --batch 8 --json -").stdout;
        let parameters = serde_json::from_str::<Value>(&parameters).unwrap()["parameters"].as_u64().unwrap();
        Some(16 * record["elements"].as_u64().unwrap() + 16 * parameters)
    });
}

#[test]
fn random_assignments_follow_their_seed() {
    let folder = Folder::new();
    let random = |seed| assign(&folder, &format!("net.onnx --batch 8 --method random --seed {seed}"));
    assert_eq!(random(1), random(1));
    assert_ne!(random(1)["groups"], random(2)["groups"]);
}

#[test]
fn groups_are_those_of_the_authors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/groups.json");
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("skipped: {} is absent", path.display());
        return;
    };
    let oracle: Value = serde_json::from_slice(&text).unwrap();
    let folder = Folder::new();
    assert_eq!(oracle.as_object().unwrap().len(), 4);
    for (network, expected) in oracle.as_object().unwrap() {
        folder.succeed(&format!("zoo {network} -o {network}.onnx"));
        let demote = assign(&folder, &format!("{network}.onnx --batch 128 --method demote --low-ratio 0.5"));
        let theirs = expected["groups"].as_array().unwrap();
        let ours = demote["groups"].as_array().unwrap();
        assert_eq!(ours.len(), theirs.len(), "{network}");
        let step = &expected["demotion_largest_first"]["0.5"];
        for (group, theirs) in std::iter::zip(ours, theirs) {
            let place = format!("{network}, group {}", theirs["id"]);
            for key in ["id", "elements", "parameters_of"] {
                assert_eq!(group[key], theirs[key], "{place}, {key}");
            }
            // The oracle calls operators by their PyTorch classes and modules, so only their names are compared.
            let named = |group: &Value| -> Vec<String> {
                let operators = group["operators"].as_array().unwrap().iter().map(|o| o.as_str().unwrap());
                let names = operators.map(|o| o.rsplit([':', '.']).next().unwrap());
                names.map(|name| name.to_lowercase().replace('_', "")).collect()
            };
            assert_eq!(named(group), named(theirs), "{place}");
            let low = step["groups"].as_array().unwrap().contains(&group["id"]);
            assert_eq!(group["level"], if low { "low" } else { "high" }, "{place}");
        }
        assert_eq!(demote["bits_total"], step["bits"], "{network}");
        assert_eq!(demote["elements"], expected["total_elements"], "{network}");
        let ratio = demote["low_ratio"]["elements"].as_f64().unwrap();
        assert!((ratio - step["ratio_elements"].as_f64().unwrap()).abs() < 1e-12, "{network}: {ratio}");

        let operator = assign(&folder, &format!("{network}.onnx --batch 128 --method operator"));
        assert_eq!(operator["bits_total"], expected["operator_based"]["bits"], "{network}");
        let ratio = 100.0 * operator["low_ratio"]["bits"].as_f64().unwrap();
        let theirs = expected["operator_based"]["ratio_bits_percent"].as_f64().unwrap();
        assert!((ratio - theirs).abs() < 1e-9, "{network}: {ratio} {theirs}");
    }
}
