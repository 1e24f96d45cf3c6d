//! What the 32 threads of a warp do together.

use crate::fault::FaultKind;
use crate::running::{Operation, Running};
use crate::shadow::Access;
use crate::tensor_core::{Operand, TensorCore};

/// The codes of machine.h.
const WARP_BARRIER: u32 = 0;
const SHUFFLE: u32 = 1;
const SHUFFLE_XOR: u32 = 2;
const VOTES: u32 = 3;
const LOAD: u32 = 4;
const LOAD_TRANSPOSED: u32 = 5;
const MULTIPLY_BF16: u32 = 6;
const MULTIPLY_FP16: u32 = 7;

/// Computes an operation of the threads of a warp, which wait for it. `first` is the first thread, in the block that is the current one.
pub(crate) fn compute(running: &mut Running, first: u32, lanes: &[Operation], core: TensorCore) {
    let code = lanes[0].code;
    match code {
        WARP_BARRIER => {}
        SHUFFLE | SHUFFLE_XOR => {
            let given = inputs::<2>(lanes);
            for (lane, operation) in lanes.iter().enumerate() {
                let from = if code == SHUFFLE { given[lane][1] as usize } else { lane ^ given[lane][1] as usize };
                // The machine takes the lane's number modulo 32.
                put(operation, &[given[from % 32][0]]);
            }
        }
        VOTES => {
            let given = inputs::<2>(lanes);
            let bits = (0..32).map(|lane| u32::from(given[lane][0] != 0) << lane).sum();
            lanes.iter().for_each(|operation| put(operation, &[bits]));
        }
        LOAD | LOAD_TRANSPOSED => load(running, first, lanes, code == LOAD_TRANSPOSED),
        MULTIPLY_BF16 => multiply(lanes, Operand::Bf16, core),
        MULTIPLY_FP16 => multiply(lanes, Operand::Fp16, core),
        _ => multiply(lanes, Operand::Tf32, core),
    }
}

/// The words that each thread gives.
fn inputs<const N: usize>(lanes: &[Operation]) -> Vec<[u32; N]> {
    // SAFETY: the threads are suspended in a call of machine.h, which gives each operation as many words as it reads.
    lanes.iter().map(|lane| unsafe { lane.input.cast::<[u32; N]>().read_unaligned() }).collect()
}

/// Gives a thread its result.
fn put(lane: &Operation, words: &[u32]) {
    // SAFETY: as for the inputs.
    unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), lane.output, words.len()) };
}

/// Four 8x8 matrices of 16-bit elements: thread `8m + r` gives the place of row `r` of matrix `m`; thread `4r + c` gets the elements `2c` and
/// `2c + 1` of row `r`, or of column `r`, of each.
fn load(running: &mut Running, first: u32, lanes: &[Operation], is_transposed: bool) {
    let mut rows = [[0u16; 8]; 32];
    for (lane, (operation, [at])) in lanes.iter().zip(inputs::<1>(lanes)).enumerate() {
        running.current.1 = first + lane as u32;
        if let Some(row) = running.shared(at, 16, Access::Read, operation.place) {
            // SAFETY: these 16 bytes are shared memory of the block, as just asked.
            rows[lane] = unsafe { row.cast::<[u16; 8]>().read_unaligned() };
        }
    }
    for (lane, operation) in lanes.iter().enumerate() {
        let (r, c) = (lane / 4, 2 * (lane % 4));
        let element = |matrix: usize, r: usize, c: usize| {
            let (row, column) = if is_transposed { (c, r) } else { (r, c) };
            u32::from(rows[8 * matrix + row][column])
        };
        let words: [u32; 4] = std::array::from_fn(|m| element(m, r, c) | element(m, r, c + 1) << 16);
        put(operation, &words);
    }
}

/// The place of a word of an operand in its matrix, for a thread's group of four and its place in it: rows of `a`, columns of `b`, and which
/// 32 bits of them. From the PTX ISA, "Matrix fragments for mma.m16n8k16" and "for mma.m16n8k8".
pub(crate) fn a_word(word: usize, group: usize, in_group: usize) -> (usize, usize) {
    (group + 8 * (word % 2), in_group + 4 * (word / 2))
}

/// As [`a_word`], for `b`.
pub(crate) fn b_word(word: usize, group: usize, in_group: usize) -> (usize, usize) {
    (group, in_group + 4 * word)
}

/// Row and column of a number of the result.
pub(crate) fn d_element(element: usize, group: usize, in_group: usize) -> (usize, usize) {
    (group + 8 * (element / 2), 2 * in_group + element % 2)
}

fn multiply(lanes: &[Operation], operand: Operand, core: TensorCore) {
    let given = inputs::<10>(lanes);
    let (mut a, mut b) = ([[0u32; 8]; 16], [[0u32; 8]; 8]);
    for (lane, words) in given.iter().enumerate() {
        let (group, in_group) = (lane / 4, lane % 4);
        for word in 0..4 {
            let (row, k) = a_word(word, group, in_group);
            a[row][k] = words[word];
        }
        for word in 0..2 {
            let (column, k) = b_word(word, group, in_group);
            b[column][k] = words[4 + word];
        }
    }
    // Words of 16-bit operands hold two elements, the first one low.
    let elements = |words: &[u32; 8]| -> Vec<u32> {
        match operand {
            Operand::Tf32 => words.to_vec(),
            Operand::Bf16 | Operand::Fp16 => words.iter().flat_map(|word| [word & 0xffff, word >> 16]).collect(),
        }
    };
    let (a, b) = (a.each_ref().map(elements), b.each_ref().map(elements));
    for (lane, (operation, words)) in lanes.iter().zip(&given).enumerate() {
        let result: [u32; 4] = std::array::from_fn(|element| {
            let (row, column) = d_element(element, lane / 4, lane % 4);
            core.dot(operand, &a[row], &b[column], f32::from_bits(words[6 + element])).to_bits()
        });
        put(operation, &result);
    }
}

/// Says why threads of a warp do not meet, if they do not.
pub(crate) fn parted(running: &mut Running, lanes: &[Operation]) -> bool {
    let first = lanes[0];
    match lanes.iter().find(|lane| lane.place != first.place || lane.code != first.code) {
        None => false,
        Some(other) => {
            let detail = format!("threads of its warp are at {}", other.place);
            running.fault(FaultKind::Divergent, first.place, detail);
            true
        }
    }
}
