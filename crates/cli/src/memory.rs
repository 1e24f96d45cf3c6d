//! The memory of a run: as the schedule predicts it, as the executor counts it, and as the system sees it.

use crate::output::{bytes, table};
use bitbudget::{Compiled, Footprint, Machine, Peak, Session};
use comfy_table::Table;
use serde::{Serialize, Serializer};

/// Bytes at the peak.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemoryRecord {
    /// The prediction for the program.
    pub(crate) predicted: usize,
    /// The machine that the program is made for.
    #[serde(serialize_with = "in_words")]
    pub(crate) target: Machine,
    /// Held by the executor after the run; on a device, its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocated: Option<usize>,
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
        let of_tensors =
            memory.masters + memory.state + memory.packed_parameters + memory.activations + memory.gradients;
        MemoryRecord {
            predicted: footprint.total(),
            allocated: None,
            target: compiled.lowering.machine,
            resident: None,
            allocated_without_masters_and_state: None,
            budget: compiled.solved.as_ref().map(|solved| solved.budget),
            breakdown: Breakdown {
                masters: memory.masters,
                optimizer_state: memory.state,
                packed_parameters: memory.packed_parameters,
                saved_activations: memory.activations,
                gradients: memory.gradients,
                // With scratch memory, and on a device with inputs and what lies between tensors.
                workspace: footprint.total().saturating_sub(of_tensors),
            },
            peak_at: PeakAt { instruction, instructions, computes },
        }
    }

    /// The same after a run.
    pub(crate) fn measured(self, session: &Session, resident: Option<usize>) -> MemoryRecord {
        let allocated = session.allocated();
        MemoryRecord {
            allocated: Some(allocated.total()),
            allocated_without_masters_and_state: Some(allocated.without_kept()),
            resident: resident.filter(|&growth| is_whole(growth, allocated.total())),
            ..self
        }
    }

    /// One line: predicted, allocated and resident.
    pub(crate) fn line(&self) -> String {
        let shown = |n: Option<usize>| n.map_or("unknown".to_string(), |n| bytes(n as f64));
        let (predicted, allocated) = (bytes(self.predicted as f64), shown(self.allocated));
        match (self.target, self.resident) {
            (Machine::Cuda, _) => {
                format!("peak memory on the CUDA device: {predicted} predicted, {allocated} allocated")
            }
            (Machine::Cpu, None) if self.allocated.is_some() => format!(
                "peak memory: {predicted} predicted, {allocated} allocated, resident not known: the run took memory again \
                 that compiling had freed"
            ),
            (Machine::Cpu, resident) => {
                format!("peak memory: {predicted} predicted, {allocated} allocated, {} resident", shown(resident))
            }
        }
    }

    /// The breakdown as a table, under the place of the peak.
    pub(crate) fn table(&self) -> (String, Table) {
        let PeakAt { instruction, instructions, computes } = &self.peak_at;
        let place = if self.target == Machine::Cuda { " on a CUDA device" } else { "" };
        let title = format!(
            "\n{} at the peak of a training step{place}, instruction {instruction} of {instructions}: {computes}",
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

fn in_words<S: Serializer>(machine: &Machine, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(machine)
}
