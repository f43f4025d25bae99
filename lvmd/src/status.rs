//! The one table from domain errors to gRPC codes.
//!
//! The rule behind it: NotFound from RemoveLV means "shown not to exist" and nothing
//! else, because callers drop their record of the volume on it; what may work later by
//! itself is Unavailable, or Aborted while it is at work; what needs a human is FailedPrecondition; and what does not
//! fit is ResourceExhausted, so that the scheduler tries another node.

use tonic::{Code, Status};

use crate::engine::EngineError;
use crate::volumes::VolumeError;

/// The gRPC code of a domain error.
pub fn code(error: &VolumeError) -> Code {
    match error {
        VolumeError::UnknownClass(_)
        | VolumeError::VolumeMissing { .. }
        | VolumeError::SourceMissing { .. } => Code::NotFound,
        VolumeError::InvalidName(_)
        | VolumeError::InvalidArgument(_)
        | VolumeError::UnknownOptionClass(_) => Code::InvalidArgument,
        VolumeError::NoSpace { .. } => Code::ResourceExhausted,
        VolumeError::Exists { .. } => Code::AlreadyExists,
        VolumeError::ThickSnapshot(_) => Code::Unimplemented,
        VolumeError::Copying { .. } | VolumeError::BeingCopied { .. } => Code::Aborted,
        VolumeError::SmallerThanSource { .. } => Code::OutOfRange,
        VolumeError::RemovalWithoutClass { .. }
        | VolumeError::OtherClass { .. }
        | VolumeError::Twice { .. }
        | VolumeError::Unlisted { .. }
        | VolumeError::InUse { .. }
        | VolumeError::NotGrowable { .. }
        | VolumeError::CopyLost { .. }
        | VolumeError::PoolUnusable { .. }
        | VolumeError::LockDir(_)
        | VolumeError::Engine(EngineError::Frozen { .. }) => Code::FailedPrecondition,
        VolumeError::Engine(EngineError::Missing(_) | EngineError::Read(_))
        | VolumeError::PoolMissing { .. }
        | VolumeError::Moving { .. }
        | VolumeError::Locked { .. }
        | VolumeError::Mapper(_) => Code::Unavailable,
        VolumeError::Failed { .. } | VolumeError::Unverified { .. } => Code::Internal,
    }
}

/// The name of a gRPC code as Go has it, and so metrics everywhere.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

impl From<VolumeError> for Status {
    fn from(error: VolumeError) -> Self {
        Status::new(code(&error), chain(&error))
    }
}

/// The error and its sources, once each.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
