//! Matrix product.

use gemm::Parallelism;

use crate::error::{ShapeError, check, elements};
use crate::parallel::{SharedOut, for_tasks};

/// A matrix as an address and two strides, in elements.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) data: *const f32,
    pub(crate) row: usize,
    pub(crate) col: usize,
}

/// `c [m, n] = a [m, k] b [k, n]`, added to what `c` holds if `accumulate`; `strides` are those of `c`. One thread.
///
/// # Safety
/// Every element that the shapes and strides reach is valid for reading (`a`, `b`) or reading and writing (`c`), and
/// `c` overlaps neither `a` nor `b`.
pub(crate) unsafe fn product(
    m: usize,
    n: usize,
    k: usize,
    a: View,
    b: View,
    c: *mut f32,
    strides: [usize; 2],
    accumulate: bool,
) {
    // SAFETY: the caller's promise; the strides are those of slices and so fit in `isize`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            strides[1] as isize,
            strides[0] as isize,
            accumulate,
            a.data,
            a.col as isize,
            a.row as isize,
            b.data,
            b.col as isize,
            b.row as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Matrix product `c [m, n] = op(a) op(b) + bias`, all row-major.
///
/// `a` is `[m, k]`, or `[k, m]` with `trans_a`; `b` is `[k, n]`, or `[n, k]` with `trans_b`; `bias` is `[n]` and added
/// to every row. With `k = 0` the product is zero.
pub fn matmul(
    trans_a: bool,
    trans_b: bool,
    m: usize,
    n: usize,
    k: usize,
    a: &[f32],
    b: &[f32],
    bias: Option<&[f32]>,
    c: &mut [f32],
) -> Result<(), ShapeError> {
    check(
        "matmul",
        &[
            ("a", a.len(), elements(&[m, k])),
            ("b", b.len(), elements(&[k, n])),
            ("bias", bias.map_or(n, <[f32]>::len), n),
            ("c", c.len(), elements(&[m, n])),
        ],
    )?;
    if c.is_empty() {
        return Ok(());
    }
    let (a_row, a_col) = if trans_a { (1, m) } else { (k, 1) };
    let (b_row, b_col) = if trans_b { (1, k) } else { (n, 1) };
    let (rows, cols) = block(m, n, k);
    let (row_blocks, col_blocks) = (m.div_ceil(rows), n.div_ceil(cols));
    let out = SharedOut::new(c);
    for_tasks(row_blocks * col_blocks, |task| {
        let (i, j) = (task / col_blocks * rows, task % col_blocks * cols);
        let (height, width) = (rows.min(m - i), cols.min(n - j));
        // SAFETY: the lengths were checked; every task writes its own block of `c`. The offsets wrap only for k = 0,
        // where nothing is read.
        unsafe {
            if k > 0 {
                let a = View { data: a.as_ptr().add(i * a_row), row: a_row, col: a_col };
                let b = View { data: b.as_ptr().add(j * b_col), row: b_row, col: b_col };
                product(height, width, k, a, b, out.at(i * n + j), [n, 1], false);
            }
            for row in i..i + height {
                let y = out.slice(row * n + j, width);
                if k == 0 {
                    y.fill(0.0);
                }
                if let Some(bias) = bias {
                    for (y, b) in y.iter_mut().zip(&bias[j..]) {
                        *y += b;
                    }
                }
            }
        }
    });
    Ok(())
}

/// Rows and columns of one task's block: the whole product if it is small, else about sixteen blocks.
fn block(m: usize, n: usize, k: usize) -> (usize, usize) {
    if elements(&[m, n, k]) < 64 * 64 * 64 {
        return (m, n);
    }
    // Tall blocks, since every block packs its operands anew.
    let rows = m.min(256);
    let row_blocks = m.div_ceil(rows);
    let cols = n.div_ceil(16usize.div_ceil(row_blocks)).next_multiple_of(48).min(n);
    (rows, cols)
}
