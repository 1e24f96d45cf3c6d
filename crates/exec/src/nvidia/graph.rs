//! Launches as a graph, which the driver replays at once.

use super::errors::of_driver;
use bitbudget_cuda::{DriverError, Recording};
use candle_core::cuda_backend::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, CudaStream};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) struct Graph(Mutex<Locked>);

struct Locked(CudaGraph);

// SAFETY: a graph may be used by any thread, one at a time, which the mutex around it sees to.
unsafe impl Send for Locked {}

impl Graph {
    /// The graph of what `launch` asks the stream for.
    pub(super) fn capture(
        stream: &Arc<CudaStream>,
        launch: impl FnOnce() -> Result<(), DriverError>,
    ) -> Result<Graph, DriverError> {
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(of_driver)?;
        let launched = launch();
        // A stream that goes on capturing is of no more use.
        let graph = stream.end_capture(CUgraphInstantiate_flags(0)).map_err(of_driver);
        launched?;
        match graph? {
            Some(graph) => {
                graph.upload().map_err(of_driver)?;
                Ok(Graph(Mutex::new(Locked(graph))))
            }
            None => Err(DriverError::Device("the driver made no graph of the step".into())),
        }
    }
}

impl Recording for Graph {
    fn replay(&self) -> Result<(), DriverError> {
        let graph = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        graph.0.launch().map_err(of_driver)
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Graph")
    }
}
