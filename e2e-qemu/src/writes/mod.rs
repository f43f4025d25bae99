//! The writes of a guest to its disks, as they were recorded below it, and the disks that a power cut between, in or
//! among them leaves.

pub mod image;
pub mod log;
pub mod states;

pub use image::Image;
pub use log::{Entry, Log, LogError};
pub use states::{Cut, State};
