//! Every error that a program can provoke tells its kind, its place, what to do, and what it comes from.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget::ErrorKind::{self, Budget as NoFit, Corrupt, Invalid, Mismatch, NotFound, OutOfMemory, Unsupported};
use bitbudget::ir::Op;
use bitbudget::{
    Array, Available, Budget, CompileError, Compiled, Error, Executor, FileKind, Graph, ImportError, Inputs, Limit,
    Measured, MemoryError, Method, Model, Options, Pin, Plan, PlanError, Precision, ProbeError, ProfileError,
    ProfileSettings, Rules, SaveAs, Session, Target, TrainerError, compile, compile_as, rule, zoo,
};
use bitbudget_testkit::{NETWORK, numbers};
use std::error::Error as _;
use std::path::Path;

const BATCH: usize = 4;

fn model_of(text: &str) -> Model {
    let graph: Graph = text.parse().unwrap();
    let value = |id| match graph.op(id) {
        Op::Parameter(op) => Some((op.name.clone(), numbers(graph.ty(id).shape.elements(1), op.name.len()))),
        _ => None,
    };
    let values = graph.ids().filter_map(value).collect();
    Model { graph, values }
}

fn model() -> Model {
    model_of(NETWORK)
}

fn options() -> Options {
    Options { batch: BATCH, method: Method::Fp32, threads: 1, ..Options::default() }
}

fn refused(options: Options) -> Error {
    Session::compile(model(), &options).unwrap_err()
}

fn pinned(pins: &[(&str, &str)]) -> Error {
    let pin = |&(pattern, formats): &(&str, &str)| Pin { pattern: pattern.into(), formats: formats.parse().ok() };
    refused(Options { pins: pins.iter().map(pin).collect(), ..options() })
}

/// Options with a budget for a method.
fn within(method: Method, limit: Limit) -> Options {
    let budget = Budget { seconds: 1.0, ..Budget::new(limit, 1) };
    Options { method, budget: Some(budget), ..options() }
}

/// What an error is expected to tell: its kind, its place, words of its reason and of what to do, and the type it comes from.
struct Expected {
    kind: ErrorKind,
    place: Option<&'static str>,
    reason: &'static str,
    help: Option<&'static str>,
    source: fn(&(dyn std::error::Error + 'static)) -> bool,
}

fn is<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<E>()
}

/// Checks that errors are as expected, and that their messages hold reason and help once.
fn check<const N: usize>(cases: [(Error, Expected); N]) {
    for (error, expected) in cases {
        let Expected { kind, place, reason, help, source } = expected;
        let message = error.to_string();
        assert_eq!((error.kind(), error.place()), (kind, place), "{message}");
        assert!(error.reason().contains(reason), "{reason}: {message}");
        assert_eq!(error.help().is_some(), help.is_some(), "{:?}: {message}", error.help());
        if let (Some(words), Some(help)) = (help, error.help()) {
            assert!(help.contains(words), "{words}: {help}");
            assert_eq!(message.matches(help).count(), 1, "{message}");
        }
        assert!(error.source().is_some_and(source), "{message}");
        assert_eq!(error.source().and_then(ErrorKind::of), Some(kind), "{message}");
    }
}

/// The usual expectation of an error that comes from compilation.
fn compiling(
    kind: ErrorKind,
    place: &'static str,
    reason: &'static str,
    help: impl Into<Option<&'static str>>,
) -> Expected {
    Expected { kind, place: Some(place), reason, help: help.into(), source: is::<CompileError> }
}

#[test]
fn networks_and_options() {
    let mean = "%20 = reduce_mean(%19) {axes=[1]} : f32[N] output \"mean\"\n  return \"scores\" = %20";
    let open = NETWORK.replace("return \"scores\" = %19", mean);
    let graph = Session::compile(model_of(&open), &options()).unwrap_err();
    let spec = |width, classes| zoo::Spec {
        network: zoo::Network::ResNet18,
        width,
        classes,
        input: [3, 8, 8],
        seed: 0,
        ..zoo::Spec::default()
    };
    let width = zoo::build(&spec(0.3, 0)).map_err(Error::from).unwrap_err();
    let of_zoo = |place, reason, help| Expected {
        kind: Invalid,
        place: Some(place),
        reason,
        help: Some(help),
        source: is::<zoo::Error>,
    };
    check([
        (graph, compiling(Unsupported, "loss `mean`", "[N, classes]", None)),
        (width, of_zoo("resnet-18, width", "there is no width 0.3", "choose 1.0, 0.5")),
        (
            pinned(&[("conf", "bf16")]),
            compiling(Invalid, "`conf`", "matches no operator type and no tensor", "do you mean `conv"),
        ),
        (
            pinned(&[("con*", "bf16"), ("*nv", "fp16")]),
            compiling(Invalid, "`con*` and `*nv`", "both match `w`, for bf16 and fp16", "pin `w` itself"),
        ),
        (pinned(&[("x", "1-4-3")]), compiling(Invalid, "`x`", "to 1-4-3, but it can only be fp32", "pin it to that")),
        (
            refused(Options { method: Method::Demote, low_ratio: 1.5, ..options() }),
            compiling(Invalid, "the low ratio", "the low ratio is 1.5", "choose a number from 0"),
        ),
        (refused(Options { batch: 0, ..options() }), compiling(Invalid, "the batch size", "is 0", "at least 1")),
        (
            refused(Options { method: Method::Ilp, ..options() }),
            compiling(Invalid, "method ilp", "for a memory budget", "give one"),
        ),
        (
            refused(Options { batch: usize::MAX, ..options() }),
            compiling(Unsupported, "input `x`", "too large at batch", "use a smaller batch"),
        ),
    ]);
}

#[test]
fn budgets() {
    let tiny = refused(within(Method::Ilp, Limit::Bytes(1 << 10)));
    let place = tiny.place().unwrap().to_string();
    assert!(["conv", "add", "relu", "gradient"].iter().any(|words| place.contains(words)), "{place}");
    // The smallest budget that it names is enough.
    let help = tiny.help().unwrap();
    let (_, rest) = help.split_once("give ").unwrap();
    let smallest: Limit = rest.split_once(" or more").unwrap().0.replace(',', "").parse().unwrap();
    assert!(Session::compile(model(), &within(Method::Ilp, smallest)).is_ok(), "{tiny}");
    assert_eq!((tiny.kind(), tiny.source().is_some_and(is::<CompileError>)), (NoFit, true));

    let fits = compile(model(), &within(Method::Ilp, Limit::Share(1.0))).unwrap();
    let bytes = fits.solved.as_ref().unwrap().fp32;
    let plan = Plan::new(&fits, &within(Method::Ilp, Limit::Bytes(bytes - 1)));
    let exceeded = compile_as(model(), &plan.options(1), &plan).map_err(Error::from).unwrap_err();
    let mut threads = fits.clone();
    let threads = Error::from(threads.lower_for(bitbudget::Machine::Cpu, 64).unwrap_err());
    let large = |bytes| refused(within(Method::Fp32, Limit::Bytes(bytes)));
    check([
        (large(bytes - 1), compiling(NoFit, "method fp32", "method fp32 takes", "use method ilp, or a larger budget")),
        (large(1 << 10), compiling(NoFit, "method fp32", "more than the budget of 1,024 B", "give a larger budget")),
        (exceeded, compiling(NoFit, "the assignment", "the assignment takes", "narrower formats")),
        (threads, compiling(NoFit, "64 threads", "with 64 threads a training step takes", "run with `--threads")),
    ]);
}

#[test]
fn profiles() {
    let mut session = Session::compile(model(), &options()).unwrap();
    let settings = |learning_rate, batches| ProfileSettings {
        loss: "cross-entropy".into(),
        data: "numbers".into(),
        seed: 0,
        batch: BATCH,
        batches,
        learning_rate,
        loss_scale: 1.0,
        formats: vec!["fp32".parse().unwrap()],
    };
    let mut measure = |rate, factor: f32, count| {
        let profiler = session.profiler(BATCH).unwrap();
        profiler.measure(settings(rate, count), &vec![batch(factor); count], &mut || ()).map_err(Error::from)
    };
    let of_profile = |kind, place, reason, help| Expected { kind, place, reason, help, source: is::<ProfileError> };
    let (infinite, none) = (measure(0.1, f32::MAX, 1).unwrap_err(), measure(0.1, 1.0, 0).unwrap_err());
    let profile = measure(0.1, 1.0, 1).unwrap();
    let within_measured = |model: Model, limit| {
        let mut options = within(Method::Ilp, limit);
        options.budget.as_mut().unwrap().measured = Some(Measured { name: "p".into(), profile: profile.clone() });
        Session::compile(model, &options).unwrap_err()
    };
    let other = model_of(&NETWORK.replace("\"fc\"", "\"other\""));
    let place = infinite.place().map(|place| place.to_string().leak() as &str);
    assert!(place.is_some_and(|place| place.contains('`')), "{infinite}");
    let damaged = bitbudget::Profile::read(b"no").map_err(Error::from).unwrap_err();
    check([
        (infinite, of_profile(ErrorKind::NotFinite, place, "not finite in FP32", Some("scale the data down"))),
        (none, of_profile(Invalid, None, "batch", None)),
        (damaged, of_profile(Corrupt, Some("the profile"), "not a profile", Some("make one with"))),
        (
            within_measured(other, Limit::Share(0.9)),
            compiling(Mismatch, "the profile", "of another network", "make one of this network"),
        ),
        (
            within_measured(model(), Limit::Share(0.9)),
            compiling(Mismatch, "the profile", "what rounding to ", "measure again"),
        ),
    ]);
}

#[test]
fn plans() {
    let plan = Plan::new(&compile(model(), &options()).unwrap(), &options());
    let text = plan.write(FileKind::Toml).unwrap();
    let read = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        Plan::read(&text.replacen(from, to, 1), FileKind::Toml).map_err(Error::from)
    };
    let used = |from: &str, to: &str| {
        let plan = read(from, to).unwrap();
        compile_as(model(), &plan.options(1), &plan).map_err(Error::from).unwrap_err()
    };
    let reading = |place, reason, help| Expected { kind: Invalid, place, reason, help, source: is::<PlanError> };
    let kind = FileKind::of(Path::new("plan.txt")).map_err(Error::from).unwrap_err();
    check([
        (kind, reading(Some("plan.txt"), "assignments are TOML or JSON", Some("name the file .toml or .json"))),
        (
            read("batch = 4\n", "").unwrap_err(),
            reading(Some("`batch`"), "`batch` is missing", Some("write the examples")),
        ),
        (read("batch = 4", "batch = [").unwrap_err(), reading(None, "not an assignment", None)),
        (
            read("version = 1", "version = 2").unwrap_err(),
            reading(Some("`version`"), "2 is not 1", Some("make it again")),
        ),
        (
            read("momentum = 0.9", "momentum = 2").unwrap_err(),
            reading(Some("`optimizer.momentum`"), "is 2.0", Some("from 0 to below 1")),
        ),
        (
            used("\nconv = {", "\nconf = {"),
            compiling(Mismatch, "tensor `conv`", "is missing under [tensors]", "add a line with its formats"),
        ),
        (
            used("recompute = []", "recompute = [\"conf\"]"),
            compiling(Mismatch, "`recompute`", "not a result of the forward pass", "correct the name"),
        ),
    ]);
}

/// The bytes of a trainer file with a text replaced, under a checksum that is right again.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut message = bytes[..bytes.len() - 4].to_vec();
    let at = message.windows(from.len()).rposition(|window| window == from.as_bytes()).unwrap();
    message[at..at + to.len()].copy_from_slice(to.as_bytes());
    let checksum = crc32fast::hash(&message);
    [message, checksum.to_le_bytes().to_vec()].concat()
}

#[test]
fn trainer_files() {
    let bytes = Session::compile(model(), &options()).unwrap().save(SaveAs::Trainer).unwrap();
    let load = |bytes: &[u8]| Session::load(bytes).unwrap_err();
    let edited = |from, to| load(&replaced(&bytes, from, to));
    let damaged = {
        let mut bytes = bytes.clone();
        bytes[100] ^= 1;
        load(&bytes)
    };
    let budget = {
        let compiled = compile(model(), &within(Method::Ilp, Limit::Bytes(900_000))).unwrap();
        load(&replaced(&compiled.encode(), "\"900000B\"", "\"000009B\""))
    };
    let of_file = |kind, place, reason| Expected {
        kind,
        place,
        reason,
        help: Some("compile the network again"),
        source: is::<TrainerError>,
    };
    check([
        (load(b"no trainer"), of_file(Corrupt, None, "does not begin as a trainer file does")),
        (load(b"\x0a\x13bitbud"), of_file(Corrupt, Some("magic"), "it ends after 8 bytes")),
        (damaged, of_file(Corrupt, Some("checksum"), "its checksum is wrong")),
        (edited("bitbudget trainer 8", "bitbudget trainer 7"), of_file(Mismatch, Some("magic"), "bitbudget trainer 7")),
        (edited("\"simulated\"", "\"simulates\""), of_file(Mismatch, Some("`simulates`"), "unknown field `simulates`")),
        (edited("\"demoted\":[]", "\"demoted\":9 "), of_file(Mismatch, None, "its assignment has invalid type")),
        (edited("\"refused\":[]", "\"refused\":[ "), of_file(Mismatch, None, "its assignment has")),
        (edited("\"conv\":{", "\"conf\":{"), of_file(Mismatch, Some("tensor `conv`"), "is missing under [tensors]")),
        (edited("parameter {name=\"side\"}", "parameter {nome=\"side\"}"), of_file(Corrupt, Some("training"), "graph")),
        (budget, of_file(NoFit, Some("the budget"), "more than its budget of 9 B")),
    ]);
}

fn batch(factor: f32) -> bitbudget::Batch {
    use bitbudget::batches::{Array, Numbers};
    let x = numbers(BATCH * 32, 1).into_iter().map(|x| x * factor).collect();
    let x = Array { shape: vec![BATCH, 2, 4, 4], numbers: Numbers::F32(x) };
    let labels = Array { shape: vec![BATCH], numbers: Numbers::Integers(vec![0, 1, 2, 4]) };
    bitbudget::Batch::new([("x".to_string(), x), ("labels".to_string(), labels)], "labels").unwrap()
}

#[test]
fn steps_and_files() {
    let mut session = Session::compile(model(), &options()).unwrap();
    let x = numbers(BATCH * 32, 1);
    let unlabelled = Inputs::new([("x", Array::f32(&[BATCH, 2, 4, 4], &x))]);
    let step = session.step(&unlabelled).unwrap_err();
    let probed = Error::from(session.cause_in_step(&unlabelled).unwrap_err());
    let empty = session.evaluate(&mut std::iter::empty(), Precision::Fp32).unwrap_err();
    let own = Options { rewrite: Some(Rules::With(&[rule!("none": |g| Exp(_)[y]; y: Log(_)[_x]; => y)])), ..options() };
    let own = Session::compile(model(), &own).unwrap().save(SaveAs::Trainer).unwrap_err();
    let onnx = session.save(SaveAs::Onnx).unwrap();
    let imported = |from: &[u8], to: &[u8]| {
        let at = onnx.windows(from.len()).position(|window| window == from).unwrap();
        let edited = [&onnx[..at], to, &onnx[at + to.len()..]].concat();
        Session::from_onnx_bytes(&edited, &options()).unwrap_err()
    };
    let attribute = imported(b"dilations", b"dilatioms");
    let node = attribute.place().unwrap_or_default();
    assert!(node.starts_with("node `conv` (Conv version "), "{node}: {attribute}");
    let absent = Session::from_onnx("nowhere/net.onnx", &options()).unwrap_err();
    let memory = Available::now().check("the search", usize::MAX, 0, "search less").map_err(Error::from).unwrap_err();
    let told = |kind, place, reason, help, source| Expected { kind, place, reason, help, source };
    let inputs = Some("the inputs of the step");
    assert_eq!((own.kind(), own.place()), (Unsupported, Some("the rewriting rules")));
    assert!(own.help().is_some_and(|help| help.contains("save the network as ONNX")), "{own}");
    check([
        (step, told(Mismatch, inputs, "labels", None, is::<bitbudget::ExecError>)),
        (probed, told(Mismatch, inputs, "labels", None, is::<ProbeError>)),
        (empty, told(Mismatch, None, "no examples", None, is::<bitbudget_train::Error>)),
        (imported(b"Relu", b"Relo"), told(Unsupported, None, "operator Relo", None, is::<ImportError>)),
        (absent, told(NotFound, None, "nowhere/net.onnx", None, is::<ImportError>)),
        (memory, told(OutOfMemory, Some("the search"), "takes up to", Some("search less"), is::<MemoryError>)),
    ]);
    let executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut compiled: Compiled = compile(model(), &options()).unwrap();
    compiled.train.arena = usize::MAX / 2;
    let full = Session::on(executor, compiled).step(&batch(1.0).inputs()).unwrap_err();
    assert_eq!((full.kind(), full.help().is_some()), (OutOfMemory, true), "{full}");
}
