//! Options that have no meaning, and places that cannot be written.

use crate::folder::Folder;

#[test]
fn wrong_values_are_refused_with_what_would_be_right() {
    let folder = Folder::new();
    let train = "train net.onnx --data digits --save out.onnx --metrics m.jsonl --json r.json";
    let cases: &[(&str, &[&str])] = &[
        ("assign net.onnx --batch 0", &["invalid value '0'", "--batch", "at least 1"]),
        ("assign net.onnx --batch=-1", &["invalid value '-1'", "--batch", "at least 1"]),
        ("assign net.onnx --batch 18446744073709551615", &["too large at batch", "smaller batch"]),
        ("assign net.onnx --batch 1e3", &["invalid value '1e3'", "--batch"]),
        ("assign net.onnx --low-ratio 2", &["low ratio is 2.0", "0 (nothing low) to 1"]),
        ("assign net.onnx --low-ratio -0.1", &["low ratio is -0.1"]),
        ("assign net.onnx --low-ratio NaN", &["low ratio is NaN"]),
        ("assign net.onnx --low-ratio 1e39", &["low ratio is 1e39;", "0 (nothing low) to 1"]),
        ("assign net.onnx --method best", &["no method `best`", "demote-smallest"]),
        ("assign net.onnx --high 1-9-9", &["`1-9-9` has 9 exponent bits", "2 to 8"]),
        ("assign net.onnx --low-forward fp7", &["unknown format `fp7`"]),
        ("inspect net.onnx --text backward", &["'backward'", "forward, training, program, evaluation"]),
        ("inspect net.onnx --text forward --json -", &["--text", "--json", "cannot be used with"]),
        ("zoo alexnet -o x.onnx", &["no network `alexnet`", "mobilenet-v2"]),
        ("zoo squeezenet --width 0.3 -o x.onnx", &["no width 0.3", "1.0, 0.5, 0.25 or 0.1"]),
        ("zoo squeezenet --width NaN -o x.onnx", &["no width NaN"]),
        ("zoo squeezenet --input 3x16 -o x.onnx", &["--input", "3x32x32"]),
        ("zoo squeezenet --input 3x4x4 -o x.onnx", &["4x4", "8x8"]),
        ("zoo squeezenet --input 0x16x16 -o x.onnx", &["0 input channels"]),
        ("zoo squeezenet --classes 0 -o x.onnx", &["--classes", "at least 1"]),
        ("zoo squeezenet", &["--out <FILE.onnx>"]),
        ("train net.onnx", &["--data <DATA>"]),
        ("trian net.onnx --data digits", &["'trian'", "'train'"]),
        ("compile net.onnx -o x --optimizer adamw --momentum 0.9", &["--momentum is an option of sgd"]),
        ("compile net.onnx -o x --momentum 1", &["--momentum", "it must be from 0 to below 1"]),
        ("compile net.onnx -o x --momentum 0.99999999", &["--momentum", "it would be 1 in FP32", "at most 0.99999994"]),
        ("compile net.onnx -o x --momentum 1e-50", &["--momentum", "below FP32's smallest number"]),
        ("compile net.onnx -o x --momentum=", &["--momentum", "it is not a number"]),
        ("compile net.onnx -o x --momentum NaN", &["--momentum"]),
        ("compile net.onnx -o x --weight-decay -1", &["--weight-decay", "at least 0"]),
        ("compile net.onnx -o x --optimizer lion", &["'lion'", "sgd, adamw"]),
        ("bench net.onnx --steps 0", &["--steps", "at least 1"]),
        ("bench net.onnx --lr NaN", &["--lr", "not a number"]),
        ("bench net.onnx --batch 2000 --data synthetic:1024", &["1,024 training examples cannot fill a batch of 2000"]),
    ];
    for (arguments, words) in cases {
        folder.refused(arguments, words);
    }
    let cases: &[(&str, &[&str])] = &[
        ("--lr NaN", &["--lr", "not a number"]),
        ("--lr -0.1", &["--lr", "at least 0"]),
        ("--lr inf", &["--lr", "FP32's largest number"]),
        ("--lr fast", &["'fast'", "--lr"]),
        ("--lr-schedule linear", &["`linear`", "constant, cosine or step"]),
        ("--loss-scale 0", &["loss scale `0`"]),
        ("--loss-scale NaN", &["loss scale `NaN`"]),
        ("--promotion 0", &["--promotion", "on, paper, off"]),
        ("--promotion 1.5", &["--promotion", "up to 1"]),
        ("--epochs 0", &["at least 1"]),
        ("--steps 0", &["at least 1"]),
        ("--epochs 1 --steps 1", &["--epochs", "--steps", "cannot be used with"]),
        ("--epochs 99999999999999999999", &["at most 18446744073709551615"]),
        ("--threads 1000000", &["--threads", "1024"]),
        ("--batch 1439", &["1,438 training examples", "batch of at most 1438"]),
        ("--batch 1439 --epochs 18446744073709551615", &["batch of at most 1438"]),
    ];
    for (arguments, words) in cases {
        folder.refused(&format!("{train} {arguments}"), words);
    }
}

/// A negative number is a value, not an option that does not exist.
#[test]
fn numbers_out_of_range_are_named_with_their_bounds() {
    let folder = Folder::new();
    let cases = [
        ("assign net.onnx", "--batch", "-1", "at least 1"),
        ("compare net.onnx", "--batch", "-1", "at least 1"),
        ("profile net.onnx --data digits -o p.json", "--batch", "-1", "at least 1"),
        ("profile net.onnx --data digits -o p.json", "--batches", "-1", "at least 1"),
        ("compare net.onnx", "--seeds", "-1", "at least 1"),
        ("compare net.onnx", "--jobs", "257", "at most 256"),
        ("compare net.onnx", "--effort", "-1", "at least 1"),
        ("train net.onnx --data digits", "--threads", "-1", "at least 0"),
        ("train net.onnx --data digits", "--epochs", "-1", "at least 1"),
        ("train net.onnx --data digits", "--steps", "-1", "at least 1"),
        ("train net.onnx --data digits", "--seed", "-1", "at least 0"),
        ("train net.onnx --data digits", "--lr", "1e39", "beyond FP32's largest number, 3.4028235e38"),
        ("bench net.onnx", "--lr", "1e39", "beyond FP32's largest number"),
        ("profile net.onnx --data digits -o p.json", "--lr", "1e39", "beyond FP32's largest number"),
        ("train net.onnx --data digits", "--lr", "1e-50", "below FP32's smallest number"),
        ("train net.onnx --data digits", "--weight-decay", "1e39", "beyond FP32's largest number"),
        ("train net.onnx --data digits", "--loss-scale", "-1", "2^-126"),
        ("train net.onnx --data digits", "--loss-scale", "1e-45", "from 2^-126 (1.1754944e-38) to 2^126"),
        ("train net.onnx --data digits", "--loss-scale", "1e39", "to 2^126 (8.507059e37)"),
        ("train net.onnx --data digits", "--promotion", "-1", "above 0"),
        ("assign net.onnx", "--budget", "-1", "above 0"),
        ("assign net.onnx", "--budget", "-3MiB", "above 0"),
        ("assign net.onnx", "--budget", "0x10MiB", "write a decimal number with a unit"),
        ("assign net.onnx", "--high", "1-4-3@999999", "a bias shift of 999999, which with 4 exponent bits"),
        ("assign net.onnx", "--high", "1-4-3@99999999999", "choose -119 to 120"),
        ("assign net.onnx --budget 40%", "--time-weight", "1e300", "at most 1000000"),
        ("assign net.onnx --budget 40%", "--time-weight", "-1", "at least 0"),
        ("assign net.onnx --budget 40%", "--solve-seconds", "0", "above 0"),
        ("assign net.onnx --budget 40%", "--solve-seconds", "1e39", "at most 86400"),
        ("assign net.onnx --budget 40%", "--max-slowdown", "-10%", "above 0%"),
        ("compare net.onnx", "--budgets", "-1%,20%", "above 0"),
        ("zoo resnet-18 -o x.onnx", "--classes", "-1", "at least 1"),
        ("zoo resnet-18 -o x.onnx", "--input", "-3x32x32", "as in 3x32x32"),
    ];
    for (command, option, value, words) in cases {
        folder.refused(&format!("{command} {option} {value}"), &[value.split(',').next().unwrap(), option, words]);
    }
}

#[test]
fn a_folder_is_not_read_as_a_file() {
    let folder = Folder::new();
    for command in
        ["train . --data digits", "assign net.onnx --budget 40% --profile .", "report net.onnx --json - --record ."]
    {
        folder.refused(command, &["cannot read .: it is a folder, not a file"]);
    }
    folder.refused("train net.onnx --data npz:.", &[". is a folder, not an npz file"]);
}

#[test]
fn places_are_checked_before_the_work() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("dir")).unwrap();
    // Without the check, training would go on until the timeout.
    let long = "train net.onnx --data digits --epochs 1000000 --quiet";
    let commands = [
        "zoo squeezenet --width 0.1 -o",
        "compile net.onnx -o",
        "inspect net.onnx --json",
        "assign net.onnx --json",
        "eval net.onnx --data digits --json",
        &format!("{long} --save"),
        &format!("{long} --json"),
        &format!("{long} --metrics"),
    ];
    for command in commands {
        folder
            .refused(&format!("{command} no/such/file"), &["cannot write no/such/file", "there is no folder no/such"]);
        folder.refused(&format!("{command} dir"), &["cannot write dir", "it is a folder"]);
        folder.refused(&format!("{command} net.onnx/x"), &["cannot write net.onnx/x"]);
    }
    assert_eq!(folder.files(), ["dir", "net.onnx"]);
}

#[test]
fn an_existing_file_survives_a_failure() {
    let folder = Folder::new();
    folder.write("old", b"precious");
    for command in ["compile net.onnx --low-ratio 2 -o old", "train net.onnx --data digits --batch 9999 --metrics old"]
    {
        folder.refused(command, &[]);
        assert_eq!(folder.read("old"), b"precious", "{command}");
    }
}

/// An option that has no effect with the method is refused, and the message says with which methods it has one.
#[test]
fn options_without_an_effect_are_refused() {
    let folder = Folder::new();
    let demoting = "only with methods demote, demote-smallest and random: --low-ratio; the method is ";
    for (command, words) in [
        ("eval net.onnx --data digits --low-ratio 1", &[demoting, "is fp32"][..]),
        (
            "eval net.onnx --data digits --high bf16",
            &["only with methods uniform-high, ", ": --high; the method is fp32"],
        ),
        ("eval net.onnx --data digits --optimizer adamw", &["only with a budget, or in a training: --optimizer"]),
        ("assign net.onnx --method operator --low-ratio 1", &[demoting, "is operator"]),
        ("assign net.onnx --method uniform-high --low-forward e4m3", &[": --low-forward; the method is uniform-high"]),
        ("assign net.onnx --budget 85% --high bf16", &[": --high; the method is ilp"]),
        ("assign net.onnx --budget 85% --low-forward e4m3 --low-backward e5m2", &[": --low-forward, --low-backward; "]),
        ("assign net.onnx --budget 85% --low-ratio 1", &[demoting, "is ilp"]),
        ("assign net.onnx --budget 85% --method demote --low-ratio 1", &["only without a budget: --low-ratio"]),
        (
            "assign net.onnx --budget 85% --method demote --formats bf16 --time-weight 2 --max-slowdown 5% \
             --granularity group --solve-seconds 1",
            &[
                "only with method ilp: --formats, --granularity, --time-weight, --max-slowdown, --solve-seconds; the method \
               is demote",
            ],
        ),
        (
            "assign net.onnx --budget 85% --method demote --no-recompute",
            &["only with method ilp: --no-recompute; the method is demote"],
        ),
        (
            "assign net.onnx --budget 85% --time-weight 2 --no-recompute",
            &["'--time-weight <W>' cannot be used with '--no-recompute'"],
        ),
        (
            "compare net.onnx --max-slowdown 5% --no-recompute",
            &["'--max-slowdown <SHARE>' cannot be used with '--no-recompute'"],
        ),
        ("compare net.onnx --lr 5", &["--data <DATA>"]),
        ("compare net.onnx --methods fp32 --max-slowdown 5%", &["only with method ilp: --max-slowdown"]),
        ("compare net.onnx --methods fp32,demote --no-recompute", &["only with method ilp: --no-recompute"]),
        ("compare net.onnx --methods fp32,demote --effort 5", &["only with method ilp: --effort"]),
        (
            "compare net.onnx --methods fp32,operator --budgets 50%",
            &["only with methods demote, demote-smallest, random and ilp: --budgets; --methods is fp32,operator"],
        ),
        (
            "train net.onnx --data digits --method fp32 --promotion 0.1",
            &["--promotion has no effect: with method fp32, no tensor has a format that can be widened"],
        ),
        (
            "assign net.onnx --assignment plan.toml --time-weight 2 --batch 8 --verbose",
            &["--assignment cannot be used with --time-weight, which the file settles"],
        ),
    ] {
        folder.refused(command, words);
    }
}

#[test]
fn outputs_and_data_that_cannot_be_used_have_errors_that_say_why() {
    let folder = Folder::new();
    folder.refused("report net.onnx --batch 10", &["--html <FILE.html>|--json <FILE>"]);
    folder.refused("explain net.onnx --batch 8 --tensor nope", &["`bitbudget explain net.onnx --json -` lists them"]);
    folder.refused("train net.onnx --data digits --tensorboard -", &["standard output is not a folder"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("loop", folder.path("loop")).unwrap();
        folder.refused("train net.onnx --data digits --tensorboard loop", &["its symbolic links run in a circle"]);
        folder.refused("train net.onnx --data npz:/dev/null --steps 1", &["must be a regular file"]);
    }
}

#[test]
fn results_are_named_and_explained_as_what_they_are() {
    let folder = Folder::new();
    let pinned = folder.succeed("eval net.onnx --data digits --batch 8 --pin Conv*=1-4-3").stdout;
    assert!(pinned.contains("fp32 with pins loss") && pinned.contains("; fp32 loss"), "{pinned}");
    let bench = folder.succeed("bench net.onnx --batch 8 --steps 2 --method fp32 --lr 1e30 --json b.json").stderr;
    assert!(bench.contains("was not finite") && bench.contains("lower --lr (it was 1e30)"), "{bench}");
    let compare =
        "compare net.onnx --data synthetic:32 --lr 1e30 --methods fp32 --batch 8 --steps 4 --seeds 1 --threads 1";
    let compared = folder.run(compare).stdout;
    assert!(!compared.contains("accuracy: on") && !compared.contains("* nothing else"), "{compared}");
}
