//! Why a disk could not be looked at. To the caller each of these is a denial: unknown means no.

use std::io;

/// The disk could not be read to the extent the question needed. Never to be taken for "nothing there".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Size or sector size make no sense together, so no place on the disk can be computed.
    #[error(
        "geometry of {size_bytes} bytes in sectors of {logical_sector} bytes is not that of a disk"
    )]
    Geometry {
        /// Size as given, in bytes.
        size_bytes: u64,
        /// Logical sector as given, in bytes.
        logical_sector: u32,
    },
    /// The device refused a read (a bad sector, a device that is gone, ...).
    #[error("cannot read {length} bytes at byte {offset}")]
    Io {
        /// Byte the read began at.
        offset: u64,
        /// Bytes wanted.
        length: usize,
        /// What the device said.
        #[source]
        source: io::Error,
    },
    /// The reader ended before the size it was given with: the size is wrong or the disk has shrunk.
    #[error("disk ends at byte {ended}, before its size of {size_bytes} bytes")]
    Short {
        /// First byte that could not be had.
        ended: u64,
        /// Size as given, in bytes.
        size_bytes: u64,
    },
    /// One scan wanted more input than a scan may cause.
    #[error("scan wants more than {limit} bytes of input")]
    Budget {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The caller cancelled.
    #[error("cancelled at byte {offset}")]
    Cancelled {
        /// First byte that was not looked at.
        offset: u64,
    },
}
