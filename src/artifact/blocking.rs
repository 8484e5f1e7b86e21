//! Work that blocks: reading, decoding and writing, on threads that may wait.

use tokio::task::JoinError;

use super::error::Error;

/// Runs work that blocks beside the asynchronous kind.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// What such work came to; its panic goes on here.
pub(super) fn joined<T>(outcome: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    match outcome {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
