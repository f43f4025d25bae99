//! What udev's database says about block devices, as data.
//!
//! It is filled by [`crate::events::list`], through libudev, whose files these are.

use std::collections::BTreeMap;

use serde::Serialize;

/// udev's record of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UdevRecord {
    /// Whether udev's rules have run for it; until then the rest is not to be believed.
    pub initialized: bool,
    /// Its links under `/dev`, absolute, sorted.
    pub links: Vec<String>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
}

impl UdevRecord {
    /// A property that is there and not empty, without the white space around it.
    pub fn property(&self, key: &str) -> Option<&str> {
        let value = self.properties.get(key)?.trim();
        (!value.is_empty()).then_some(value)
    }
}

/// udev's database of block devices, partitions included, by kernel name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UdevDb {
    /// Whether udevd runs here; if not, no record will ever be initialized.
    pub running: bool,
    /// The records.
    pub records: BTreeMap<String, UdevRecord>,
}

impl UdevDb {
    /// The record of a device; an empty one that is not initialized where there is none.
    pub fn record(&self, name: &str) -> UdevRecord {
        self.records.get(name).cloned().unwrap_or_default()
    }
}
