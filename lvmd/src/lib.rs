//! lvmd: logical volumes of one node, over gRPC or in-process.
//!
//! From the bottom: [`cmd`] is the one door for processes, [`dm`] the one reader of
//! device-mapper, [`lvm`] says what LVM has. [`engine`] queues changes per VG and lets
//! state decide what they did. [`pool`] tells what a thin pool really is. [`volumes`] is the
//! domain: create, grow, snapshot, remove, list, heal; the CSI node calls it in-process.
//! [`service`] puts it on a socket with upstream's messages, [`status`] is the one table
//! of codes, [`run`] is the daemon. [`events`] hears what anybody changes; [`keeper`] then
//! looks, tells and heals. [`host`] says on health pages what the host allows.

pub mod args;
pub mod capacity;
pub mod cmd;
pub mod config;
pub mod dm;
pub mod engine;
pub mod events;
pub mod host;
pub mod keeper;
pub mod lvm;
pub mod metrics;
pub mod mountinfo;
pub mod names;
pub mod patience;
pub mod pool;
pub mod proto;
pub mod run;
pub mod runtime;
pub mod service;
pub mod status;
pub mod units;
pub mod volumes;

/// At most so many threads wait for devices; they are made when they are needed, which is when
/// devices hang.
const BLOCKING_THREADS: usize = 256;

/// Runs lvmd on a runtime of its own: two workers are plenty, and each costs memory.
///
/// # Errors
/// See [`run::run`].
pub fn main(cli: args::Cli) -> anyhow::Result<()> {
    runtime::memory::two_arenas();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let result = runtime.block_on(run::run(cli));
    // A thread that sleeps on a device that hangs is not waited for.
    runtime.shutdown_background();
    result
}
