//! One binary for every program of a TopoLVM cluster.
//!
//! `hypertopolvm` looks at the name it was called by, as upstream's does: the image has
//! a link to it for each program, so manifests and chart values need no change.
//!
//! The CSI driver: [`size`], [`capability`], [`topology`], [`parameters`] and
//! [`filesystem`] are its rules; [`controller`] and [`node`] are the services that apply
//! them; a [`store`] is what the controller keeps volumes in, [`standalone`] the one of
//! LVM tags, [`kubernetes`] the one of LogicalVolume objects; [`remote`] is an lvmd in
//! another process; [`registration`] tells the kubelet; [`webhook`] tells the scheduler extender what pods want; [`calls`]
//! counts what is asked; [`run`] starts it all.
//!
//! [`plugin`] is `kubectl topolvm`, which only reads from the API server.

pub mod args;
pub mod calls;
pub mod capability;
mod condition;
pub mod controller;
pub mod deadline;
pub mod error;
pub mod filesystem;
pub mod identity;
pub mod kubernetes;
pub mod locks;
pub mod multicall;
pub mod node;
pub mod parameters;
pub mod plugin;
pub mod proto;
pub mod registration;
pub mod remote;
pub mod run;
pub mod size;
pub mod standalone;
pub mod store;
pub mod topology;
pub mod webhook;
