//! A session does what its parts do one by one, and its errors tell what they are.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget::ir::Op;
use bitbudget::{
    Array, Batch, Budget, Compiled, Error, ErrorKind, Executor, Graph, Inputs, Limit, Method, Model, Options,
    Precision, Rules, SaveAs, Session, Target, Values, compile, rule,
};
use bitbudget_testkit::{NETWORK, numbers};
use std::error::Error as _;

const BATCH: usize = 4;

fn model() -> Model {
    let graph: Graph = NETWORK.parse().unwrap();
    let value = |id| match graph.op(id) {
        Op::Parameter(op) => Some((op.name.clone(), numbers(graph.ty(id).shape.elements(1), op.name.len()))),
        _ => None,
    };
    let values = graph.ids().filter_map(value).collect();
    Model { graph, values }
}

fn options() -> Options {
    Options { batch: BATCH, method: Method::Fp32, threads: 1, ..Options::default() }
}

/// The inputs of a step.
fn batch(seed: usize) -> Batch {
    use bitbudget::batches::{Array, Numbers};
    let x = Array { shape: vec![BATCH, 2, 4, 4], numbers: Numbers::F32(numbers(BATCH * 32, seed)) };
    let labels = Array { shape: vec![BATCH], numbers: Numbers::Integers(vec![0, 1, 2, 4]) };
    Batch::new([("x".to_string(), x), ("labels".to_string(), labels)], "labels").unwrap()
}

#[test]
fn steps_are_those_of_an_executor_and_go_on_after_a_file() {
    let compiled: Compiled = compile(model(), &options()).unwrap();
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    let mut session = Session::compile(model(), &options()).unwrap();
    // An evaluation first: the state of the optimizer comes to the values only with a step.
    session.evaluate(&mut std::iter::once(Ok(batch(9))), Precision::Fp32).unwrap();
    for seed in 0..6 {
        if seed == 3 {
            session = Session::load(&session.save(SaveAs::Trainer).unwrap()).unwrap();
        }
        let batch = batch(seed);
        let inputs = Inputs { learning_rate: 0.05, loss_scale: 8.0, ..batch.inputs() };
        let expected = executor.run(&compiled.train, &mut values, &inputs).unwrap();
        let step = session.step(&inputs).unwrap();
        assert_eq!((step.loss, step.updated), (expected.outputs["loss"][0], true), "step {seed}");
        assert_eq!(step.outputs, expected.outputs);
    }
    let network = session.save(SaveAs::Onnx).unwrap();
    let saved = session.end().unwrap();
    assert_eq!((saved.progress.updates, &saved.values), (6, &values.download().unwrap()));
    let imported = bitbudget::onnx::import_bytes(&network, None).unwrap().model;
    assert_eq!(imported.values["w"], saved.values["w"]);
    // What it was trained to is what a new session begins with.
    let mut again = Session::on(Executor::new(Target::Cpu, 2).unwrap(), saved);
    let evaluated =
        |session: &mut Session| session.evaluate(&mut (0..3).map(|seed| Ok(batch(seed))), Precision::Assigned).unwrap();
    let mut imported = Session::compile(imported, &options()).unwrap();
    assert_eq!(evaluated(&mut again), evaluated(&mut imported));
}

#[test]
fn errors_tell_kind_place_and_source() {
    let mut session = Session::compile(model(), &options()).unwrap();
    let x = numbers(BATCH * 32, 1);
    let missing = session.step(&Inputs::new([("x", Array::f32(&[BATCH, 2, 4, 4], &x))])).unwrap_err();
    assert_eq!((missing.kind(), missing.place()), (ErrorKind::Mismatch, Some("the inputs of the step")));
    assert_eq!(missing.source().and_then(ErrorKind::of), Some(ErrorKind::Mismatch));

    let damaged = {
        let mut bytes = session.save(SaveAs::Trainer).unwrap();
        bytes[100] ^= 1;
        Session::load(&bytes).unwrap_err()
    };
    assert_eq!(damaged.kind(), ErrorKind::Corrupt);

    let absent = Session::from_onnx("nowhere/net.onnx", &options()).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound, "{absent}");
    let garbage = Session::from_onnx_bytes(b"no network", &options()).unwrap_err();
    assert_eq!(garbage.kind(), ErrorKind::Unsupported, "{garbage}");

    let budget = Some(Budget::new(Limit::Bytes(1 << 10), 1));
    let small =
        compile(model(), &Options { method: Method::Ilp, budget, ..options() }).map_err(Error::from).unwrap_err();
    assert_eq!(small.kind(), ErrorKind::Budget, "{small}");

    let own = Options { rewrite: Some(Rules::With(&[rule!("none": |g| Exp(_)[y]; y: Log(_)[_x]; => y)])), ..options() };
    let file = Session::compile(model(), &own).unwrap().save(SaveAs::Trainer).unwrap_err();
    assert_eq!(file.kind(), ErrorKind::Unsupported, "{file}");
}
