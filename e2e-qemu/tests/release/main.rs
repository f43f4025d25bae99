//! A release, held to a real registry, to Helm, to Talos' imager, and to SPDX's own reader.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod imager;
mod pushed;
mod registry;
mod twice;
mod whole;
mod workflow;
