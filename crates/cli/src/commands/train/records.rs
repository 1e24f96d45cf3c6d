//! The records of a run: files that grow while it runs, and files that are written at its end.

use crate::args::TrainArgs;
use crate::budget::{SolverRecord, record as solver_record};
use crate::files::{Folder, Growing};
use crate::memory::MemoryRecord;
use crate::output::json;
use crate::report::{Inputs, MeasuredMemory, Run, rerun, save_page};
use anyhow::Result;
use bitbudget::Compiled;
use bitbudget_report::Rerun;
use bitbudget_train::metrics::{FinalRecord, Record};
use bitbudget_train::tensorboard::Events;
use serde::Serialize;
use std::path::Path;

/// The records of a run that are asked for.
pub(super) struct Records<'a> {
    args: &'a TrainArgs,
    metrics: Option<Growing>,
    events: Option<(Growing, Events)>,
    page: Option<(Run, Rerun)>,
    /// The share of low elements at the start.
    low_ratio: f64,
}

impl<'a> Records<'a> {
    /// Makes the files that grow, and hashes what the run reads as it is now.
    ///
    /// # Errors
    /// If a file cannot be made or read.
    pub(super) fn begin(
        args: &'a TrainArgs,
        inputs: &Inputs<'_>,
        low_ratio: f64,
        threads: usize,
    ) -> Result<Records<'a>> {
        let metrics = args.metrics.as_deref().map(Growing::create).transpose()?;
        let events = args.tensorboard.as_deref().map(|folder| event_file(folder, low_ratio)).transpose()?;
        let page = match &args.page.html {
            Some(_) => Some((Run::default(), rerun(inputs, Some(args.settings.seed), threads)?)),
            None => None,
        };
        Ok(Records { args, metrics, events, page, low_ratio })
    }

    /// Records a step or an epoch.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(super) fn see(&mut self, record: &Record) -> bitbudget_train::Result<()> {
        if let Some((file, events)) = &mut self.events {
            file.append(&events.record(record));
        }
        if let Some((run, _)) = &mut self.page {
            run.see(record);
        }
        self.metrics.as_mut().map_or(Ok(()), |metrics| append(metrics, record))
    }

    /// Ends all files, however the run ended; each is tried, and has its own result.
    pub(super) fn finish(
        self,
        compiled: &Compiled,
        threads: usize,
        record: &FinalRecord,
        memory: &MemoryRecord,
    ) -> [Result<()>; 4] {
        let Records { args, metrics, events, page, low_ratio } = self;
        let metrics = metrics.map_or(Ok(()), |mut metrics| {
            append(&mut metrics, &Record::Final(Box::new(record.clone())))?;
            metrics.finish()
        });
        let events = events.map_or(Ok(()), |(file, _)| file.finish());
        let page = page.map_or(Ok(()), |(mut run, rerun)| {
            run.end = Some(record.clone());
            let training = run.training(Some(format!("{}{}", args.data, args.fitting.fitting())), low_ratio)?;
            let mut report = bitbudget::report(compiled, threads, Some(training))?;
            MeasuredMemory::from(memory).put_all(&mut report);
            report.rerun = rerun;
            save_page(args.page.html.as_deref(), &report)
        });
        let written = args.json.as_ref().map_or(Ok(()), |path| {
            let solver = solver_record(compiled.solved.as_ref(), compiled.assignment.recomputed.len());
            json(path, &Outcome { record, memory, solver })
        });
        [metrics, events, page, written]
    }
}

/// The final record with what the run took in memory.
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    record: &'a FinalRecord,
    memory: &'a MemoryRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    solver: Option<SolverRecord>,
}

/// A new event file for TensorBoard in a folder, and what it gets.
fn event_file(folder: &Path, low_ratio: f64) -> Result<(Growing, Events)> {
    let file = Growing::create_in(Folder::make(folder)?, &Events::file_name(), &Events::head())?;
    Ok((file, Events::new(low_ratio)))
}

fn append(metrics: &mut Growing, record: &Record) -> bitbudget_train::Result<()> {
    metrics.append(record.line()?.as_bytes());
    Ok(())
}
