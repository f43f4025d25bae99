//! disk-watcher

pub mod probe;
