//! Whether a program finds what it needs to start.

use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::header::{EM_AARCH64, EM_X86_64};

use super::contents::Contents;
use super::finding::Rule;
use crate::closure::search_dirs;

/// A file, and the root it is seen in.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) contents: &'a Contents,
    pub(super) root: &'a Path,
    /// In the extension.
    pub(super) path: &'a Path,
}

/// Checks a file that is a program or a library.
pub(super) fn check(
    place: &Place,
    bytes: &[u8],
    architecture: &str,
    note: &mut impl FnMut(Rule, String),
) {
    let found = |path: &str| {
        place
            .contents
            .resolve(place.root, Path::new(path.trim_start_matches('/')))
            .is_some()
    };
    if let Some(rest) = bytes.strip_prefix(b"#!") {
        let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).trim().to_owned();
        let interpreter = line.split_whitespace().next().unwrap_or_default();
        if !found(interpreter) {
            note(
                Rule::Loader,
                format!("needs {interpreter:?}, which is not there"),
            );
        }
        return;
    }
    if !bytes.starts_with(b"\x7fELF") {
        return;
    }
    let elf = match Elf::parse(bytes) {
        Ok(elf) => elf,
        Err(error) => return note(Rule::Machine, format!("is a broken ELF file: {error}")),
    };
    let machine = match architecture {
        "arm64" => EM_AARCH64,
        _ => EM_X86_64,
    };
    if elf.header.e_machine != machine {
        let what = format!(
            "is for machine {}, not for {architecture}",
            elf.header.e_machine
        );
        return note(Rule::Machine, what);
    }
    if let Some(loader) = elf.interpreter
        && !found(loader)
    {
        note(Rule::Loader, format!("needs {loader}, which is not there"));
    }
    let path = place.path.strip_prefix(place.root).unwrap_or(place.path);
    let dirs = match search_dirs(&elf, path) {
        Ok(dirs) => dirs,
        Err(what) => return note(Rule::Machine, what),
    };
    for library in &elf.libraries {
        if !dirs.iter().any(|dir| found(&format!("{dir}/{library}"))) {
            note(
                Rule::Loader,
                format!("needs {library}, which is in none of {}", dirs.join(", ")),
            );
        }
    }
}
