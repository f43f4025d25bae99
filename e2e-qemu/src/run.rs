//! `e2e-qemu run`: one command in one guest.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use e2e_qemu::{Backend, Command, Disk, Guest, Spec, find_workspace, suite};
use extension::progress::Step;

use crate::args::exit_code;

/// What to run and in what guest.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// What runs the guest's kernel.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// One more empty disk of this size: bytes, or with K, M, G, T. $BASALT_DISKS lists the devices.
    #[arg(long = "disk", value_name = "SIZE", value_parser = parse_size)]
    disks: Vec<u64>,
    /// One more SCSI disk of this many MiB, made up by the guest's kernel, with serial number and WWN. All have the
    /// same size. $BASALT_SCSI_DISKS lists the devices.
    #[arg(long = "scsi-debug", value_name = "MIB")]
    scsi_disks: Vec<u32>,
    /// The guest's memory in MiB.
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    memory: u32,
    /// The guest's processors; only a virtual machine has more than one.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    processors: u8,
    /// A host folder to share, writable, at the same path. The workspace is there read-only anyway.
    #[arg(long = "share", value_name = "DIR")]
    shares: Vec<PathBuf>,
    /// An existing tap device for the guest's network interface.
    #[arg(long, value_name = "INTERFACE")]
    tap: Option<String>,
    /// After how many seconds the command is killed.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    timeout: u64,
    /// A variable for the command.
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = parse_pair)]
    env: Vec<(String, String)>,
    /// Where the command runs; the current folder if the guest has it, else /.
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Keeps the console's log in this file.
    #[arg(long, value_name = "FILE")]
    console: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            backend,
            disks,
            scsi_disks,
            memory,
            processors,
            shares,
            tap,
            timeout,
            env,
            cwd,
            console,
            command,
        } = self;
        let here = std::env::current_dir()?;
        let has_here =
            find_workspace(&here).is_some() || shares.iter().any(|share| here.starts_with(share));
        let cwd = cwd.or_else(|| has_here.then_some(here));
        let mut spec = Spec::new(backend).memory_mib(memory).processors(processors);
        for size in disks {
            spec = spec.disk(Disk::new(size));
        }
        for share in shares {
            spec = spec.share(share);
        }
        if let Some(tap) = tap {
            spec = spec.tap(tap);
        }
        if let Some(console) = console {
            spec = spec.console(std::path::absolute(console)?);
        }
        let step = Step::start(format!("booting a {backend} guest"));
        let guest = Guest::boot(spec)?;
        let scsi_disks: Result<Vec<String>, _> = scsi_disks
            .into_iter()
            .map(|mib| guest.plug_scsi_debug(mib))
            .collect();
        step.done();

        let (program, args) = command.split_first().expect("clap asks for at least one");
        let mut command = Command::new(program)
            .args(args)
            .env("BASALT_DISKS", suite::disk_list(&guest))
            .env("BASALT_SCSI_DISKS", scsi_disks?.join(","))
            .timeout(Duration::from_secs(timeout))
            .inherit();
        if let Some(cwd) = cwd {
            command = command.cwd(cwd);
        }
        for (key, value) in env {
            command = command.env(key, value);
        }
        let output = guest.run(command)?;
        Ok(exit_code(output.status.shell_code()))
    }
}

/// `512M` and the like, in powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim_end_matches("iB");
    let (number, shift) = match text.char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let shift = match unit.to_ascii_uppercase() {
                'K' => 10,
                'M' => 20,
                'G' => 30,
                'T' => 40,
                _ => return Err(format!("unknown unit {unit}")),
            };
            (&text[..at], shift)
        }
        _ => (text, 0),
    };
    let number: u64 = number.parse().map_err(|error| format!("{error}"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "too large".to_owned())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("7", 7),
            ("512M", 512 << 20),
            ("1GiB", 1 << 30),
            ("2k", 2048),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1X", "-1", "99999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(parse_pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(parse_pair("A").is_err());
    }
}
