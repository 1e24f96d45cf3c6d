//! `report`, and the pages of `assign`, `compile` and `train`.

use crate::browser::{data, visit};
use crate::folder::Folder;
use bitbudget::zoo::{Network, Spec, build};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

/// The first column and the cells of one more of the table of tensors.
const COLUMN: &str = r##"
const rows = () => [...document.querySelectorAll("#tensor-table tbody tr")];
const column = (at) => rows().map((row) => row.children[at].textContent.trim());
const press = (node) => node.dispatchEvent(new MouseEvent("click", { bubbles: true }));
"##;

#[test]
fn a_page_shows_the_numbers_of_the_json() {
    let folder = Folder::new();
    folder.succeed("report net.onnx --batch 16 --budget 60% --solve-seconds 2 --html r.html --json r.json");
    let (page, record) = (folder.path("r.html"), folder.json("r.json"));
    assert_eq!(data(&page), record);
    let script = r##"
      const figure = (name) => [...document.querySelectorAll("#figures div")].find((div) => div.querySelector("dt").textContent === name)
        ?.querySelector("dd").firstChild.textContent;
      const biggest = [...document.querySelectorAll("#largest tbody tr")].map((row) => row.children[0].textContent);
      return {
        verdict: document.querySelector("#sentences strong").textContent,
        figures: ["budget", "peak, predicted", "cost", "gap"].map(figure),
        shown: [bytes(data.verdict.budget), bytes(data.verdict.predicted), short(data.verdict.solver.cost), percent(data.verdict.solver.gap)],
        biggest,
        count: document.querySelector("#tensor-table [role=status]").textContent,
        more: document.querySelector("#more").textContent,
        why: document.querySelector("#why").textContent,
        nodes: document.querySelectorAll("#graph .node").length,
        groups: document.querySelectorAll("#group-table tbody tr").length,
        training: document.getElementById("training").hidden,
        hash: document.querySelector("#files code").textContent,
      };"##;
    let Some(found) = visit(&page, script) else { return };
    assert!(found["verdict"].as_str().unwrap().starts_with("It fits: "), "{found}");
    assert_eq!(found["figures"], found["shown"]);
    let tensors = record["tensors"].as_array().unwrap();
    let bytes = |tensor: &&Value| std::cmp::Reverse(tensor["bytes"].as_u64());
    let mut sorted: Vec<&Value> = tensors.iter().collect();
    sorted.sort_by_key(bytes);
    let expected: Vec<&str> = sorted[..10].iter().map(|tensor| tensor["name"].as_str().unwrap()).collect();
    assert_eq!(names(&found["biggest"]), expected);
    assert_eq!(found["count"], format!("{} tensors", tensors.len()));
    assert_eq!(found["nodes"], record["nodes"].as_array().unwrap().len());
    assert_eq!(found["groups"], record["groups"].as_array().unwrap().len());
    assert_eq!(found["training"], true);
    assert_eq!(found["hash"], record["rerun"]["files"][0]["sha256"]);
    assert!(found["more"].as_str().unwrap().starts_with("Everything: fp32 takes "), "{found}");
    assert!(found["why"].as_str().unwrap().contains("The runner-up"), "{found}");
}

#[test]
fn the_table_sorts_and_filters_and_a_node_selects_its_rows() {
    let folder = Folder::new();
    folder.succeed("report net.onnx --batch 16 --html r.html --json r.json");
    let record = folder.json("r.json");
    let script = format!(
        r##"{COLUMN}
      document.querySelector("#tensor-table .tools:last-child button").click();
      const heads = [...document.querySelectorAll("#tensor-table th")];
      const head = (name) => heads.findIndex((th) => th.textContent === name);
      const sizes = data.tensors.map((tensor) => tensor.bytes).sort((a, b) => b - a).map(bytes);
      const found = {{ all: rows().length, falls: JSON.stringify(column(head("bytes"))) === JSON.stringify(sizes) }};
      press(heads[head("bytes")].querySelector("button"));
      found.rises = JSON.stringify(column(head("bytes"))) === JSON.stringify(sizes.reverse());
      found.sort = heads[head("bytes")].getAttribute("aria-sort");
      press(heads[head("name")].querySelector("button"));
      found.names = column(0);
      const input = document.querySelector("#tensor-table input");
      input.value = "MASTER conv1";
      input.dispatchEvent(new Event("input", {{ bubbles: true }}));
      found.filtered = rows().map((row) => row.textContent);
      found.count = document.querySelector("#tensor-table [role=status]").textContent;
      input.value = "";
      input.dispatchEvent(new Event("input", {{ bubbles: true }}));
      press(document.querySelector('.node[data-node="3"] text'));
      found.selected = column(0).map((name, i) => `${{column(head("kind"))[i]}} ${{name}}`);
      document.querySelector('.node[data-node="4"]').dispatchEvent(new KeyboardEvent("keydown", {{ key: "Enter", bubbles: true }}));
      found.next = column(0).map((name, i) => `${{column(head("kind"))[i]}} ${{name}}`);
      press(document.querySelector("#group-table tbody button"));
      found.group = rows().length;
      press([...document.querySelectorAll("#tensor-table .tools button")].find((button) => button.textContent.startsWith("only")));
      found.again = rows().length;
      press(rows()[0].querySelector("button"));
      found.detail = document.getElementById("detail").textContent;
      found.first = column(0)[0];
      return found;"##
    );
    let Some(found) = visit(&folder.path("r.html"), &script) else { return };
    let tensors = record["tensors"].as_array().unwrap();
    assert_eq!((&found["all"], &found["again"]), (&json!(tensors.len()), &json!(tensors.len())));
    assert_eq!((&found["falls"], &found["rises"], &found["sort"]), (&json!(true), &json!(true), &json!("ascending")));
    let listed = names(&found["names"]);
    assert!(
        listed.len() == tensors.len() && listed.is_sorted_by_key(|name| name.to_lowercase()) || listed[0] <= listed[1]
    );
    for row in names(&found["filtered"]) {
        let row = row.to_lowercase();
        assert!(row.contains("master") && row.contains("conv1"), "{row}");
    }
    assert!(found["count"].as_str().unwrap().ends_with(&format!("of {} tensors", tensors.len())), "{found}");
    let of = |node: u64| {
        let tensors = tensors.iter().filter(|tensor| tensor["node"].as_u64() == Some(node));
        let mut names: Vec<String> =
            tensors.map(|t| format!("{} {}", t["kind"].as_str().unwrap(), t["name"].as_str().unwrap())).collect();
        names.sort_unstable();
        names
    };
    for (key, node) in [("selected", 3), ("next", 4)] {
        let mut selected = names(&found[key]);
        selected.sort_unstable();
        assert_eq!(selected, of(node));
        assert!(selected.len() > 1);
    }
    let grouped = tensors.iter().filter(|tensor| tensor["group"].as_u64() == Some(0)).count();
    assert_eq!(found["group"], grouped);
    assert!(found["detail"].as_str().unwrap().starts_with(found["first"].as_str().unwrap()), "{found}");
}

#[test]
fn pointing_at_the_memory_chart_names_what_is_alive() {
    let folder = Folder::new();
    folder.succeed("report net.onnx --batch 16 --budget 70% --solve-seconds 2 --html r.html --json r.json");
    let record = folder.json("r.json");
    let script = r##"
      const chart = document.querySelector("#memory-chart svg");
      const alive = document.getElementById("alive");
      const found = { peak: alive.textContent };
      const box = chart.getBoundingClientRect();
      const count = data.memory.instructions.length;
      const clientX = box.left + 64 + (10.5 / count) * (box.width - 72);
      chart.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY: box.top + 50, bubbles: true }));
      found.pointed = alive.textContent;
      found.items = [...alive.querySelectorAll("li button")].map((button) => button.textContent);
      const key = (key) => chart.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      key("ArrowRight");
      found.right = chart.getAttribute("aria-valuenow");
      key("Home");
      found.home = chart.getAttribute("aria-valuetext");
      chart.dispatchEvent(new PointerEvent("pointerdown", { clientX: box.right - 9, clientY: box.top + 50, bubbles: true }));
      found.last = chart.getAttribute("aria-valuenow");
      found.budget = chart.textContent.includes(`budget ${bytes(data.verdict.budget)}`);
      return found;"##;
    let Some(found) = visit(&folder.path("r.html"), script) else { return };
    let instructions = record["memory"]["instructions"].as_array().unwrap();
    let peak = record["memory"]["peak"].as_u64().unwrap();
    let starts = |key: &str, text: &str| assert!(found[key].as_str().unwrap().starts_with(text), "{found}");
    starts("peak", &format!("Instruction {peak} of {}, the peak: ", instructions.len()));
    starts("pointed", &format!("Instruction 10 of {}: ", instructions.len()));
    assert!(found["pointed"].as_str().unwrap().contains(instructions[10]["computes"].as_str().unwrap()));
    let lives = |tensor: &&Value| {
        let lives = tensor["lives"].as_array();
        lives.is_some_and(|lives| lives.iter().any(|life| life[0].as_u64() <= Some(10) && Some(10) <= life[1].as_u64()))
    };
    let mut expected: Vec<&str> =
        record["tensors"].as_array().unwrap().iter().filter(lives).map(|t| t["name"].as_str().unwrap()).collect();
    let mut items = names(&found["items"]);
    expected.sort_unstable();
    items.sort_unstable();
    assert_eq!(items, expected);
    assert_eq!((&found["right"], &found["last"]), (&json!("11"), &json!((instructions.len() - 1).to_string())));
    starts("home", "instruction 0, ");
    assert_eq!(found["budget"], true);
}

#[test]
fn a_trained_page_has_curves_promotions_and_overflows() {
    let folder = Folder::new();
    let train = "train net.onnx --batch 16 --data digits --lr 0.4 --epochs 2 --low-ratio 1.0 --seed 3";
    folder.succeed(&format!("{train} --metrics m.jsonl --json t.json --html t.html"));
    let (page, record) = (folder.path("t.html"), folder.json("t.json"));
    let shown = data(&page);
    let training = &shown["training"];
    assert_eq!(training["data"], "digits");
    for key in ["test_accuracy", "test_accuracy_fp32", "train_accuracy", "train_loss", "promotions", "steps"] {
        assert_eq!(training[key], record[key], "{key}");
    }
    for key in ["predicted", "allocated", "resident"] {
        assert_eq!(shown["verdict"][key], record["memory"][key], "{key}");
    }
    assert_eq!(shown["rerun"]["command"], format!("bitbudget {train} --metrics m.jsonl --json t.json --html t.html"));
    assert_eq!(shown["rerun"]["seed"], 3);
    let overflows = record["overflows"].as_array().unwrap();
    assert!(!overflows.is_empty());
    let tensors = shown["tensors"].as_array().unwrap();
    for overflow in overflows {
        let forward = |t: &&Value| t["kind"] == "parameter" || t["kind"] == "output";
        let tensor = tensors.iter().filter(forward).find(|t| t["name"] == overflow["tensor"]).unwrap();
        assert_eq!(tensor["overflow"], overflow["ratio"], "{overflow}");
    }
    // The same run from its files.
    folder.succeed(
        "report net.onnx --batch 16 --low-ratio 1.0 --metrics m.jsonl --record t.json --html r.html --json r.json",
    );
    let mut again = folder.json("r.json");
    again["training"]["data"] = training["data"].clone();
    assert_eq!(&again["training"], training);
    assert_eq!(again["verdict"]["resident"], record["memory"]["resident"]);
    let script = r##"
      const charts = [...document.querySelectorAll("#curves svg")];
      const step = document.getElementById("step");
      const box = charts[0].getBoundingClientRect();
      charts[0].dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + 60, clientY: box.top + 20, bubbles: true }));
      const accuracy = [...document.querySelectorAll("#figures div")].find((div) => div.textContent.startsWith("test accuracy"));
      return {
        charts: charts.map((chart) => chart.getAttribute("aria-label")),
        step: step.textContent,
        marks: charts[0].querySelectorAll(".mark").length,
        promotions: document.querySelectorAll("#promotions tbody tr").length,
        accuracy: accuracy.querySelector("dd").firstChild.textContent,
        expected: percent(data.training.test_accuracy, 2),
        empty: [...document.querySelectorAll("#curves path")].filter((path) => !path.getAttribute("d") || path.getAttribute("d").includes("NaN")).length,
      };"##;
    let Some(found) = visit(&page, script) else { return };
    let titles =
        ["Training loss over steps", "Accuracy by epoch over steps", "Loss scale over steps", "Low ratio over steps"];
    assert_eq!(names(&found["charts"]), titles);
    let first = training["curve"]["points"][0]["loss"].as_f64().unwrap();
    assert!(found["step"].as_str().unwrap().starts_with(&format!("Step 0: loss {first:.3}")[..16]), "{found}");
    let promotions = record["promotions"].as_array().unwrap();
    let promoted = promotions.iter().filter(|p| p["from"] != p["to"]).count();
    assert!(promoted > 0);
    assert_eq!((&found["marks"], &found["promotions"]), (&json!(promoted), &json!(promotions.len().min(100))));
    assert_eq!((&found["accuracy"], &found["empty"]), (&found["expected"], &json!(0)));
}

#[test]
fn a_page_with_everything_fits_a_phone() {
    let folder = Folder::new();
    folder.succeed("profile net.onnx --data digits --batch 8 --batches 1 -o p.json");
    let options = "--batch 16 --budget 80% --solve-seconds 2 --profile p.json";
    folder.succeed(&format!("train net.onnx {options} --data digits --steps 12 --html t.html"));
    let page = folder.path("t.html");
    let shown = data(&page);
    let roles: Vec<&str> =
        shown["rerun"]["files"].as_array().unwrap().iter().map(|f| f["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["model", "profile"]);
    let measured =
        shown["tensors"].as_array().unwrap().iter().filter(|t| t["sensitivity"].as_f64() > Some(0.0)).count();
    assert!(measured > 50 && shown["verdict"]["solver"]["profile"] == "p.json");
    let script = r##"
      const heads = [...document.querySelectorAll("#tensor-table th")].map((th) => th.textContent);
      document.body.style.width = "390px";
      const wide = [...document.querySelectorAll("body *")].filter((node) => node.closest(".scroll, .graph, svg, script, nav") === null
        && node.getBoundingClientRect().right > 391);
      return { heads, wide: wide.map((node) => node.outerHTML.slice(0, 200)) };"##;
    let Some(found) = visit(&page, script) else { return };
    let heads = [
        "name",
        "kind",
        "shape",
        "format",
        "bytes",
        "stored",
        "lifetime",
        "group",
        "sensitivity",
        "overflow",
        "runner-up",
        "why",
    ];
    assert_eq!(names(&found["heads"]), heads);
    assert_eq!(found["wide"], json!([]));
}

#[test]
fn names_are_text_and_never_markup() {
    let folder = Folder::new();
    let spec =
        Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 16, 16], seed: 0, ..Spec::default() };
    let mut model = build(&spec).unwrap();
    let bad = "</script><b>&amp;<!--\"'";
    let relu = model.graph.ids().find(|&id| model.graph.op(id).name() == "relu").unwrap();
    model.graph.set_name(relu, bad);
    folder.write("bad.onnx", &bitbudget::onnx::export_bytes(&model).unwrap());
    folder.succeed("report bad.onnx --batch 8 --method fp32 --html r.html --json r.json");
    let (page, record) = (folder.path("r.html"), folder.json("r.json"));
    assert_eq!(data(&page), record);
    assert!(record["tensors"].as_array().unwrap().iter().any(|tensor| tensor["name"] == bad));
    let script = r##"
      const named = data.tensors.find((tensor) => tensor.name.includes("<b>"));
      const input = document.querySelector("#tensor-table input");
      input.value = "<\/script><b>";
      input.dispatchEvent(new Event("input", { bubbles: true }));
      const [row] = document.querySelectorAll("#tensor-table tbody tr");
      row.querySelector("button").click();
      return {
        markup: document.querySelectorAll("b").length,
        shown: row.children[0].textContent === named.name,
        detail: document.getElementById("detail").textContent.startsWith(named.name),
      };"##;
    let Some(found) = visit(&page, script) else { return };
    assert_eq!(found, json!({ "markup": 0, "shown": true, "detail": true }));
}

#[test]
fn assign_and_compile_write_pages_and_reports_are_of_trainers_too() {
    let folder = Folder::new();
    folder.succeed("assign net.onnx --batch 8 --low-ratio 0.3 --pin Conv*=bf16 --html a.html -o plan.toml");
    folder.succeed("compile net.onnx --assignment plan.toml -o net.trainer --html c.html");
    folder.succeed("report net.trainer --html r.html --json -");
    let pages = ["a.html", "c.html", "r.html"].map(|name| data(&folder.path(name)));
    for page in &pages {
        assert_eq!(page["tensors"].as_array().unwrap().len(), pages[0]["tensors"].as_array().unwrap().len());
        assert_eq!(page["memory"], pages[0]["memory"]);
    }
    let conv = |t: &&Value| t["kind"] == "output" && t["name"] == "conv1";
    let conv = pages[0]["tensors"].as_array().unwrap().iter().find(conv).unwrap();
    assert!(conv["why"].as_str().unwrap().contains("It is pinned to bf16"), "{conv}");
    let files = pages[1]["rerun"]["files"].as_array().unwrap();
    assert_eq!(files.iter().map(|file| file["role"].as_str().unwrap()).collect::<Vec<_>>(), ["model", "assignment"]);
    let Some(found) = visit(&folder.path("r.html"), "return document.getElementById(\"more\").textContent;") else {
        return;
    };
    assert!(found.as_str().unwrap().starts_with("Nothing: this assignment"), "{found}");
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = Folder::new();
    folder.write("m.jsonl", b"{\"record\":\"nothing\"}\n");
    folder.write("empty.jsonl", b"");
    folder.write("t.json", b"{}");
    folder.refused(
        "report net.onnx --metrics m.jsonl --html r.html",
        &["line 1 is not from `bitbudget train --metrics`"],
    );
    folder.refused(
        "report net.onnx --metrics empty.jsonl --html r.html",
        &["has no final record", "leave --metrics out"],
    );
    folder.refused(
        "report net.onnx --record t.json --html r.html",
        &["t.json is not a record of `bitbudget train --json`"],
    );
    folder.refused("report net.onnx --html no/such/r.html", &["cannot write no/such/r.html"]);
    let run = folder.run("report net.onnx");
    assert!(run.code == Some(2) && run.stderr.contains("--json <FILE>"), "{}", run.stderr);
}

#[test]
fn records_of_other_networks_and_other_runs_are_refused() {
    let folder = Folder::new();
    let spec =
        Spec { network: Network::SqueezeNet, width: 0.25, classes: 10, input: [3, 16, 16], seed: 0, ..Spec::default() };
    folder.write("other.onnx", &bitbudget::onnx::export_bytes(&build(&spec).unwrap()).unwrap());
    let train = |network: &str, steps: usize, stem: &str| {
        let run = format!("train {network} --batch 8 --data synthetic:64 --method fp32 --steps {steps} --quiet");
        folder.succeed(&format!("{run} --metrics {stem}.jsonl --json {stem}.json"));
    };
    train("net.onnx", 3, "own");
    train("net.onnx", 2, "short");
    train("other.onnx", 3, "other");
    let report = "report net.onnx --batch 8 --method fp32 --json r.json";
    for options in ["--metrics other.jsonl", "--record other.json", "--metrics other.jsonl --record other.json"] {
        folder.refused(&format!("{report} {options}"), &["is of a run of another network than net.onnx (fingerprint "]);
    }
    for options in ["--metrics short.jsonl --record own.json", "--metrics other.jsonl --record own.json"] {
        folder.refused(&format!("{report} {options}"), &["are of different runs", "that one `bitbudget train` wrote"]);
    }
    let shown = folder.succeed(&format!("{report} --metrics own.jsonl --record own.json"));
    assert_eq!(shown.stderr, "");
    // The prediction is that of the assignment that is shown.
    let own = folder.json("r.json")["verdict"]["predicted"].clone();
    folder.succeed("report net.onnx --batch 8 --method uniform-low --record own.json --json low.json");
    assert!(folder.json("low.json")["verdict"]["predicted"].as_u64() < own.as_u64());
    // A record of an older version says nothing of its network.
    let mut old = folder.json("own.json");
    old.as_object_mut().unwrap().remove("network");
    folder.write("old.json", old.to_string().as_bytes());
    let shown = folder.succeed(&format!("{report} --record old.json"));
    assert!(shown.stderr.contains("old.json does not say which network was trained"), "{}", shown.stderr);
}
