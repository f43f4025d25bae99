//! Why a CSI call was not done, and the one table from that to gRPC codes.
//!
//! What lvmd says keeps the code of lvmd's own table. The codes are those the CSI
//! specification names for each call; a sidecar acts on them: ResourceExhausted makes
//! the scheduler look for another node, Aborted means "ask again, it is under way".

use lvmd::volumes::VolumeError;
use tonic::{Code, Status};

/// See the module. Each text says what to do where there is something to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The request cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// The volume, snapshot or source is not there.
    #[error("{0}")]
    NotFound(String),
    /// One of this name is there and is another.
    #[error("{0}")]
    Exists(String),
    /// The size cannot be given.
    #[error("{0}")]
    OutOfRange(String),
    /// It does not fit.
    #[error("{0}")]
    NoSpace(String),
    /// State forbids it; somebody has to do something first.
    #[error("{0}")]
    Precondition(String),
    /// Another call for the same volume is under way, or a token is stale.
    #[error("{0}")]
    Aborted(String),
    /// It may work later by itself.
    #[error("{0}")]
    Unavailable(String),
    /// Something failed that nobody foresees.
    #[error("{0}")]
    Internal(String),
    /// lvmd's answer.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Another service's answer, passed on as it is.
    #[error("{}", .0.message())]
    Told(Status),
}

/// The gRPC code of an error.
pub fn code(error: &Error) -> Code {
    match error {
        Error::Invalid(_) => Code::InvalidArgument,
        Error::NotFound(_) => Code::NotFound,
        Error::Exists(_) => Code::AlreadyExists,
        Error::OutOfRange(_) => Code::OutOfRange,
        Error::NoSpace(_) => Code::ResourceExhausted,
        Error::Precondition(_) => Code::FailedPrecondition,
        Error::Aborted(_) => Code::Aborted,
        Error::Unavailable(_) => Code::Unavailable,
        Error::Internal(_) => Code::Internal,
        Error::Volume(error) => lvmd::status::code(error),
        Error::Told(status) => status.code(),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Volume(error) => error.into(),
            Error::Told(status) => status,
            error => Self::new(code(&error), error.to_string()),
        }
    }
}

impl Error {
    /// A field that must be there and is not.
    pub(crate) fn missing(field: &str) -> Self {
        Self::Invalid(format!("{field} is missing"))
    }
}
