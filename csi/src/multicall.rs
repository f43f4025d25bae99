//! Which program to be.

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

/// The programs, with what each does.
const PROGRAMS: [(Program, &str, &str); 6] = [
    (
        Program::Lvmd,
        "lvmd",
        "manages logical volumes, asked over gRPC",
    ),
    (
        Program::Scheduler,
        "topolvm-scheduler",
        "filters and scores nodes for kube-scheduler",
    ),
    (
        Program::Controller,
        "topolvm-controller",
        "the CSI controller",
    ),
    (Program::Node, "topolvm-node", "the CSI node"),
    (
        Program::LivenessProbe,
        "livenessprobe",
        "serves a CSI driver's health over HTTP",
    ),
    (
        Program::Registrar,
        "csi-node-driver-registrar",
        "tells the kubelet about the CSI node",
    ),
];

/// A program this binary can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// lvmd.
    Lvmd,
    /// The scheduler extender.
    Scheduler,
    /// The CSI controller.
    Controller,
    /// The CSI node.
    Node,
    /// The liveness probe of CSI drivers.
    LivenessProbe,
    /// The registrar of CSI nodes.
    Registrar,
}

impl Program {
    fn named(name: &str) -> Option<Self> {
        let known = PROGRAMS.iter().find(|(_, known, _)| *known == name);
        known.map(|(program, ..)| *program)
    }

    /// The program `args` ask for, with its arguments (its name first): by the name the
    /// binary was called by, else by the first argument.
    pub fn choose(args: &[OsString]) -> Option<(Self, Vec<OsString>)> {
        for at in [0, 1] {
            let word = args.get(at)?;
            let name = Path::new(word).file_name()?.to_str()?;
            // As an argument it is a name, not a path.
            let bare = at == 0 || word.to_str() == Some(name);
            if let Some(program) = Self::named(name).filter(|_| bare) {
                return Some((program, args[at..].to_vec()));
            }
        }
        None
    }
}

/// Is the program `args` (the whole command line) ask for. Exit code 1 when it fails or
/// when there is none, with the reason on stderr.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let Some((program, args)) = Program::choose(&args) else {
        eprint!("{}", usage());
        return ExitCode::FAILURE;
    };
    match start(program, args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(program: Program, args: Vec<OsString>) -> anyhow::Result<ExitCode> {
    match program {
        Program::Lvmd => with_arguments(args, lvmd::main),
        Program::Scheduler => with_arguments(args, |cli| on_one_thread(scheduler::run(cli))),
        Program::Node => with_arguments(args, |cli| block_on(crate::run::node(cli))),
        Program::Controller => with_arguments(args, |cli| block_on(crate::run::controller(cli))),
        Program::LivenessProbe | Program::Registrar => {
            let name = PROGRAMS.iter().find(|(p, ..)| *p == program);
            let name = name.map_or("this program", |(_, name, _)| name);
            bail!("{name} is not built yet in this version")
        }
    }
}

fn usage() -> String {
    let mut text = "Usage: hypertopolvm PROGRAM [ARGUMENT]...\n\nPrograms:\n".to_owned();
    for (_, name, does) in PROGRAMS {
        text.push_str(&format!("  {name:<26}{does}\n"));
    }
    text
}

/// Runs `then` with the understood arguments. A command line that is not understood is
/// an error with code 1, as with upstream; `--help` and `--version` are none.
fn with_arguments<C: Parser>(
    args: Vec<OsString>,
    then: impl FnOnce(C) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    match C::try_parse_from(args) {
        Ok(cli) => then(cli).map(|()| ExitCode::SUCCESS),
        Err(words) => {
            words.print().context("cannot print")?;
            let failed = words.use_stderr();
            Ok(if failed {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    within(tokio::runtime::Builder::new_multi_thread(), work)
}

/// For a program of which one thing is asked at a time: to hand it to another thread takes longer than much of the work.
fn on_one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    within(tokio::runtime::Builder::new_current_thread(), work)
}

fn within(
    mut runtime: tokio::runtime::Builder,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    lvmd::runtime::memory::two_arenas();
    let runtime = runtime.enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(line: &str) -> Option<(Program, Vec<String>)> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let (program, args) = Program::choose(&args)?;
        let args = args.iter().map(|a| a.to_string_lossy().into_owned());
        Some((program, args.collect()))
    }

    #[test]
    fn a_program_is_chosen_by_link_or_by_argument() {
        for (line, program, args) in [
            ("/lvmd --config /c", Program::Lvmd, "/lvmd --config /c"),
            ("/hypertopolvm lvmd health", Program::Lvmd, "lvmd health"),
            (
                "hypertopolvm topolvm-scheduler",
                Program::Scheduler,
                "topolvm-scheduler",
            ),
            ("/topolvm-node lvmd", Program::Node, "/topolvm-node lvmd"),
            (
                "./csi-node-driver-registrar",
                Program::Registrar,
                "./csi-node-driver-registrar",
            ),
        ] {
            let args = args.split(' ').map(str::to_owned).collect();
            assert_eq!(choose(line), Some((program, args)), "{line}");
        }
        for line in [
            "hypertopolvm",
            "hypertopolvm --help",
            "hypertopolvm /lvmd",
            "x y",
            "/",
        ] {
            assert_eq!(choose(line), None, "{line}");
        }
    }

    #[test]
    fn a_program_that_is_not_built_says_so() {
        let error =
            start(Program::Registrar, vec!["csi-node-driver-registrar".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "csi-node-driver-registrar is not built yet in this version"
        );
    }

    #[test]
    fn the_usage_names_every_program() {
        let text = usage();
        assert!(
            PROGRAMS.iter().all(|(_, name, _)| text.contains(name)),
            "{text}"
        );
    }
}
