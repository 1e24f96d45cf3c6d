//! `bitbudget bench`.

use crate::args::BenchArgs;
use crate::budget::{self, SolverRecord};
use crate::data::Examples;
use crate::files::check;
use crate::memory::{MemoryRecord, Resident};
use crate::model::{Request, compiled};
use crate::output::{counted, json, number, remark, say, show_table, table};
use crate::progress::steps_bar;
use crate::report;
use crate::threads::{executor, settle_on, threads};
use anyhow::Result;
use bitbudget::{
    Ceilings, Compiled, Format, Inputs, InstructionWork, Machine, Program, Session, StepResult, Storage, ceilings,
    instruction_work, updates,
};
use bitbudget_train::batches::{Batch, TrainOptions};
use bitbudget_train::data::DataSpec;
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
    /// The kernel that computes it, with the way that this machine takes where there is a choice.
    kernel: String,
    count: usize,
    seconds: f64,
    share: f64,
    gflops: f64,
    gbytes_per_second: f64,
    /// The larger of the shares of the machine's arithmetic and of its copies that this is; above 1 where tensors stay in caches, which
    /// are faster than the copies.
    of_ceiling: f64,
}

/// The number of examples where none is given and the batch has no more.
const EXAMPLES: usize = 1024;

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let mut spec = args.data.clone().unwrap_or(DataSpec::Synthetic(EXAMPLES));
    let inputs = report::Inputs { data: Some(&spec), ..report::Inputs::new(&args.model, &args.assignment) };
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let storage = if args.simulated { Storage::Simulated } else { Storage::Packed };
    let (assignment, optimizer) = (&args.assignment, &args.optimizer);
    let (updates, threads) = (updates(args.loss_scale), threads(args.device.threads));
    let data = Some(&spec);
    let (seed, quiet, machine) = (Some(args.seed), args.quiet, args.device.machine());
    let request = Request { data, seed, quiet, storage, updates, threads, machine, ..Request::default() };
    let mut compiled = compiled(&args.model, assignment, optimizer, request)?;
    let threads = settle_on(&args.device, &mut compiled, args.quiet)?;
    let batch = compiled.assignment.batch;
    compiled.check_training(batch)?;
    if args.data.is_none() {
        spec = DataSpec::Synthetic(EXAMPLES.max(batch));
    }
    let examples = Examples::load(&spec, args.fitting, &compiled.interface()?, args.seed)?;
    let resident = Resident::start();
    let mut session = Session::on(executor(&args.device, threads)?, compiled);
    let measured = measure(args, &mut session, &examples)?;
    let memory = MemoryRecord::predicted(session.compiled(), session.threads()).measured(&session, resident.growth());
    let compiled = session.end()?;
    let ceilings = ceilings(threads)?;
    let record = record(args, &compiled, threads, measured, memory, ceilings);
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
    /// The kernel of each instruction.
    kernels: Vec<Option<String>>,
    losses: Vec<f32>,
}

fn measure(args: &BenchArgs, session: &mut Session, examples: &Examples) -> Result<Measured> {
    let (batch_size, instructions) = (session.compiled().train.batch, session.compiled().train.instructions.len());
    let options = TrainOptions { batch: batch_size, seed: args.seed, shuffle: false, augment: false };
    let mut times = vec![Duration::ZERO; instructions];
    let mut scaler = LossScaler::new(args.loss_scale, u64::MAX);
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    let mut batch = Batch::default();
    let mut epoch = 0;
    let epochs = examples.epochs(options)?;
    let mut batches = epochs.epoch(epoch)?;
    let each = args.steps.saturating_add(1);
    // On a device instructions are timed by waiting for each, which whole steps do not do: they are timed by themselves.
    let is_apart = session.compiled().lowering.machine == Machine::Cuda;
    let all = if is_apart { each.saturating_mul(2) } else { each };
    let bar = if args.quiet { ProgressBar::hidden() } else { steps_bar(all as u64) };
    for step in 0..all {
        bar.inc(1);
        while !batches.next_into(&mut batch)? {
            epoch += 1;
            batches = epochs.epoch(epoch)?;
        }
        let inputs = Inputs { loss_scale: scaler.scale(), learning_rate: args.lr, ..batch.inputs() };
        let start = Instant::now();
        let StepResult { loss, updated, .. } = match is_apart && step < each {
            true => session.step(&inputs)?,
            false => session.step_timed(&inputs, &mut times)?,
        };
        if step < each {
            seconds.push(start.elapsed().as_secs_f64());
            losses.push(loss);
        }
        scaler.update(updated);
        if step == 0 {
            // The first step touches memory for the first time.
            seconds.clear();
        }
        if step % each == 0 {
            times.fill(Duration::ZERO);
        }
    }
    bar.finish_and_clear();
    let kernels = (0..instructions).map(|at| session.kernel(at)).collect();
    Ok(Measured { seconds, times, kernels, losses })
}

fn record(
    args: &BenchArgs,
    compiled: &Compiled,
    threads: usize,
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
        threads,
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
        instructions: kinds(&compiled.train, &measured.times, &measured.kernels, args.steps, ceilings),
    }
}

/// Times, work and traffic by what instructions compute, the slowest first.
fn kinds(
    program: &Program,
    times: &[Duration],
    kernels: &[Option<String>],
    steps: usize,
    ceilings: Ceilings,
) -> Vec<KindRecord> {
    #[derive(Default)]
    struct Kind {
        count: usize,
        seconds: f64,
        flops: f64,
        bytes: f64,
        /// Seconds that the work takes at the machine's best.
        least: f64,
    }
    let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
    for ((work, time), kernel) in instruction_work(program).into_iter().zip(times).zip(kernels) {
        let Some(InstructionWork { kind, flops, bytes, narrow }) = work else { continue };
        let kind = kinds.entry((kind, kernel.clone().unwrap_or_default())).or_default();
        kind.count += 1;
        kind.seconds += time.as_secs_f64() / steps as f64;
        let peak = if narrow { ceilings.flops_fp8 } else { ceilings.flops_fp32 };
        kind.least += (flops / peak).max(bytes / ceilings.bytes_per_second);
        kind.flops += flops;
        kind.bytes += bytes;
    }
    let total: f64 = kinds.values().map(|kind| kind.seconds).sum();
    let mut records: Vec<KindRecord> = kinds
        .into_iter()
        .map(|((name, kernel), kind)| KindRecord {
            kind: name,
            kernel,
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
        "step: median {:.4} s, min {:.4} s, spread {:.4} s over {}; {:.1} examples/s",
        step_seconds.median,
        step_seconds.min,
        step_seconds.spread,
        counted(record.steps as u64, "step", "steps"),
        record.images_per_second
    ))?;
    say(record.memory.line())?;
    let machine = match record.memory.target {
        Machine::Cuda => "the CPU, whose peak the table compares with",
        Machine::Cpu => "this machine",
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
    let mut table = table(&["instruction", "kernel", "count", "ms a step", "share", "GFLOP/s", "GB/s", "of peak"], 1);
    for kind in kinds.iter().filter(|kind| kind.share >= 0.001) {
        table.add_row([
            // Long names have places to break.
            kind.kind.replace('+', " + "),
            kind.kernel.clone(),
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
