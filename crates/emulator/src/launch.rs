//! Launches: which thread runs when.

use crate::collective;
use crate::fault::{Fault, FaultKind};
use crate::hooks::{self, HOOKS, Identity};
use crate::memory::Memory;
use crate::module::{Kernel, Module, ModuleError};
use crate::place::Place;
use crate::running::{Block, Operation, Running, State};
use crate::tensor_core::TensorCore;
use crate::traffic::Traffic;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ops::Range;

/// A launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Its name.
    pub kernel: &'a str,
    /// How many blocks.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// The kernel's arguments, as its struct holds them.
    pub arguments: &'a [u8],
}

/// The machine that is emulated.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// How its tensor cores add.
    pub tensor_core: TensorCore,
    /// How many blocks run at a time.
    pub resident: u32,
    /// Another seed runs threads and blocks in another order.
    pub seed: u64,
    /// Whether to count sectors and passes, which takes time.
    pub records_traffic: bool,
}

/// What a launch came to.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong with the kernel: the first fault of each kind at each place.
    pub faults: Vec<Fault>,
    /// The accesses at each place of the source, where they were recorded.
    pub traffic: BTreeMap<String, Traffic>,
}

type Fiber = Coroutine<(), (), ()>;

/// Bytes of a thread's stack, which holds its local variables and a hook at work.
const STACK: usize = 1 << 17;

/// Runs a kernel. It ends where all threads have ended, or none can go on, which is a fault.
///
/// # Errors
/// If the module has no such kernel, or the launch does not fit it.
pub fn launch(
    module: &mut Module,
    memory: &mut Memory,
    launch: &Launch<'_>,
    machine: &Machine,
) -> Result<Outcome, ModuleError> {
    let kernel = module.kernel(launch.kernel, launch.threads, launch.arguments.len())?;
    let identity = module.connect(&HOOKS)?;
    memory.begin_launch();
    let mut running = Running::new(std::mem::take(memory), machine.records_traffic);
    let to_running: *mut Running = &raw mut running;
    // Arguments may hold numbers of 8 bytes.
    let mut arguments = vec![0u64; launch.arguments.len().div_ceil(8)];
    for (word, chunk) in arguments.iter_mut().zip(launch.arguments.chunks(8)) {
        let mut whole = [0; 8];
        whole[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(whole);
    }
    let mut scheduler = Scheduler {
        running: to_running,
        fibers: Vec::new(),
        ready: Vec::new(),
        rng: Rng::with_seed(machine.seed),
        pending: (0..launch.blocks).collect(),
        kernel,
        arguments: arguments.as_ptr().cast(),
        identity,
        core: machine.tensor_core,
    };
    scheduler.rng.shuffle(&mut scheduler.pending);
    hooks::with(to_running, || scheduler.run(launch, machine.resident.max(1) as usize));
    let named = |(place, traffic): (usize, Traffic)| (Place::of(place).to_string(), traffic);
    let traffic = running.recorder.iter().flat_map(|recorder| recorder.sums()).map(named).collect();
    *memory = running.memory;
    Ok(Outcome { faults: running.faults, traffic })
}

struct Scheduler {
    running: *mut Running,
    /// The threads of each block.
    fibers: Vec<Vec<Option<Fiber>>>,
    /// Threads that can go on: block and thread.
    ready: Vec<(usize, u32)>,
    rng: Rng,
    pending: Vec<u32>,
    kernel: Kernel,
    arguments: *const c_void,
    identity: *mut Identity,
    core: TensorCore,
}

impl Scheduler {
    fn running(&mut self) -> &mut Running {
        // SAFETY: the launch lives longer than the scheduler, and no thread of the kernel runs while the scheduler does.
        unsafe { &mut *self.running }
    }

    fn run(&mut self, launch: &Launch<'_>, resident: usize) {
        (0..resident).for_each(|_| self.admit(launch));
        loop {
            while !self.ready.is_empty() {
                let next = self.rng.usize(..self.ready.len());
                let (block, thread) = self.ready.swap_remove(next);
                self.resume(launch, block, thread);
            }
            if !self.wake() {
                break;
            }
        }
        self.end();
    }

    /// Begins a block, if one is left.
    fn admit(&mut self, launch: &Launch<'_>) {
        let Some(number) = self.pending.pop() else { return };
        self.running().blocks.push(Block::new(number, launch.threads, launch.shared));
        let block = self.fibers.len();
        self.fibers.push((0..launch.threads).map(|_| None).collect());
        self.ready.extend((0..launch.threads).map(|thread| (block, thread)));
    }

    /// Lets a thread run until it waits or ends.
    fn resume(&mut self, launch: &Launch<'_>, block: usize, thread: u32) {
        let (kernel, arguments, running) = (self.kernel, self.arguments, self.running);
        let number = self.running().blocks[block].number;
        self.running().current = (block, thread);
        // SAFETY: the identity belongs to the loaded module; only kernels read it, and none runs now.
        unsafe { *self.identity = Identity { thread, block: number, blocks: launch.blocks } };
        let fiber = self.fibers[block][thread as usize].get_or_insert_with(|| {
            let stack = DefaultStack::new(STACK).unwrap_or_default();
            Coroutine::with_stack(stack, move |yielder, ()| {
                // SAFETY: as in `running`; the kernel has not begun.
                unsafe { (&mut (*running).blocks)[block].threads[thread as usize].yielder = yielder };
                // SAFETY: the arguments have the size that the kernel declares.
                unsafe { kernel(arguments) };
            })
        });
        if let CoroutineResult::Return(()) = fiber.resume(()) {
            self.fibers[block][thread as usize] = None;
            self.running().blocks[block].threads[thread as usize].state = State::Ended;
        }
        for thread in self.met(block, thread) {
            self.running().blocks[block].threads[thread as usize].state = State::Ready;
            self.ready.push((block, thread));
        }
        let ended = self.running().blocks[block].threads.iter().all(|thread| matches!(thread.state, State::Ended));
        if ended {
            self.running().blocks[block].end();
            self.admit(launch);
        }
    }

    /// The threads of a warp or a block that can go on since they have all reached what a thread has.
    fn met(&mut self, block: usize, thread: u32) -> Range<u32> {
        let core = self.core;
        let running = self.running();
        let threads = &running.blocks[block].threads;
        match threads[thread as usize].state {
            State::Ready | State::Ended | State::Turn { .. } => 0..0,
            State::Barrier(_) => {
                let places: Option<Vec<Place>> = threads.iter().map(|thread| barrier(&thread.state)).collect();
                let Some(places) = places else { return 0..0 };
                if let Some(other) = places.iter().find(|&&place| place != places[0]) {
                    let detail = format!("threads of its block are at {other}");
                    running.fault(FaultKind::Divergent, places[0], detail);
                }
                running.blocks[block].epoch += 1;
                0..running.blocks[block].threads.len() as u32
            }
            State::Collective(_) => {
                let first = thread / 32 * 32;
                let warp = &threads[first as usize..first as usize + 32];
                let lanes: Option<Vec<Operation>> = warp.iter().map(|thread| operation(&thread.state)).collect();
                let Some(lanes) = lanes else { return 0..0 };
                if collective::parted(running, &lanes) {
                    return 0..0;
                }
                collective::compute(running, first, &lanes, core);
                let warp = &mut running.blocks[block].threads[first as usize..first as usize + 32];
                warp.iter_mut().for_each(|thread| thread.warp_epoch += 1);
                first..first + 32
            }
        }
    }

    /// Finds the threads whose turn has come.
    fn wake(&mut self) -> bool {
        // Those that others passed a turn on to are ready, but not in the list.
        let running = self.running();
        let mut found = Vec::new();
        for (at, block) in running.blocks.iter().enumerate() {
            let ready = |(_, thread): &(usize, &crate::running::Thread)| matches!(thread.state, State::Ready);
            found.extend(block.threads.iter().enumerate().filter(ready).map(|(thread, _)| (at, thread as u32)));
        }
        self.ready = found;
        !self.ready.is_empty()
    }

    /// Says which threads wait for others that do not come, and gives them up.
    fn end(&mut self) {
        let running = self.running();
        for block in 0..running.blocks.len() {
            for thread in 0..running.blocks[block].threads.len() as u32 {
                running.current = (block, thread);
                match running.blocks[block].threads[thread as usize].state {
                    State::Ready | State::Ended => {}
                    State::Barrier(place) => {
                        running.fault(FaultKind::Divergent, place, "threads of its block do not come here".into());
                    }
                    State::Collective(of) => {
                        running.fault(FaultKind::Divergent, of.place, "threads of its warp do not come here".into());
                    }
                    State::Turn { ticket, place, .. } => {
                        running.fault(FaultKind::NoTurn, place, format!("the turn of {ticket} does not come"));
                    }
                }
            }
        }
        for fiber in self.fibers.iter_mut().flatten().filter_map(Option::as_mut) {
            // SAFETY: a suspended thread has only C's variables and a hook's numbers on its stack, nothing that has to be dropped.
            unsafe { fiber.force_reset() };
        }
    }
}

fn barrier(state: &State) -> Option<Place> {
    match state {
        State::Barrier(place) => Some(*place),
        _ => None,
    }
}

fn operation(state: &State) -> Option<Operation> {
    match state {
        State::Collective(operation) => Some(*operation),
        _ => None,
    }
}
