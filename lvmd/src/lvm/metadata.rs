//! A VG's text metadata as it lies on its PVs, read without LVM. Pure.
//!
//! [`ring`] finds the committed text in a metadata area and checks it, [`config`] reads
//! its grammar, [`group`] gives it types. Nothing here guesses: what is not known is an
//! error, and whoever meets it asks lvm instead.

pub mod config;
pub mod group;
pub mod ring;

#[cfg(test)]
mod tests;

pub use group::Group;

/// Why a VG's metadata is not understood here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The place of the text lies outside its area.
    #[error(
        "the committed location (offset {offset}, {size} bytes) is not inside its metadata area"
    )]
    Place {
        /// Offset from the area's start, in bytes.
        offset: u64,
        /// Length in bytes.
        size: u64,
    },
    /// The text is not what its checksum says: a torn read or a damaged disk.
    #[error("the metadata has a wrong checksum")]
    Checksum,
    /// The text breaks LVM's grammar, or uses a part of it that LVM never writes.
    #[error("the metadata cannot be read at byte {at}: {what}")]
    Syntax {
        /// Offset in the text, in bytes.
        at: usize,
        /// What was found.
        what: &'static str,
    },
    /// A value is missing or is not of its kind.
    #[error("the metadata of {object} has no usable {field}")]
    Field {
        /// The VG, PV, LV or segment.
        object: String,
        /// The name of the value.
        field: &'static str,
    },
    /// A value or flag that this program was not taught.
    #[error("the metadata of {object} has {what:?}, which is not known here")]
    Unknown {
        /// The VG, PV, LV or segment.
        object: String,
        /// Its name.
        what: String,
    },
}
