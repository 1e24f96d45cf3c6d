//! The memory of a run: as the schedule predicts it, as the executor counts it, and as the system sees it.

use crate::output::{bytes, table};
use bitbudget::{Compiled, DeviceMemory, Footprint, Peak, Session};
use comfy_table::Table;
use serde::Serialize;

/// Bytes at the peak.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemoryRecord {
    /// The prediction for the program.
    pub(crate) predicted: usize,
    /// Held by the executor after the run, on the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocated: Option<usize>,
    /// Taken on a device with memory of its own, where rounded tensors are FP32 numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_device: Option<OnDevice>,
    /// The growth of the process's resident memory, unless the run took memory again that compiling had freed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resident: Option<usize>,
    /// Held without masters and optimizer state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocated_without_masters_and_state: Option<usize>,
    /// The budget that the assignment was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budget: Option<usize>,
    pub(crate) breakdown: Breakdown,
    pub(crate) peak_at: PeakAt,
}

/// Bytes on a device.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OnDevice {
    /// The most at once, if the driver tells.
    pub(crate) peak: Option<usize>,
}

/// The predicted bytes by use.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Breakdown {
    pub(crate) masters: usize,
    pub(crate) optimizer_state: usize,
    pub(crate) packed_parameters: usize,
    pub(crate) saved_activations: usize,
    pub(crate) gradients: usize,
    pub(crate) workspace: usize,
}

/// The instruction at which most is alive.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeakAt {
    pub(crate) instruction: usize,
    pub(crate) instructions: usize,
    pub(crate) computes: String,
}

impl MemoryRecord {
    /// The prediction for a training step with so many threads.
    pub(crate) fn predicted(compiled: &Compiled, threads: usize) -> MemoryRecord {
        let footprint = Footprint::predicted(&compiled.train, threads);
        let Peak { memory, instruction, instructions, computes } = compiled.peak.clone();
        MemoryRecord {
            predicted: footprint.total(),
            allocated: None,
            on_device: None,
            resident: None,
            allocated_without_masters_and_state: None,
            budget: compiled.solved.as_ref().map(|solved| solved.budget),
            breakdown: Breakdown {
                masters: memory.masters,
                optimizer_state: memory.state,
                packed_parameters: memory.packed_parameters,
                saved_activations: memory.activations,
                gradients: memory.gradients,
                workspace: memory.workspace + footprint.scratch,
            },
            peak_at: PeakAt { instruction, instructions, computes },
        }
    }

    /// The same after a run.
    pub(crate) fn measured(self, session: &Session, resident: Option<usize>) -> MemoryRecord {
        if let Some(DeviceMemory { peak }) = session.on_device() {
            return MemoryRecord { on_device: Some(OnDevice { peak }), resident, ..self };
        }
        let allocated = session.allocated();
        MemoryRecord {
            allocated: Some(allocated.total()),
            allocated_without_masters_and_state: Some(allocated.without_kept()),
            resident: resident.filter(|&growth| is_whole(growth, allocated.total())),
            ..self
        }
    }

    /// One line: predicted, allocated and resident. On a device, a second one says which numbers do not hold there.
    pub(crate) fn line(&self) -> String {
        let shown = |n: Option<usize>| n.map_or("unknown".to_string(), |n| bytes(n as f64));
        let (predicted, resident) = (bytes(self.predicted as f64), shown(self.resident));
        let Some(OnDevice { peak }) = self.on_device else {
            let resident = match (self.resident, self.allocated) {
                (None, Some(_)) => "resident not known: the run took memory again that compiling had freed".to_string(),
                _ => format!("{resident} resident"),
            };
            return format!("peak memory: {predicted} predicted, {} allocated, {resident}", shown(self.allocated));
        };
        let budget = match self.budget {
            Some(budget) => format!("the budget of {} holds on the CPU only", bytes(budget as f64)),
            None => "the prediction holds on the CPU only".to_string(),
        };
        format!(
            "peak memory: {predicted} predicted on the CPU, {} on the CUDA device, {resident} resident\n\
             on CUDA every tensor lies in memory as FP32 numbers, whatever its format: {budget}",
            shown(peak)
        )
    }

    /// The breakdown as a table, under the place of the peak.
    pub(crate) fn table(&self) -> (String, Table) {
        let PeakAt { instruction, instructions, computes } = &self.peak_at;
        let title = format!(
            "\n{} at the peak of a training step, instruction {instruction} of {instructions}: {computes}",
            bytes(self.predicted as f64)
        );
        let mut table = table(&["memory", "bytes", "share"], 1);
        let Breakdown { masters, optimizer_state, packed_parameters, saved_activations, gradients, workspace } =
            self.breakdown;
        for (name, n) in [
            ("masters", masters),
            ("optimizer state", optimizer_state),
            ("packed parameters", packed_parameters),
            ("saved activations", saved_activations),
            ("gradients", gradients),
            ("workspace", workspace),
        ] {
            let share = 100.0 * n as f64 / self.predicted.max(1) as f64;
            table.add_row([name.to_string(), bytes(n as f64), format!("{share:.1}%")]);
        }
        (title, table)
    }
}

/// Whether the growth of resident memory can be what a run took: it is less than what was allocated where the run got memory that was
/// resident before, such as what a solver freed.
fn is_whole(growth: usize, allocated: usize) -> bool {
    growth as f64 >= 0.9 * allocated as f64
}

/// Watches the resident memory of this process, where the system tells.
pub(crate) struct Resident {
    before: Option<usize>,
}

impl Resident {
    /// Starts from what is resident now.
    pub(crate) fn start() -> Resident {
        // Makes the system forget earlier peaks; where it does not, they count.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Resident { before: status("VmRSS:") }
    }

    /// By how many bytes the peak exceeds the start.
    pub(crate) fn growth(&self) -> Option<usize> {
        Some(status("VmHWM:")?.saturating_sub(self.before?))
    }
}

/// A field of the process' status, in bytes.
fn status(field: &str) -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}
