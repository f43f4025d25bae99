//! `e2e-qemu`: guests for tests.

mod args;
mod bench;
mod cluster_command;
mod demo;
mod run;
mod test;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    args::Args::parse().run().unwrap_or_else(|error| {
        eprintln!("e2e-qemu: {error:#}");
        // Not a status that a command in a guest is likely to end with.
        ExitCode::from(125)
    })
}
