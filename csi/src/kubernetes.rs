//! The Kubernetes half: LogicalVolume objects, written by the controller and fulfilled by
//! the node that each of them names. They are upstream's, so either side may be upstream.

pub mod cache;
pub mod claims;
pub mod cleanup;
pub mod leader;
pub mod local;
pub mod logical_volume;
pub mod node_object;
pub mod reconciler;
pub mod size;
pub mod store;
pub mod strays;
pub mod successor;

use kube::core::Status;

use crate::error::Error;

impl From<kube::Error> for Error {
    /// What the API server refuses for good, and what may work later by itself.
    fn from(error: kube::Error) -> Self {
        let words = format!("the API server: {error}");
        match error {
            kube::Error::Api(status) => refused(&status),
            _ => Self::Unavailable(words),
        }
    }
}

fn refused(status: &Status) -> Error {
    let words = format!("the API server: {}", status.message);
    match status.code {
        400 | 422 => Error::Invalid(words),
        401 | 403 => Error::Precondition(words),
        404 => Error::NotFound(words),
        409 => Error::Aborted(words),
        _ => Error::Unavailable(words),
    }
}
