//! `disk-watcher`: see the library.

use clap::Parser;

fn main() -> anyhow::Result<std::process::ExitCode> {
    disk_watcher::args::run(disk_watcher::args::Cli::parse())
}
