//! disk-watcher
