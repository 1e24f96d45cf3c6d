//! Programs on a device with memory of its own, through its driver.

mod bound;
mod codes;
mod independent;
mod kept;
mod memory;
mod place;
mod step;

pub(crate) use bound::Bound;
pub use bound::{DeviceWork, device_work, source};
pub(crate) use kept::Kept;
pub(crate) use memory::Engine;
pub use place::Device;
pub(crate) use step::run;
