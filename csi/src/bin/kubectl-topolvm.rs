//! `kubectl topolvm`. A program of its own, for it runs where a person is and not on nodes.

fn main() -> std::process::ExitCode {
    csi::plugin::main()
}
