//! What kernels call: the functions of machine.h on the host.

use crate::place::Place;
use crate::running::{Operation, Running, State};
use crate::shadow::Access;
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::ptr;

/// As `hooks` in machine.h.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Hooks {
    global: unsafe extern "C" fn(*mut c_void, u32, u32, *const c_char) -> *mut c_void,
    shared: unsafe extern "C" fn(u32, u32, u32, *const c_char) -> *mut c_void,
    barrier: unsafe extern "C" fn(*const c_char),
    collective: unsafe extern "C" fn(u32, *const u32, *mut u32, *const c_char),
    take_ticket: unsafe extern "C" fn(*mut c_void, *const c_char) -> u32,
    turn: unsafe extern "C" fn(*mut c_void, u32, u32, *const c_char),
    is_last: unsafe extern "C" fn(*mut c_void, u32, *const c_char) -> u32,
    copy: unsafe extern "C" fn(u32, *const c_void, u32, *const c_char),
    copies_commit: unsafe extern "C" fn(),
    copies_wait: unsafe extern "C" fn(u32),
}

/// As `identity` in machine.h.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) thread: u32,
    pub(crate) block: u32,
    pub(crate) blocks: u32,
}

pub(crate) static HOOKS: Hooks =
    Hooks { global, shared, barrier, collective, take_ticket, turn, is_last, copy, copies_commit, copies_wait };

thread_local! {
    /// The launch that runs on this thread.
    static RUNNING: Cell<*mut Running> = const { Cell::new(ptr::null_mut()) };
}

/// Makes `running` the launch that hooks belong to while `run` runs.
pub(crate) fn with<T>(running: *mut Running, run: impl FnOnce() -> T) -> T {
    let before = RUNNING.replace(running);
    let result = run();
    RUNNING.set(before);
    result
}

/// Calls a method of the launch. The kernel's thread is inside a hook, so that nothing else uses the launch.
fn running<T>(call: impl FnOnce(&mut Running) -> T) -> T {
    // SAFETY: kernels run inside `with` only, on the thread that set the pointer, and the scheduler waits while they do.
    call(unsafe { &mut *RUNNING.get() })
}

/// Gives control to the scheduler until it continues this thread of the kernel.
fn suspend(state: State) {
    let yielder = running(|running| {
        running.set_state(state);
        running.yielder()
    });
    // SAFETY: the yielder lives on the stack of the coroutine that runs at the moment.
    unsafe { (*yielder).suspend(()) };
}

fn access(of: u32) -> Access {
    match of {
        0 => Access::Read,
        1 => Access::Write,
        _ => Access::Atomic,
    }
}

unsafe extern "C" fn global(p: *mut c_void, bytes: u32, kind: u32, place: *const c_char) -> *mut c_void {
    running(|running| match running.global(p as usize, bytes, access(kind), Place::new(place)) {
        true => p,
        false => running.nowhere(),
    })
}

unsafe extern "C" fn shared(at: u32, bytes: u32, kind: u32, place: *const c_char) -> *mut c_void {
    running(|running| match running.shared(at, bytes, access(kind), Place::new(place)) {
        Some(p) => p,
        None => running.nowhere(),
    })
}

unsafe extern "C" fn barrier(place: *const c_char) {
    suspend(State::Barrier(Place::new(place)));
}

unsafe extern "C" fn collective(operation: u32, input: *const u32, output: *mut u32, place: *const c_char) {
    suspend(State::Collective(Operation { code: operation, input, output, place: Place::new(place) }));
}

unsafe extern "C" fn take_ticket(counter: *mut c_void, place: *const c_char) -> u32 {
    running(|running| match running.global(counter as usize, 4, Access::Atomic, Place::new(place)) {
        false => 0,
        true => {
            let counter = counter.cast::<u32>();
            // SAFETY: these 4 bytes are memory of the device, aligned, as just asked.
            unsafe {
                let ticket = *counter;
                *counter = ticket.wrapping_add(1);
                ticket
            }
        }
    })
}

unsafe extern "C" fn turn(turn: *mut c_void, ticket: u32, passes: u32, place: *const c_char) {
    let place = Place::new(place);
    if !running(|running| running.global(turn as usize, 4, Access::Atomic, place)) {
        return;
    }
    let now = turn.cast::<u32>();
    if passes == 1 {
        // SAFETY: these 4 bytes are memory of the device, aligned, as just asked.
        unsafe { *now = ticket };
        return running(|running| running.pass(turn as usize, ticket));
    }
    // SAFETY: as above.
    if unsafe { *now } != ticket {
        suspend(State::Turn { address: turn as usize, ticket, place });
    }
    running(|running| running.take_over(turn as usize));
}

unsafe extern "C" fn is_last(counter: *mut c_void, count: u32, place: *const c_char) -> u32 {
    running(|running| {
        if !running.global(counter as usize, 4, Access::Atomic, Place::new(place)) {
            return 0;
        }
        let word = counter.cast::<u32>();
        // SAFETY: these 4 bytes are memory of the device, aligned, as just asked.
        let is_last = unsafe {
            let before = *word;
            *word = if before + 1 >= count { 0 } else { before + 1 };
            before + 1 == count
        };
        running.release(counter as usize);
        if is_last {
            running.take_over(counter as usize);
        }
        u32::from(is_last)
    })
}

unsafe extern "C" fn copy(at: u32, from: *const c_void, valid: u32, place: *const c_char) {
    running(|running| running.begin_copy(at, from as usize, valid, Place::new(place)));
}

unsafe extern "C" fn copies_commit() {
    running(Running::commit_copies);
}

unsafe extern "C" fn copies_wait(left: u32) {
    running(|running| running.wait_for_copies(left as usize));
}
