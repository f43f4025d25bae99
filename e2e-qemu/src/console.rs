//! The console's log of a guest.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// How much of it goes into an error, in lines.
const TAIL: usize = 25;

/// Opens the log for the machine to write to, at its end.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// All of it, as far as it is text.
pub(crate) fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\r', ""))
        .unwrap_or_default()
}

/// Its last lines.
pub(crate) fn tail(path: &Path) -> String {
    let text = read(path);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_tail_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/console.log");
        assert_eq!(tail(&path), "");
        let mut log = open(&path).unwrap();
        for n in 0..40 {
            write!(log, "line {n}\r\n").unwrap();
        }
        let tail = tail(&path);
        assert!(tail.starts_with("line 15\n") && tail.ends_with("line 39"));
    }
}
