//! disk-watcher: takes bare disks to volume groups, and only those that are proven
//! safe and wanted.

pub mod busy;
pub mod config;
pub mod events;
pub mod facts;
pub mod identity;
pub mod pattern;
pub mod rules;
pub mod select;
pub mod status;
