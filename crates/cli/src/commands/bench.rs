//! `bitbudget bench`.

use crate::args::BenchArgs;
use crate::budget::{self, SolverRecord};
use crate::data::dataset;
use crate::files::check;
use crate::memory::{MemoryRecord, Resident, check_memory};
use crate::model::{Request, check_training, compiled, network, updates};
use crate::output::{counted, json, number, remark, say, show_table, table};
use crate::progress::steps_bar;
use crate::report;
use crate::threads::{executor, settle_on, threads};
use anyhow::Result;
use bitbudget::{Compiled, Storage};
use bitbudget_exec::{Ceilings, Executor, Inputs, Values, ceilings};
use bitbudget_formats::Format;
use bitbudget_ir::{Op, Shape, TensorType};
use bitbudget_program::{BufferId, Instruction, Part, Program};
use bitbudget_train::batches::{Batch, TrainBatches, TrainOptions};
use bitbudget_train::data::Dataset;
use bitbudget_train::loss_scale::LossScaler;
use comfy_table::Table;
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The result of a bench.
#[derive(Serialize)]
struct Record {
    model: String,
    batch: usize,
    method: String,
    low_ratio: f64,
    simulated: bool,
    threads: usize,
    steps: usize,
    step_seconds: Seconds,
    images_per_second: f64,
    losses: Vec<f32>,
    memory: MemoryRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    solver: Option<SolverRecord>,
    ceilings: CeilingsRecord,
    instructions: Vec<KindRecord>,
}

/// Seconds of a step, the first one left out.
#[derive(Serialize)]
struct Seconds {
    median: f64,
    min: f64,
    max: f64,
    /// The distance between the first and the third quartile.
    spread: f64,
}

/// The machine's peak with as many threads: matrix products and a plain copy.
#[derive(Serialize)]
struct CeilingsRecord {
    gflops_fp32: f64,
    gflops_fp8: f64,
    gbytes_per_second: f64,
}

/// All instructions of one kind together, per step.
#[derive(Serialize)]
struct KindRecord {
    kind: String,
    count: usize,
    seconds: f64,
    share: f64,
    gflops: f64,
    gbytes_per_second: f64,
    /// The larger of the shares of the machine's arithmetic and of its copies that this is; above 1 where tensors stay in caches, which
    /// are faster than the copies.
    of_ceiling: f64,
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let inputs = report::Inputs { data: Some(&args.data), ..report::Inputs::new(&args.model, &args.assignment) };
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let storage = if args.simulated { Storage::Simulated } else { Storage::Packed };
    let (assignment, optimizer) = (&args.assignment, &args.optimizer);
    let (updates, threads) = (updates(args.loss_scale), threads(args.device.threads));
    let request = Request { seed: Some(args.seed), quiet: args.quiet, storage, updates, threads, ..Request::default() };
    let mut compiled = compiled(&args.model, assignment, optimizer, request)?;
    let threads = settle_on(&args.device, &mut compiled, args.quiet)?;
    check_training(&compiled, compiled.assignment.batch)?;
    let dataset = dataset(&args.data, args.fitting, &network(&compiled.training)?, args.seed)?;
    let resident = Resident::start();
    let mut executor = executor(&args.device, threads)?;
    check_memory(&executor, &[&compiled.train])?;
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device())?;
    let measured = measure(args, &compiled.train, &mut executor, &mut values, &dataset)?;
    let memory = MemoryRecord::predicted(&compiled, executor.threads());
    let memory = memory.measured(&executor, &values, resident.growth());
    drop(values);
    let ceilings = ceilings(threads)?;
    let record = record(args, &compiled, &executor, measured, memory, ceilings);
    if let Some(path) = &args.json {
        json(path, &record)?;
    }
    if !args.quiet && !outputs.on_standard_output {
        show(&record)?;
    }
    let wrong = record.losses.iter().filter(|loss| !loss.is_finite()).count() as u64;
    if wrong > 0 && !args.quiet {
        remark(
            "warning",
            format!(
                "the loss of {wrong} of {} was not finite, so times may differ from those of a training; lower --lr (it was {}), \
                 or take other formats",
                counted(record.losses.len() as u64, "step", "steps"),
                number(f64::from(args.lr))
            ),
        );
    }
    Ok(())
}

/// The seconds of the steps, the first one left out.
struct Measured {
    seconds: Vec<f64>,
    /// Per instruction, over all steps.
    times: Vec<Duration>,
    losses: Vec<f32>,
}

fn measure(
    args: &BenchArgs,
    program: &Program,
    executor: &mut Executor,
    values: &mut Values,
    dataset: &Dataset,
) -> Result<Measured> {
    let options = TrainOptions { batch: program.batch, seed: args.seed, shuffle: false, augment: false };
    let loaded = executor.load(program)?;
    let mut scaler = LossScaler::new(args.loss_scale, u64::MAX);
    let mut times = vec![Duration::ZERO; program.instructions.len()];
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    let mut batch = Batch::default();
    let mut epoch = 0;
    let mut batches = TrainBatches::new(dataset, &options, epoch)?;
    let bar = if args.quiet { ProgressBar::hidden() } else { steps_bar((args.steps as u64).saturating_add(1)) };
    for step in 0..=args.steps {
        bar.inc(1);
        while !batches.next_into(&mut batch) {
            epoch += 1;
            batches = TrainBatches::new(dataset, &options, epoch)?;
        }
        let inputs = Inputs { loss_scale: scaler.scale(), learning_rate: args.lr, ..batch.inputs() };
        let start = Instant::now();
        let result = loaded.step_timed(executor, values, &inputs, &mut times)?;
        seconds.push(start.elapsed().as_secs_f64());
        let output = |name: &str| result.outputs.get(name).and_then(|o| o.first()).copied().unwrap_or(f32::NAN);
        losses.push(output("loss"));
        let finite = result.outputs.get("finite").is_none_or(|finite| finite == &[1.0]);
        let progress = &mut values.progress;
        progress.updates = progress.updates.saturating_add(u32::from(scaler.update(finite)));
        if step == 0 {
            // The first step touches memory for the first time.
            times.fill(Duration::ZERO);
            seconds.clear();
        }
    }
    bar.finish_and_clear();
    Ok(Measured { seconds, times, losses })
}

fn record(
    args: &BenchArgs,
    compiled: &Compiled,
    executor: &Executor,
    measured: Measured,
    memory: MemoryRecord,
    ceilings: Ceilings,
) -> Record {
    let mut sorted = measured.seconds;
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    let median = at(0.5);
    Record {
        model: args.model.display().to_string(),
        batch: compiled.train.batch,
        method: compiled.assignment.method.to_string(),
        low_ratio: compiled.assignment.low_ratio_elements(),
        simulated: compiled.lowering.storage == Storage::Simulated,
        threads: executor.threads(),
        steps: args.steps,
        step_seconds: Seconds { median, min: at(0.0), max: at(1.0), spread: at(0.75) - at(0.25) },
        images_per_second: compiled.train.batch as f64 / median,
        losses: measured.losses,
        memory,
        solver: budget::record(compiled.solved.as_ref(), compiled.assignment.recomputed.len()),
        ceilings: CeilingsRecord {
            gflops_fp32: ceilings.flops_fp32 / 1e9,
            gflops_fp8: ceilings.flops_fp8 / 1e9,
            gbytes_per_second: ceilings.bytes_per_second / 1e9,
        },
        instructions: kinds(&compiled.train, &measured.times, args.steps, ceilings),
    }
}

/// Times, work and traffic by what instructions compute, the slowest first.
fn kinds(program: &Program, times: &[Duration], steps: usize, ceilings: Ceilings) -> Vec<KindRecord> {
    #[derive(Default)]
    struct Kind {
        count: usize,
        seconds: f64,
        flops: f64,
        bytes: f64,
        /// Seconds that the work takes at the machine's best.
        least: f64,
    }
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for (instruction, time) in program.instructions.iter().zip(times) {
        let Instruction::Compute { parts, .. } = instruction else { continue };
        let name = parts.iter().map(|part| kind(program, part)).collect::<Vec<_>>().join("+");
        let kind = kinds.entry(name).or_default();
        kind.count += 1;
        kind.seconds += time.as_secs_f64() / steps as f64;
        let (flops, bytes) = (parts.iter().map(|part| flops(program, part)).sum::<f64>(), traffic(program, parts));
        let peak = if is_narrow(program, parts) { ceilings.flops_fp8 } else { ceilings.flops_fp32 };
        kind.least += (flops / peak).max(bytes / ceilings.bytes_per_second);
        kind.flops += flops;
        kind.bytes += bytes;
    }
    let total: f64 = kinds.values().map(|kind| kind.seconds).sum();
    let mut records: Vec<KindRecord> = kinds
        .into_iter()
        .map(|(name, kind)| KindRecord {
            kind: name,
            count: kind.count,
            seconds: kind.seconds,
            share: kind.seconds / total,
            gflops: kind.flops / kind.seconds / 1e9,
            gbytes_per_second: kind.bytes / kind.seconds / 1e9,
            of_ceiling: kind.least / kind.seconds,
        })
        .collect();
    records.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    records
}

/// The name of a part's computation; for convolutions with the size of the kernel and whether channels are apart.
fn kind(program: &Program, part: &Part) -> String {
    let name = part.op.name();
    let shape = |id| program.buffer(id).shape.as_slice();
    let (weights, groups) = match &part.op {
        Op::Conv(op) => (part.inputs.get(1).map(|&w| shape(w)), op.groups),
        Op::ConvGradInput(op) => (part.inputs.get(1).map(|&w| shape(w)), op.groups),
        Op::ConvGradWeight(op) => (Some(shape(part.output)), op.groups),
        _ => return name.to_string(),
    };
    match weights {
        Some(&[_, 1, height, width]) if groups > 1 => format!("{name} {height}x{width} depthwise"),
        Some(&[_, _, height, width]) if groups > 1 => format!("{name} {height}x{width} grouped"),
        Some(&[_, _, height, width]) => format!("{name} {height}x{width}"),
        _ => name.to_string(),
    }
}

/// Whether a product multiplies numbers that BF16 holds.
fn is_narrow(program: &Program, parts: &[Part]) -> bool {
    let product = |op: &Op| matches!(op, Op::Conv(_) | Op::ConvGradInput(_) | Op::ConvGradWeight(_) | Op::Matmul(_));
    let narrow = |id: &BufferId| program.buffer(*id).format.exact_in_bf16();
    parts.iter().any(|part| product(&part.op) && part.inputs.iter().take(2).all(narrow))
}

fn flops(program: &Program, part: &Part) -> f64 {
    let ty = |id| {
        let buffer = program.buffer(id);
        TensorType { dtype: buffer.dtype, shape: Shape::fixed(&buffer.shape) }
    };
    let operands: Vec<TensorType> = part.inputs.iter().map(|&id| ty(id)).collect();
    part.op.work(&operands.iter().collect::<Vec<_>>(), &ty(part.output), program.batch).flops as f64
}

/// Bytes that an instruction has to read and write at least.
fn traffic(program: &Program, parts: &[Part]) -> f64 {
    let inside = |id| program.buffer(id).offset.is_none() && parts.iter().any(|part| part.output == id);
    let mut touched: Vec<_> = parts.iter().flat_map(|part| part.inputs.clone()).collect();
    touched.sort_unstable();
    touched.dedup();
    touched.extend(parts.iter().map(|part| part.output));
    touched.into_iter().filter(|&id| !inside(id)).map(|id| program.buffer(id).bytes() as f64).sum()
}

fn show(record: &Record) -> Result<()> {
    let Record { step_seconds, ceilings, .. } = record;
    say(format!(
        "{}: {} at batch {}, {:.1}% low{}, {}",
        record.model,
        record.method,
        record.batch,
        100.0 * record.low_ratio,
        if record.simulated { " (simulated in FP32)" } else { "" },
        counted(record.threads as u64, "thread", "threads")
    ))?;
    say(format!(
        "step: median {:.4} s, min {:.4} s, spread {:.4} s over {}; {:.1} images/s",
        step_seconds.median,
        step_seconds.min,
        step_seconds.spread,
        counted(record.steps as u64, "step", "steps"),
        record.images_per_second
    ))?;
    say(record.memory.line())?;
    let machine = match record.memory.on_device {
        Some(_) => "the CPU, whose peak the table compares with",
        None => "this machine",
    };
    say(format!(
        "{machine}: {:.0} GFLOP/s in FP32, {:.0} GFLOP/s on {} numbers, copies {:.1} GB/s\n",
        ceilings.gflops_fp32,
        ceilings.gflops_fp8,
        Format::PAPER_LOW_FORWARD,
        ceilings.gbytes_per_second
    ))?;
    show_table(instructions(&record.instructions))?;
    let (title, table) = record.memory.table();
    say(title)?;
    show_table(table)
}

fn instructions(kinds: &[KindRecord]) -> Table {
    let mut table = table(&["instruction", "count", "ms a step", "share", "GFLOP/s", "GB/s", "of peak"], 1);
    for kind in kinds.iter().filter(|kind| kind.share >= 0.001) {
        table.add_row([
            // Long names have places to break.
            kind.kind.replace('+', " + "),
            kind.count.to_string(),
            format!("{:.2}", 1e3 * kind.seconds),
            format!("{:.1}%", 100.0 * kind.share),
            format!("{:.1}", kind.gflops),
            format!("{:.1}", kind.gbytes_per_second),
            // Tensors that stay in caches move faster than copies through memory.
            if kind.of_ceiling > 1.0 { "in cache".to_string() } else { format!("{:.0}%", 100.0 * kind.of_ceiling) },
        ]);
    }
    table
}
