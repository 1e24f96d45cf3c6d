//! CPU kernels over slices of FP32 numbers or packed codes: convolution, matrix product, pooling, normalisation,
//! elementwise functions, reductions, losses and optimizer updates.
//!
//! The crate knows nothing of graphs, tensor objects, devices or files. Tensors are contiguous row-major slices (images
//! in NCHW order) with their sizes beside them; a slice of the wrong length is a [`ShapeError`], and nothing has been
//! written then. Operands are [`Elements`], stored or [`Derived`] as they are read; results go to an [`Output`], which
//! rounds, packs and counts what overflows on the way. Outputs are overwritten.
//!
//! Kernels run on rayon's current pool. Work is cut by the shapes alone and sums are combined in a fixed order, so that
//! results have the same bits for any number of threads. They may differ in the last bits between processors, since
//! the vector instructions at hand are chosen at run time; `BITBUDGET_INSTRUCTIONS=avx512`, `avx2` or `portable` in the
//! environment makes do with those of lesser ones, and `avx512bf16` takes BF16 dot products where they are slow, too.
//!
//! # Rooms
//!
//! Each room uses those below it only.
//!
//! ```text
//!  operators    conv  gemm (product)  pool  norm  reduce  loss  shape  optim
//!                 │ every operand is Elements: stored, or computed by a chain as it is read
//!  elementwise  chain ── plan ─► lookup │ fused, registers │ run (apply, evaluate)
//!                 │      derived ─► read (lookup │ normalize │ registers │ run)    function  formula  math  normalize
//!  tensors      elements (Elements, Output)  tile, walk (what is a tile)  parallel (tasks, scratch)  blocks
//!                 │
//!  words        simd (one body for each set of instructions)  avx512 (what is written in one set's)  translate (tables of codes)
//! ```
//!
//! An operand goes the same way everywhere: a task takes a tile, unpacks the operand's codes into scratch memory, computes
//! in FP32, and the output rounds, counts and packs.
//!
//! # Words
//!
//! | word | means |
//! |---|---|
//! | code | An element as it is packed, of 8 or 16 bits; a number is FP32. |
//! | task | The work that one thread takes at a time; its cut depends on shapes only. |
//! | share | Channels, or channels and images, that are summed together by one task. |
//! | tile | What a task unpacks, computes and packs at a time; it stays in the cache. |
//! | block | What registers hold at a time: 64 codes, or the sums of some rows and vectors of a product. |
//! | lanes | The elements of a vector, or the independent sums of a reduction. |
//! | row | `s` elements of one channel and image, of a tensor `[n, c, s]`. |
//! | part | One function of a chain, with its operands, rounding and output. |
//! | step | A part that is ready to run: where its operands are, and where its result goes. |
//! | slot | A tile's scratch memory for one operand or result of a step. |
//! | mask | What a kink behind a normalisation lets through of a gradient. |
//! | stage | To lay planes out as products read them: padded, with images or channels side by side. |
//! | tap | One element of a convolution's kernel. |
//! | phase | Elements of a plane whose indices have one residue modulo the stride. |
//! | lattice | The outputs of one phase. |
//! | class | Vectors of outputs whose operands the same taps reach. |
//! | panel, unit | 16 rows of a product's operand, or 16 output channels of packed weights, side by side. |
//! | workspace, scratch | Memory that the caller lends to a kernel; memory that each thread has of its own. |
//!
//! # Example
//!
//! ```
//! use bitbudget_formats::Format;
//! use bitbudget_kernels::{Conv2d, Pass, conv2d};
//!
//! # fn main() -> Result<(), bitbudget_kernels::ShapeError> {
//! let g = Conv2d {
//!     batch: 1,
//!     in_channels: 1,
//!     in_height: 3,
//!     in_width: 3,
//!     out_channels: 1,
//!     kernel: [2, 2],
//!     stride: [1, 1],
//!     dilation: [1, 1],
//!     pad_begin: [0, 0],
//!     pad_end: [0, 0],
//!     groups: 1,
//! };
//! let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
//! let mut y = [0.0; 4];
//! let mut shared = vec![0.0; g.workspace(Pass::Forward, Format::FP32, Format::FP32)];
//! let w = [1.0, 0.0, 0.0, 1.0];
//! conv2d(&g, x[..].into(), w[..].into(), Some([0.5][..].into()), &mut y.as_mut_slice().into(), &mut shared)?;
//! assert_eq!(y, [6.5, 8.5, 12.5, 14.5]);
//! # Ok(())
//! # }
//! ```

mod elementwise;
mod error;
mod operators;
mod tensors;
mod words;

pub use elementwise::chain::{
    ChainData, ChainOperand, ChainPart, ChainPlan, Operand, Part, PlannedOperand, PlannedPart, chain,
};
pub use elementwise::derived::{ChannelRun, Derived, DerivedPlan, count_channels, derived_scratch};
pub use elementwise::formula::{Formula, Word};
pub use elementwise::function::Function;
pub use elementwise::math::Binary;
pub use error::ShapeError;
pub use operators::conv::{Conv2d, ConvPlan, Pass, conv2d, conv2d_grad_input, conv2d_grad_weight};
pub use operators::extremum::{reduce_extremum, reduce_extremum_grad, reduce_extremum_workspace};
pub use operators::gemm::{Matmul, matmul, matmul_scratch};
pub use operators::index::{Indexed, arg_max, gather, gather_grad, gather_grad_workspace, top_k, top_k_scratch};
pub use operators::loss::{log_softmax, log_softmax_grad, nll_loss, nll_loss_grad, softmax, softmax_grad};
pub use operators::norm::{
    NormGradient, batch_mean, batch_moments, batch_norm_grad_scale, batch_norm_grad_sums, batch_variance, channel_sum,
    layer_norm, layer_norm_grad_input, layer_norm_grad_scale, layer_norm_scratch, layer_norm_workspace,
};
pub use operators::optim::all_finite;
pub use operators::pool::{
    AvgPoolGradPlan, AvgPoolPlan, MaxPoolGradPlan, MaxPoolPlan, Pool2d, avg_pool, avg_pool_grad, max_pool,
    max_pool_grad, max_pool_indices, max_pool_with_indices,
};
pub use operators::product::multiply_adds;
pub use operators::recurrent::{
    Activation, Recurrent, RecurrentCell, RecurrentGradient, RecurrentOperands, recurrent, recurrent_grad,
    recurrent_grad_workspace, recurrent_scratch, recurrent_workspace,
};
pub use operators::reduce::{reduce_mean, reduce_sum};
pub use operators::shape::{binary_broadcast, broadcast, concat, slice, slice_scatter, transpose};
pub use tensors::elements::{Elements, Output, ResultStorage, Storage};
pub use tensors::parallel::{SCRATCH, reserve_scratch, scratch_bytes};
