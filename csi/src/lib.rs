//! One binary for every program of a TopoLVM cluster.
//!
//! `hypertopolvm` looks at the name it was called by, as upstream's does: the image has
//! a link to it for each program, so manifests and chart values need no change.

pub mod multicall;
