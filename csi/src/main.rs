use std::process::ExitCode;

fn main() -> ExitCode {
    csi::multicall::run(std::env::args_os().collect())
}
