//! `lvmd`: see the library.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    lvmd::main(lvmd::args::Cli::parse())
}
