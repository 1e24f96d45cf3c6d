//! Benchmarks of codecs and kernels, and scripts that compare whole runs; the library itself is empty.
//!
//! ```text
//! cargo bench -p bitbudget-benches --bench codecs
//! RAYON_NUM_THREADS=2 cargo bench -p bitbudget-benches --bench kernels -- conv
//! ```
//!
//! See `compare.md` for the comparison with PyTorch.
