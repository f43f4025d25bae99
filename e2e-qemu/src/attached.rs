//! A disk of a guest.

use std::path::{Path, PathBuf};

use crate::spec::{Bus, Disk};

/// A disk of a guest, as [`Guest::plug`](crate::Guest::plug) returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    slot: usize,
    name: String,
    image: PathBuf,
    disk: Disk,
}

impl Attached {
    pub(crate) fn new(slot: usize, name: &str, image: impl Into<PathBuf>, disk: Disk) -> Self {
        Self {
            slot,
            name: name.to_owned(),
            image: image.into(),
            disk,
        }
    }

    /// Its device in the guest, for example `/dev/ubda`. Another boot may give it another one.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// Its name in the guest's /sys/block.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its image on the host, for looking into it.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Its size in bytes, as it was asked for.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.disk.size
    }

    /// The serial number it shows; a user-mode kernel's disk shows none.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.disk.serial.as_deref()
    }

    /// The world wide name it shows, if it was given one.
    #[must_use]
    pub fn wwn(&self) -> Option<u64> {
        self.disk.wwn
    }

    /// How it is attached.
    #[must_use]
    pub fn bus(&self) -> Bus {
        self.disk.bus
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// The same disk, whatever it is called at the moment.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.slot == other.slot && self.disk == other.disk
    }
}
