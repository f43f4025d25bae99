//! disk-watcher: takes bare disks to volume groups, and only those that are proven
//! safe and wanted.
//!
//! How it flows. [`events`] says that something happened to a disk and lists udev's
//! records; [`facts`] reads what sysfs and proc know of it and of who uses the host's
//! disks; [`busy`] claims it while it is read, and [`probe`] finds what lies on it. [`rules`] judges all that, with the
//! classes of [`config`] that [`select`] it, into reasons and a verdict; [`identity`]
//! makes sure, directly before the first write, that it still is the disk that was
//! judged. [`status`] shows it.
//!
//! [`pass`] goes through all of it once; [`daemon`] does so whenever something happened.
//! What a class may have is claimed in the [`journal`] first; [`resume`] decides from
//! journal and disks what comes next, [`commands`] and [`geometry`] say how, and
//! [`apply`] does one step and looks at what it did.
//!
//! [`partition`] makes disks of the partitions that a class selects, which are judged like any.
//!
//! [`removal`] decides in the same way for a disk that is to leave.
//!
//! `activation`, `config`, `select`, `rules`, `resume`, `leftover`, `removal`, `wipe`, `commands`, `geometry` and `status` are pure. What cannot be read or
//! understood is unknown, and unknown means no.

pub mod activation;
pub mod apply;
pub mod args;
pub mod backup;
pub mod busy;
pub mod commands;
pub mod compat;
pub mod config;
pub mod content;
pub mod copies;
pub mod daemon;
pub mod events;
pub mod extend;
pub mod facts;
pub mod files;
pub mod geometry;
pub mod identity;
pub mod journal;
pub mod kubernetes;
pub mod labels;
pub mod leftover;
pub mod metrics;
pub mod native;
pub mod node;
pub mod partition;
pub mod pass;
pub mod pattern;
pub mod pools;
pub mod probe;
pub mod removal;
pub mod resume;
pub mod rules;
pub mod select;
pub mod status;
pub mod thin_check;
pub mod wipe;
pub mod wreck;
