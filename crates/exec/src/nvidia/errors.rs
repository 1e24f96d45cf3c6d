//! Errors of the driver.

use bitbudget_cuda::DriverError;
use candle_core::cuda_backend::cudarc::driver::result;

/// An error of the driver in its own words.
pub(super) fn of_driver(error: result::DriverError) -> DriverError {
    let name = error.error_name().map_or_else(|_| format!("{:?}", error.0), |name| name.to_string_lossy().into_owned());
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    DriverError::Device(format!("the driver says {name}: {text}"))
}
