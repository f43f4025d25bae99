//! The probes from outside, on images: nothing here needs root, a device or a tool.

mod aligned;
mod blank;
mod fingerprint;
mod fixtures;
mod gpt;
mod lvm;
mod property;
mod scan;
mod wreck;
