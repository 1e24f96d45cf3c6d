//! Where outputs go: links, devices, pipes, read-only files, names that mean one file, disks that are full.
#![cfg(target_os = "linux")]

use crate::folder::Folder;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{Message, ModelProto, StringStringEntryProto};
use serde_json::Value;
use std::fs::{FileType, Permissions, read_link, set_permissions, symlink_metadata};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

const TRAIN: &str = "train net.onnx --data digits --batch 32 --steps 2 --quiet";

/// A training that no test waits for: it must be refused before its first step.
const LONG: &str = "train net.onnx --data digits --batch 32 --epochs 1000000 --quiet";

/// Runs a shell script in the folder, in which `$B` is the command; its exit status and what it printed.
#[track_caller]
fn shell(folder: &Folder, script: &str) -> (i32, String) {
    let mut shell = Command::new("bash");
    shell.current_dir(folder.path(".")).env("B", env!("CARGO_BIN_EXE_bitbudget")).args(["-c", script]);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

fn kind(folder: &Folder, name: &str) -> FileType {
    symlink_metadata(folder.path(name)).unwrap().file_type()
}

#[test]
fn links_stay_and_what_they_point_to_is_written() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("other")).unwrap();
    folder.write("other/old.onnx", b"old");
    symlink("other/old.onnx", folder.path("one")).unwrap();
    symlink("one", folder.path("two.onnx")).unwrap();
    symlink("other/new.json", folder.path("new")).unwrap();
    folder.succeed(&format!("{TRAIN} --save two.onnx --json new --metrics m"));
    assert_eq!(read_link(folder.path("two.onnx")).unwrap().to_str(), Some("one"));
    assert_eq!(read_link(folder.path("one")).unwrap().to_str(), Some("other/old.onnx"));
    assert!(bitbudget::onnx::import(&folder.path("other/old.onnx")).is_ok());
    // A link to a file that was not there: the file is there, and the link still points to it.
    assert_eq!(read_link(folder.path("new")).unwrap().to_str(), Some("other/new.json"));
    assert_eq!(folder.json("other/new.json")["steps"], 2);
    symlink("other/lines", folder.path("m2")).unwrap();
    folder.succeed(&format!("{TRAIN} --metrics m2"));
    assert_eq!(String::from_utf8(folder.read("other/lines")).unwrap().lines().count(), 4);
    assert!(kind(&folder, "m2").is_symlink());
    symlink("circle2", folder.path("circle1")).unwrap();
    symlink("circle1", folder.path("circle2")).unwrap();
    folder.refused(&format!("{LONG} --save circle1"), &["cannot write circle1", "run in a circle"]);
}

/// As the administrator, who may replace `/dev/null` by a file. Others may not make devices: for them `/dev/null` is safe.
#[test]
fn devices_are_written_into() {
    let folder = Folder::new();
    let (made, _) = shell(&folder, "mknod null c 1 3 && mknod full c 1 7 && mknod disk b 250 9");
    let [null, full] = if made == 0 { ["null", "full"] } else { ["/dev/null", "/dev/full"] };
    let outputs = format!("--save {null} --metrics {null} --json {null} --html {null}");
    folder.succeed(&format!("{TRAIN} {outputs}"));
    for command in ["zoo squeezenet --width 0.1 -o", "compile net.onnx --batch 8 -o", "assign net.onnx --batch 8 -o"] {
        folder.succeed(&format!("{command} {null}"));
        folder.refused(&format!("{command} {full}"), &["cannot write", "full: No space left on device"]);
    }
    folder.refused(&format!("{TRAIN} --save {full}"), &["cannot write", "full: No space left on device"]);
    // Where one output fails the others are written.
    let run = folder.run(&format!("{TRAIN} --metrics m --save {full} --json r --html h"));
    assert!(run.code == Some(2) && run.stderr.contains("No space left on device"), "{}", run.stderr);
    assert_eq!((folder.json("r")["steps"].as_u64(), folder.read("m").is_empty()), (Some(2), false));
    assert!(folder.read("h").starts_with(b"<!doctype html>") || folder.read("h").starts_with(b"<!DOCTYPE html>"));
    if made == 0 {
        assert!(kind(&folder, "null").is_char_device() && kind(&folder, "full").is_char_device());
        folder.refused(&format!("{LONG} --save disk"), &["cannot write disk: it is a disk"]);
        assert!(kind(&folder, "disk").is_block_device());
    }
}

#[test]
fn pipes_and_descriptors_are_written_into() {
    let folder = Folder::new();
    folder.succeed(&format!("{TRAIN} --save right.trainer"));
    let right = folder.read("right.trainer");
    let run = format!("$B {TRAIN} --save");
    for (script, file) in [
        (format!("mkfifo pipe; cat pipe > a & {run} pipe && wait"), "a"),
        (format!("{run} /dev/stdout > b"), "b"),
        (format!("{run} - > c"), "c"),
        (format!("exec 7> d; {run} /proc/self/fd/7"), "d"),
        (format!("{run} >(cat > e.part && mv e.part e) && while [ ! -e e ]; do sleep 0.1; done"), "e"),
        (format!("{run} /dev/fd/1 | cat > f"), "f"),
    ] {
        let (code, text) = shell(&folder, &script);
        assert_eq!(code, 0, "{script}: {text}");
        assert!(folder.read(file) == right, "{script}");
    }
    assert!(kind(&folder, "pipe").is_fifo());
    assert!(!folder.files().contains(&"-".to_string()));
    // Whoever reads a pipe and goes away before the end has not got the network.
    let (code, text) = shell(&folder, &format!("head -c 10 pipe > part & {run} pipe"));
    assert!(code == 2 && text.contains("cannot write pipe: Broken pipe"), "{text}");
    // What is on standard output has no text behind it.
    let (code, text) = shell(&folder, "$B zoo squeezenet --width 0.1 -o - > net && $B inspect net > /dev/null");
    assert_eq!((code, text.as_str()), (0, ""));
    let (_, plan) = shell(&folder, "$B assign net.onnx --batch 8 -o /dev/stdout");
    assert!(plan.starts_with('#') && plan.contains("[tensors]") && !plan.contains("share"), "{plan}");
}

#[test]
fn permissions_are_kept_and_read_only_files_stay() {
    let folder = Folder::new();
    let mode = |name: &str| symlink_metadata(folder.path(name)).unwrap().permissions().mode() & 0o7777;
    for bits in [0o600, 0o640, 0o664, 0o755] {
        folder.write("old.json", b"old");
        set_permissions(folder.path("old.json"), Permissions::from_mode(bits)).unwrap();
        folder.succeed("assign net.onnx --batch 8 --json old.json --quiet");
        assert_eq!(mode("old.json"), bits);
        assert_eq!(folder.json("old.json")["batch"], 8);
    }
    let (_, new) = shell(&folder, "umask 027; $B assign net.onnx --batch 8 --json new.json --quiet");
    assert_eq!((mode("new.json"), new.as_str()), (0o640, ""));
    // The administrator is refused too.
    folder.write("kept", b"precious");
    set_permissions(folder.path("kept"), Permissions::from_mode(0o444)).unwrap();
    for option in ["--save", "--json", "--metrics", "--html"] {
        folder.refused(&format!("{LONG} {option} kept"), &["cannot write kept: it is read-only", "chmod u+w"]);
    }
    assert_eq!((folder.read("kept").as_slice(), mode("kept")), (b"precious".as_slice(), 0o444));
}

#[test]
fn two_outputs_are_two_files() {
    let folder = Folder::new();
    folder.write("a", b"old");
    std::fs::hard_link(folder.path("a"), folder.path("hard")).unwrap();
    symlink("a", folder.path("link")).unwrap();
    symlink("missing", folder.path("dangling")).unwrap();
    std::fs::create_dir(folder.path("dir")).unwrap();
    symlink(".", folder.path("here")).unwrap();
    let full = folder.path("a").canonicalize().unwrap();
    for (one, other) in [
        ("a", "a"),
        ("new", "new"),
        ("a", "./a"),
        ("new", "dir/../new"),
        ("new", "here/new"),
        ("a", full.to_str().unwrap()),
        ("a", "hard"),
        ("a", "link"),
        ("link", "hard"),
        ("dangling", "missing"),
        ("-", "-"),
        ("-", "/dev/stdout"),
    ] {
        let words = [format!("--save {one} and --json {other} are one file")];
        folder.refused(&format!("{LONG} --save {one} --json {other}"), &[&words[0]]);
    }
    folder.refused("compile net.onnx -o x --annotated-onnx x", &["-o x and --annotated-onnx x are one file"]);
    folder.refused("assign net.onnx -o - --json -", &["-o - and --json - are one file"]);
    folder.refused("compare net.onnx --json x --csv x", &["are one file"]);
    let (code, text) = shell(&folder, &format!("$B {LONG} --save out > out"));
    assert!(code == 2 && text.contains("--save out is the file that standard output goes to"), "{text}");
    assert_eq!(folder.read("a"), b"old");
}

#[test]
fn inputs_are_no_outputs() {
    let folder = Folder::new();
    folder.succeed("assign net.onnx --batch 32 -o plan.toml --quiet");
    folder.succeed("profile net.onnx --data digits --batch 4 --batches 1 -o p.json --quiet");
    folder.succeed(&format!("{TRAIN} --metrics m --json r --save t.trainer"));
    std::fs::hard_link(folder.path("net.onnx"), folder.path("same.onnx")).unwrap();
    std::fs::create_dir(folder.path("data")).unwrap();
    folder.write("data/x.npz", b"numbers");
    let commands = [
        (format!("{LONG} --save net.onnx"), "net.onnx", "the model"),
        (format!("{LONG} --json ./same.onnx"), "same.onnx", "the model"),
        ("train t.trainer --data digits --save t.trainer".to_string(), "t.trainer", "the model"),
        (format!("{LONG} --assignment plan.toml --metrics plan.toml"), "plan.toml", "the assignment"),
        (format!("{LONG} --budget 80% --profile p.json --json p.json"), "p.json", "the profile"),
        ("train net.onnx --data npz:data/x.npz --save data/x.npz".to_string(), "data/x.npz", "the data"),
        ("compile net.onnx -o net.onnx".to_string(), "net.onnx", "the model"),
        ("profile net.onnx --data digits -o net.onnx".to_string(), "net.onnx", "the model"),
        ("report net.onnx --metrics m --html m".to_string(), "m", "the metrics file"),
        ("report net.onnx --record r --html r".to_string(), "r", "the record"),
        ("compare net.onnx --html net.onnx".to_string(), "net.onnx", "the model"),
    ];
    for (command, file, what) in commands {
        let before = folder.read(file);
        folder.refused(&command, &["cannot write", &format!("it is {what} that this command reads")]);
        assert!(folder.read(file) == before, "{command}");
    }
    // The weights of a network lie beside it.
    let mut model = ModelProto::parse_from_bytes(&crate::folder::network()).unwrap();
    let graph = model.graph.mut_or_insert_default();
    let tensor = &mut graph.initializer[0];
    folder.write("beside.data", &std::mem::take(&mut tensor.raw_data));
    tensor.data_location = DataLocation::EXTERNAL.into();
    let (key, value) = ("location".into(), "beside.data".into());
    tensor.external_data.push(StringStringEntryProto { key, value, ..StringStringEntryProto::default() });
    folder.write("beside.onnx", &model.write_to_bytes().unwrap());
    folder.succeed("inspect beside.onnx");
    folder.refused("train beside.onnx --data digits --save beside.data", &["it is the model that this command reads"]);
    // An assignment is solved again in place.
    folder.succeed("assign net.onnx --from plan.toml --low-ratio 0.9 -o plan.toml --quiet");
}

#[test]
fn nothing_is_left_behind_where_writing_fails() {
    let folder = Folder::new();
    let before = folder.files();
    // 8 blocks of 1 KiB: less than a network, a page, or a page of the manual has.
    for command in [
        "zoo squeezenet --width 0.1 -o out",
        "compile net.onnx --batch 8 -o out",
        "assign net.onnx --batch 8 -o out.toml",
        "report net.onnx --batch 8 --html out",
        &format!("{LONG} --save out"),
        &format!("{LONG} --save out.onnx"),
        &format!("{LONG} --save out.safetensors"),
    ] {
        let (code, text) = shell(&folder, &format!("ulimit -f 8; exec $B {command}"));
        assert!(code == 2 && text.contains("error: cannot write out"), "{command}: {text}");
        assert!(text.contains("files may have 8192 here; see `ulimit -f`"), "{command}: {text}");
        assert_eq!(folder.files(), before, "{command}");
    }
    let (code, text) = shell(&folder, "ulimit -f 1; exec $B man -o out/man");
    assert!(code == 2 && text.contains("error: cannot write out/man/bitbudget-"), "{text}");
    assert_eq!(folder.files(), before);
    folder.write("out", b"old");
    shell(&folder, &format!("ulimit -f 8; exec $B {LONG} --save out"));
    assert_eq!(folder.read("out"), b"old");
}

#[test]
fn a_run_goes_on_without_what_it_cannot_record() {
    let folder = Folder::new();
    // 2 KiB hold some records of a metrics file and of events; the network would be too large, so it goes to a pipe.
    let run = format!("{TRAIN} --metrics m --tensorboard events --save pipe").replace("--steps 2", "--steps 30");
    let (code, text) =
        shell(&folder, &format!("mkfifo pipe; cat pipe > net2 & (ulimit -f 2; exec $B {run}); s=$?; wait; exit $s"));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("warning: cannot write m: it would have"), "{text}");
    assert!(text.contains("the run goes on without it") && text.contains("error: m is not complete"), "{text}");
    // Whole records only, and the network is there.
    let lines = String::from_utf8(folder.read("m")).unwrap();
    assert!(lines.len() <= 2048 && lines.ends_with('\n'));
    assert!(lines.lines().count() > 4 && lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    folder.succeed("eval net2 --data digits");
    // A file that gets no record at all is not there, nor the folder that was made for it.
    let (code, text) = shell(&folder, &format!("ulimit -f 0; exec $B {TRAIN} --metrics none"));
    assert!(code == 2 && text.contains("none is not complete"), "{text}");
    let (code, text) = shell(&folder, &format!("ulimit -f 0; exec $B {TRAIN} --tensorboard a/b"));
    assert!(code == 2 && text.contains("cannot write a/b/events"), "{text}");
    assert_eq!(folder.files(), ["events", "m", "net.onnx", "net2", "pipe"]);
}

#[test]
fn a_metrics_file_has_one_writer() {
    let folder = Folder::new();
    let mut first = Command::new(env!("CARGO_BIN_EXE_bitbudget"));
    let arguments = format!("{LONG} --metrics m");
    let mut first = first.current_dir(folder.path(".")).args(arguments.split_whitespace()).spawn().unwrap();
    let lines = || std::fs::read(folder.path("m")).map_or(0, |bytes| bytes.iter().filter(|&&b| b == b'\n').count());
    while lines() < 3 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    symlink("m", folder.path("link")).unwrap();
    let process = format!("(process {})", first.id());
    for output in ["--metrics m", "--metrics link", "--json m", "--save m"] {
        let words = ["cannot write", "another run", process.as_str(), "wait until that ends, or name another file"];
        folder.refused(&format!("{TRAIN} {output}"), &words);
    }
    // A run that dies leaves its records, whole, and nothing that keeps others away.
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(lines() >= 3 && folder.read("m").ends_with(b"\n"));
    folder.succeed(&format!("{TRAIN} --metrics m"));
    assert_eq!(lines(), 4);
}

#[test]
fn what_cannot_be_saved_is_not_trained() {
    let folder = Folder::new();
    folder.write("file", b"");
    let long_name = "n".repeat(300);
    for (output, words) in [
        (format!("--save {long_name}"), ["cannot write", "File name too long"]),
        ("--save file/x".into(), ["cannot write file/x", "file is a file, not a folder"]),
        ("--save new/".into(), ["cannot write new/", "Is a directory"]),
        ("--tensorboard file".into(), ["cannot create the folder file", "file is a file"]),
        ("--tensorboard file/x".into(), ["cannot create the folder file/x", "file is a file"]),
        ("--save /proc/self/fd/77".into(), ["cannot write /proc/self/fd/77", "No such file"]),
    ] {
        folder.refused(&format!("{LONG} {output}"), &words);
    }
    // An ending that says nothing gives a trainer file, which is said; case does not matter.
    let said = folder.succeed("train net.onnx --data digits --steps 1 --save net.pt").stderr;
    assert!(said.contains("note: net.pt will be a trainer file") && said.contains(".onnx or .safetensors"), "{said}");
    let said = folder.succeed("train net.onnx --data digits --steps 1 --save NET.ONNX").stderr;
    assert!(!said.contains("trainer file"), "{said}");
    assert!(bitbudget::onnx::import(&folder.path("NET.ONNX")).is_ok());
}
