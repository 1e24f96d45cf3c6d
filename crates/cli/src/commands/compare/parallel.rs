//! Several things at the same time.

use anyhow::Result;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does something with each of several things, some at a time; the results are in their order.
///
/// # Errors
/// The first error; what has begun by then is finished, the rest is not begun.
pub(super) fn in_parallel<T: Sync, R: Send>(
    jobs: usize,
    things: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || -> Result<Vec<(usize, R)>> {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(at) else { break };
            match work(thing) {
                Ok(result) => done.push((at, result)),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let results: Vec<Result<Vec<(usize, R)>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.min(things.len())).map(|_| scope.spawn(worker)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().map(join).collect()
    });
    let mut done: Vec<(usize, R)> = Vec::with_capacity(things.len());
    for result in results {
        done.extend(result?);
    }
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_the_first_error_ends_it() {
        let numbers: Vec<u32> = (0..100).collect();
        for jobs in [1, 3] {
            let squares = in_parallel(jobs, &numbers, |n| Ok(n * n)).unwrap();
            assert_eq!(squares, numbers.iter().map(|n| n * n).collect::<Vec<_>>());
            let begun = AtomicUsize::new(0);
            let failing = in_parallel(jobs, &numbers, |&n| {
                begun.fetch_add(1, Ordering::Relaxed);
                if n == 3 { anyhow::bail!("no {n}") } else { Ok(()) }
            });
            assert_eq!(failing.unwrap_err().to_string(), "no 3");
            assert!(jobs > 1 || begun.load(Ordering::Relaxed) == 4);
        }
        assert!(in_parallel(2, &[] as &[u32], |_| Ok(())).unwrap().is_empty());
    }
}
