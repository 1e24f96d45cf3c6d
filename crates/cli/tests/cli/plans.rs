//! Assignment files: `assign -o`, `--from`, `--assignment`, with pins and exclusions.

use crate::folder::Folder;
use bitbudget::Compiled;
use bitbudget::Format;
use bitbudget::ir::NodeId;

/// The rows of a TOML file's tensors by name: operator, forward and backward format.
fn tensors(folder: &Folder, name: &str) -> Vec<(String, [String; 3])> {
    let text = String::from_utf8(folder.read(name)).unwrap();
    let rows = text.lines().skip_while(|line| *line != "[tensors]").skip(1);
    let row = |line: &str| {
        let (name, row) = line.split_once(" = ").unwrap();
        let value =
            |key: &str| row.split(&format!("{key} = \"")).nth(1).unwrap().split('"').next().unwrap().to_string();
        (name.trim_matches('"').to_string(), ["operator", "forward", "backward"].map(value))
    };
    rows.map(row).collect()
}

/// Replaces text in a file, which must be there.
fn edit(folder: &Folder, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(folder.read(name)).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    folder.write(name, text.replacen(from, to, 1).as_bytes());
}

#[test]
fn a_file_is_used_as_it_stands() {
    let folder = Folder::new();
    let shown = folder.succeed("assign net.onnx --batch 8 --low-ratio 0.6 -o plan.toml").stdout;
    folder.succeed("assign net.onnx --batch 8 --low-ratio 0.6 -o plan.json");
    // In either form it is the same assignment, with the same report.
    for file in ["plan.toml", "plan.json"] {
        assert_eq!(folder.succeed(&format!("assign net.onnx --assignment {file}")).stdout, shown);
        folder.succeed(&format!("assign net.onnx --assignment {file} -o again.toml"));
        assert!(folder.read("again.toml") == folder.read("plan.toml"));
    }
    let printed = folder.succeed("assign net.onnx --assignment plan.json -o -").stdout;
    assert!(printed.as_bytes() == folder.read("plan.toml"));
    let row = "conv1 = { operator = \"conv\", shape = \"[N,12,16,16]\", forward = \"1-4-3\", backward = \"1-5-2\" }";
    edit(&folder, "plan.toml", row, &row.replace("1-4-3", "e4m3").replace("1-5-2", "bf16"));
    edit(&folder, "plan.toml", "recompute = []", "recompute = [\"bn1\", \"bn1.mean\"]");
    folder.succeed("compile net.onnx --assignment plan.toml -o net.trainer");
    let compiled = Compiled::decode(&folder.read("net.trainer")).unwrap();
    let named = |name: &str| compiled.training.ids().rfind(|&id| compiled.training.node(id).name == name).unwrap();
    assert_eq!(compiled.assignment.formats[named("conv1").index()], Format::E4M3);
    let recomputed: Vec<NodeId> = compiled.assignment.recomputed.iter().map(|id| id.node()).collect();
    assert_eq!(recomputed, [named("bn1.mean"), named("bn1")]);
    assert_eq!(compiled.assignment.batch, 8);
    // The report names formats that no level stands for.
    let shown = folder.succeed("assign net.onnx --assignment plan.toml").stdout;
    assert!(shown.contains("% e4m3"), "{shown}");
    folder.succeed("train net.onnx --data digits --steps 1 --batch 4 --assignment plan.toml --json t.json");
    folder.succeed("bench net.onnx --steps 1 --assignment plan.toml --json b.json");
    assert_eq!(folder.json("b.json")["batch"], 8);
    folder.succeed("eval net.onnx --data digits --assignment plan.toml");
}

#[test]
fn a_file_is_solved_again_with_what_options_change() {
    let folder = Folder::new();
    let options = "--batch 8 --budget 80% --solve-seconds 2 --formats fp32,bf16 --pin conv1=bf16 --exclude Concat";
    folder.succeed(&format!("assign net.onnx {options} -o plan.toml"));
    let check = |name: &str| {
        for (tensor, [operator, forward, backward]) in tensors(&folder, name) {
            if tensor == "conv1" {
                assert_eq!([forward.as_str(), &backward], ["bf16", "bf16"]);
            } else if operator == "concat" && !(name == "again.toml" && tensor.starts_with("fire9.")) {
                assert_eq!([forward.as_str(), &backward], ["fp32", "fp32"]);
            }
            assert!(["fp32", "bf16"].contains(&forward.as_str()), "{tensor} {forward}");
        }
    };
    check("plan.toml");
    // By hand and by options, and both stay in the file.
    edit(&folder, "plan.toml", "limit = \"80%\"", "limit = \"90%\"");
    edit(&folder, "plan.toml", "[pin]\n", "[pin]\n\"fire9.*\" = \"bf16\"\n");
    folder.succeed("assign net.onnx --from plan.toml --pin fire2.conv1.weight=bf16/fp32 -o again.toml --json r.json");
    check("again.toml");
    let (record, text) = (folder.json("r.json"), String::from_utf8(folder.read("again.toml")).unwrap());
    assert!(record["memory"]["predicted"].as_u64() <= record["memory"]["budget"].as_u64());
    for words in [
        "limit = \"90%\"",
        "\"fire9.*\" = \"bf16\"",
        "\"fire2.conv1.weight\" = \"bf16/fp32\"",
        "exclude = [\"Concat\"]",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let of_fire9 = tensors(&folder, "again.toml").into_iter().filter(|(name, _)| name.starts_with("fire9."));
    // The concatenation too: it is excluded by type, and names beat types.
    assert!(of_fire9.into_iter().all(|(_, [_, forward, backward])| forward == "bf16" && backward == "bf16"));
    // Another method on the same settings; a pin of the same pattern takes the place of the file's.
    folder.succeed("assign net.onnx --from again.toml --method demote --budget 90% --pin conv1=fp32 -o demoted.toml");
    let demoted = String::from_utf8(folder.read("demoted.toml")).unwrap();
    assert!(demoted.contains("method = \"demote\"") && demoted.contains("conv1 = \"fp32\""), "{demoted}");
}

#[test]
fn a_plan_is_solved_for_its_optimizer() {
    let folder = Folder::new();
    folder.succeed(
        "assign net.onnx --batch 8 --budget 85% --optimizer adamw --solve-seconds 2 -o plan.toml --json a.json",
    );
    folder.succeed("assign net.onnx --batch 8 --budget 85% --solve-seconds 2 -o sgd.toml --json s.json");
    folder.succeed("inspect net.onnx --batch 8 --json p.json");
    let state = |name: &str| folder.json(name)["memory"]["breakdown"]["optimizer_state"].as_u64().unwrap();
    // Two moments per parameter instead of one velocity, 4 bytes each; running statistics are in both.
    assert_eq!(state("a.json") - state("s.json"), 4 * folder.json("p.json")["parameters"].as_u64().unwrap());
    let within = |name: &str| {
        folder.json(name)["memory"]["predicted"].as_u64() <= folder.json(name)["memory"]["budget"].as_u64()
    };
    assert!(within("a.json") && within("s.json"));
    // The optimizer is that of the plan, solved again or used as it stands, unless options say otherwise.
    folder.succeed("assign net.onnx --from plan.toml --weight-decay 0.1 -o again.toml --json again.json");
    assert_eq!(state("again.json"), state("a.json"));
    let text = String::from_utf8(folder.read("again.toml")).unwrap();
    assert!(text.contains("[optimizer]\nrule = \"adamw\"\nweight_decay = 0.1\n"), "{text}");
    folder.succeed("inspect net.onnx --assignment again.toml --json i.json");
    assert_eq!(state("i.json"), state("a.json"));
    folder.succeed("assign net.onnx --from plan.toml --optimizer sgd --json other.json");
    assert_eq!(state("other.json"), state("s.json"));
    // The advice for a plan that is too large for another optimizer can be followed.
    let words = ["more than the budget of", "assign --from"];
    folder.refused("train net.onnx --data digits --assignment sgd.toml --optimizer adamw", &words);
    folder.succeed("assign net.onnx --from sgd.toml --optimizer adamw -o sgd.toml");
    folder.succeed("train net.onnx --data digits --assignment sgd.toml --optimizer adamw --steps 1");
    folder.succeed("eval net.onnx --data digits --batch 8 --budget 85% --optimizer adamw --solve-seconds 2");
    for (from, to, words) in [
        ("weight_decay = 0.01", "weight_decay = -1", "`weight_decay` under [optimizer] is -1"),
        ("rule = \"adamw\"", "rule = \"lion\"", "unknown variant `lion`"),
        ("rule = \"adamw\"", "rule = \"sgd\"\nmomentum = 1.5", "`momentum` under [optimizer] is 1.5"),
    ] {
        folder.write("bad.toml", &folder.read("plan.toml"));
        edit(&folder, "bad.toml", from, to);
        folder.refused("assign net.onnx --from bad.toml", &["bad.toml: not an assignment", words]);
    }
    // Files from before it was written mean SGD.
    folder.write("old.toml", &folder.read("sgd.toml"));
    edit(&folder, "old.toml", "[optimizer]\nrule = \"adamw\"\nweight_decay = 0.01\n", "");
    folder.succeed("inspect net.onnx --assignment old.toml --json old.json");
    assert_eq!(state("old.json"), state("s.json"));
}

#[test]
fn methods_keep_to_pins() {
    let folder = Folder::new();
    for method in ["fp32", "uniform-high", "uniform-low", "operator", "amp", "demote", "demote-smallest", "random"] {
        let pins = "--pin Conv*=bf16 --pin fire2.conv1=1-4-3/1-5-2 --exclude BatchNormalization*";
        folder.succeed(&format!("assign net.onnx --batch 8 --method {method} {pins} -o plan.toml"));
        let high = if method == "fp32" { "fp32" } else { "1-6-9" };
        for (name, [operator, forward, backward]) in tensors(&folder, "plan.toml") {
            let expected = match (name.as_str(), operator.as_str()) {
                ("fire2.conv1", _) => ["1-4-3", "1-5-2"],
                (_, "conv") => ["bf16", "bf16"],
                (_, "batch_normalize") => [high, high],
                _ => continue,
            };
            assert_eq!([forward.as_str(), &backward], expected, "{method}: {name}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_all_reasons() {
    let folder = Folder::new();
    folder.succeed("assign net.onnx --batch 8 --budget 90% --solve-seconds 2 -o plan.toml");
    folder.succeed("zoo shufflenet-v2 --width 0.1 -o other.onnx");
    folder.succeed("compile net.onnx --batch 8 -o net.trainer");
    folder.write("no.toml", b"version = 1");
    folder.write("plan.txt", b"");
    let pins = "--pin Cnv*=bf16 --pin fire2.relu3=bf16 --exclude nothing-like-it";
    let cases: &[(&str, &[&str])] = &[
        (
            &format!("assign net.onnx {pins}"),
            &["`Cnv*` matches no", "mean `conv`", "`fire2.relu3`", "`fire2.relu1`", "`nothing-like-it` matches no"],
        ),
        ("assign net.onnx --pin conv=bf16 --pin Conv=fp32", &["`conv` and `Conv` both match", "bf16 and fp32"]),
        (
            "assign net.onnx --budget 50% --pin nll_loss=bf16",
            &[
                "`nll_loss`, the network's input or a part of the loss, to bf16, but it can only be fp32; pin it to that",
            ],
        ),
        (
            "assign net.onnx --pin nll_loss=bf16",
            &["to bf16, but it can only be fp32 or 1-6-9 or 1-4-3; pin it to that"],
        ),
        ("assign net.onnx --method fp32 --pin nll_loss=bf16", &["to bf16, but it can only be fp32; pin it to that"]),
        ("assign net.onnx --pin conv", &["write a pattern and a format", "'Conv*=bf16'"]),
        ("assign net.onnx --pin conv=fp7", &["unknown format `fp7`"]),
        ("assign net.onnx --formats bf16", &["--formats", "--budget"]),
        ("assign net.onnx -o plan", &["plan: assignments are TOML or JSON", ".toml"]),
        ("assign net.onnx -o no/such/plan.toml", &["no folder"]),
        ("assign net.onnx --from plan.txt", &["plan.txt", "TOML or JSON"]),
        ("assign net.onnx --from none.toml", &["cannot read none.toml"]),
        ("assign net.onnx --from no.toml", &["no.toml: not an assignment", "the field `network` is missing"]),
        ("assign net.onnx --from plan.toml --assignment plan.toml", &["cannot be used with"]),
        ("assign net.trainer -o p.toml", &["net.trainer is a trainer file"]),
        ("train net.trainer --data digits --assignment plan.toml", &["trainer file, which fixes --assignment"]),
        ("train net.onnx --data digits --assignment plan.toml --method demote", &["--method", "cannot be used with"]),
        (
            "compile other.onnx --assignment plan.toml -o x",
            &["it is of network `squeezenet-0.1`", "no tensor `fire2.conv1`", "tensor `relu1` [N,24,32,32] is missing"],
        ),
    ];
    for (arguments, words) in cases {
        folder.refused(arguments, words);
    }
    // The formats that the message names are accepted.
    for pin in [
        "--budget 90% --solve-seconds 1 --pin nll_loss=fp32",
        "--pin nll_loss=fp32",
        "--pin nll_loss=1-6-9",
        "--pin nll_loss=1-4-3",
    ] {
        folder.succeed(&format!("assign net.onnx --batch 8 {pin}"));
    }
    edit(&folder, "plan.toml", "limit = \"90%\"", "limit = \"20%\"");
    edit(&folder, "plan.toml", "seed = 0", "seed = 1");
    folder.refused("bench net.onnx --assignment plan.toml", &["more than the budget of", "--from", "narrower formats"]);
    edit(
        &folder,
        "plan.toml",
        "nll_loss = { operator = \"nll_loss\", shape = \"[]\", forward = \"fp32\"",
        "nll_loss = { operator = \"nll_loss\", shape = \"[N]\", forward = \"bf16\"",
    );
    edit(&folder, "plan.toml", "\"conv1.bias\" =", "\"conv1.bia\" =");
    let words = [
        "`nll_loss` has the shape [], not [N]",
        "it cannot be bf16",
        "`conv1.bias` [12] is missing",
        "no tensor `conv1.bia`",
    ];
    folder.refused("compile net.onnx --assignment plan.toml -o x", &words);
}

#[test]
fn what_a_plan_says_without_effect_is_refused() {
    let folder = Folder::new();
    folder.succeed("assign net.onnx --batch 8 -o plan.toml --quiet");
    for (from, to, words) in [
        ("recompute = []", "recompute = [\"nll_loss\"]", "`nll_loss` under `recompute` is not a result"),
        ("operator = \"relu\"", "operator = \"gelu\"", "is of operator `gelu`, but in the network of `relu`"),
    ] {
        folder.write("bad.toml", &folder.read("plan.toml"));
        let text = String::from_utf8(folder.read("bad.toml")).unwrap();
        assert!(text.contains(from), "{text}");
        folder.write("bad.toml", text.replacen(from, to, 1).as_bytes());
        folder.refused("assign net.onnx --assignment bad.toml", &[words]);
    }
    // A parameter in FP32 has no copy that could be made again.
    folder.succeed("assign net.onnx --batch 8 --method fp32 -o exact.toml --quiet");
    let text = String::from_utf8(folder.read("exact.toml")).unwrap();
    folder.write("bad.toml", text.replacen("recompute = []", "recompute = [\"conv1.weight\"]", 1).as_bytes());
    let words = "`conv1.weight` under `recompute` is not a result";
    folder.refused("assign net.onnx --assignment bad.toml", &[words]);
}
