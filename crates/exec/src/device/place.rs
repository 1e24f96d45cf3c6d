//! Where values lie.

use bitbudget_cuda::Driver;
use std::sync::Arc;

/// What holds values.
#[derive(Clone, Debug)]
pub enum Device {
    /// This processor.
    Cpu,
    /// A device whose driver runs programs for CUDA.
    Driven(Arc<dyn Driver>),
}
