//! Several lvm commands in one process.
//!
//! `lvm FILE` runs the lines of a file in order and ends at the first that fails, with its
//! exit code (lvm2 `tools/lvmcmdline.c`, `_run_script`). That saves a process and keeps the
//! second command from running after a first that failed, which lvm's shell would do.
//!
//! No line says `--devices`: lvm 2.03.31 goes on using the list of the line before, which is
//! freed (`device_ids_match_device_list`; seen as SIGSEGV). A filter in lvm.conf says it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// A line is read into 256 bytes, end of line and of string counted, and 2.03.31 takes one
/// that fills them for one that is longer.
const LONGEST: usize = 253;
/// lvm splits a line into at most 64 words.
const MOST_WORDS: usize = 63;

/// The file's text; `None` when a line cannot be said in one.
pub(super) fn render(commands: &[Vec<String>]) -> Option<String> {
    let mut text = "#!lvm\n".to_owned();
    for words in commands {
        let line = words.join(" ");
        // Quotes and blanks would need escapes, which lvm does not have; from a # on the
        // line is a comment.
        let plain = |word: &String| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !b"'\"#".contains(&b))
        };
        if line.len() > LONGEST || words.len() > MOST_WORDS || !words.iter().all(plain) {
            return None;
        }
        text.push_str(&line);
        text.push('\n');
    }
    Some(text)
}

/// A file of commands for one process; it goes when this is dropped.
///
/// Its name is used once: an lvm that is late to open its file, of another lvmd on this VG,
/// must never run commands a second time. By then the name in them may be a new volume's.
#[derive(Debug)]
pub struct Script(PathBuf);

impl Script {
    pub(super) fn create(dir: &Path, verb: &str, text: &str) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Two containers may have the same process ids.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = now.map_or(0, |now| now.as_nanos());
        let path = dir.join(format!("{verb}.{pid}.{n}.{nanos}"));
        let mut file = fs::File::create_new(&path)?;
        let script = Self(path);
        file.write_all(text.as_bytes())?;
        Ok(script)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It lies on a tmpfs, and nobody looks for it.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lvm_would_read_otherwise_is_not_said_in_a_file() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            render(&[words("lvcreate -n a vg"), words("lvchange vg/a")]).unwrap(),
            "#!lvm\nlvcreate -n a vg\nlvchange vg/a\n"
        );
        let line = |bytes: usize| render(&[vec!["x".repeat(bytes)]]);
        assert!(line(253).is_some() && line(254).is_none());
        assert!(render(&[vec!["x".into(); 63]]).is_some());
        assert!(render(&[vec!["x".into(); 64]]).is_none());
        for word in [
            "",
            "a b",
            "#tag",
            "it's",
            "a\"b",
            "tab\t",
            "ü",
            "a\nlvremove",
        ] {
            assert!(render(&[vec![word.into()]]).is_none(), "{word:?}");
        }
    }
}
