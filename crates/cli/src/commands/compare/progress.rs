//! The progress of a comparison: a bar on a terminal, a line per result elsewhere, with the time left.

use crate::output::tell;
use crate::progress::steps_bar;
use indicatif::ProgressBar;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The kinds of work that are waited for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Assignment,
    Training,
}

/// The progress of one kind.
#[derive(Clone, Copy, Default)]
struct Count {
    total: usize,
    done: usize,
    /// How many of `done` were computed now, and their seconds; the others were kept from before.
    timed: usize,
    seconds: f64,
}

impl Count {
    /// The seconds of one that is computed, if any was.
    fn each(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.seconds / self.timed as f64)
    }
}

/// Shows a comparison on standard error.
pub(super) struct Progress {
    bar: ProgressBar,
    counts: Mutex<[Count; 2]>,
    jobs: usize,
    quiet: bool,
}

impl Progress {
    pub(super) fn new(assignments: usize, trainings: usize, jobs: usize, quiet: bool) -> Progress {
        let bar = if quiet { ProgressBar::hidden() } else { steps_bar((assignments + trainings) as u64) };
        let count = |total| Count { total, ..Count::default() };
        Progress { bar, counts: Mutex::new([count(assignments), count(trainings)]), jobs, quiet }
    }

    fn counts(&self) -> MutexGuard<'_, [Count; 2]> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is there: made just now or, if `kept`, earlier.
    pub(super) fn done(&self, kind: Kind, name: &str, outcome: &str, seconds: f64, kept: bool) {
        let mut counts = self.counts();
        let count = &mut counts[kind as usize];
        count.done += 1;
        if !kept {
            count.timed += 1;
            count.seconds += seconds;
        }
        let (done, total) = counts.iter().fold((0, 0), |(done, total), c| (done + c.done, total + c.total));
        let left = left(&counts, self.jobs);
        drop(counts);
        let how = if kept { "kept from before".to_string() } else { format!("{seconds:.1} s") };
        let left =
            left.filter(|_| done < total).map_or(String::new(), |left| format!("; about {} left", duration(left)));
        match (self.quiet, self.bar.is_hidden()) {
            (true, _) => {}
            (false, true) => tell(format!("[{done}/{total}] {name}: {outcome} ({how}){left}")),
            (false, false) => {
                self.bar.println(format!("{name}: {outcome} ({how})"));
                self.bar.set_message(left.trim_start_matches("; ").to_string());
                self.bar.inc(1);
            }
        }
    }

    /// Takes `many` of one kind out of the total: they need not be waited for.
    pub(super) fn dropped(&self, kind: Kind, many: usize) {
        self.counts()[kind as usize].total -= many;
        self.bar.dec_length(many as u64);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Seconds until all is done, if anything was computed that tells how long the rest takes.
fn left(counts: &[Count; 2], jobs: usize) -> Option<f64> {
    // Before anything was computed of one kind, it counts as the other.
    let known = counts.iter().find_map(Count::each)?;
    let seconds = |count: &Count| (count.total - count.done) as f64 * count.each().unwrap_or(known);
    Some(counts.iter().map(seconds).sum::<f64>() / jobs as f64)
}

/// Seconds in words.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_goes_by_what_is_done() {
        let counts = |done: [usize; 2], timed: [usize; 2], seconds: [f64; 2]| {
            [0, 1].map(|at| Count { total: 10, done: done[at], timed: timed[at], seconds: seconds[at] })
        };
        assert_eq!(left(&counts([5, 0], [5, 0], [10.0, 0.0]), 1), Some(30.0));
        assert_eq!(left(&counts([10, 4], [10, 4], [20.0, 40.0]), 2), Some(30.0));
        assert_eq!(left(&counts([10, 10], [10, 10], [20.0, 40.0]), 2), Some(0.0));
    }

    #[test]
    fn results_kept_from_before_tell_no_time() {
        let kept = [10, 3].map(|done| Count { total: 10, done, ..Count::default() });
        assert_eq!(left(&kept, 1), None);
        let [assignments, trainings] = kept;
        let one_trained = Count { done: 4, timed: 1, seconds: 7.0, ..trainings };
        assert_eq!(left(&[assignments, one_trained], 1), Some(42.0));
    }

    #[test]
    fn durations_are_in_the_unit_that_fits() {
        assert_eq!([5.0, 120.0, 7200.0].map(duration), ["5 s", "2 min", "2.0 h"]);
    }
}
