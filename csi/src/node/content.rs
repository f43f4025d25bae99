//! What is on a device, asked before anything is written to it.
//!
//! A volume gets a file system only if it is shown to be blank: its beginning and its end
//! can be read, blkid finds nothing, and what must be zero is. blkid alone would not do:
//! it says "nothing" also of a device it could not read. Whatever cannot be told is a no.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use lvmd::cmd::{Cmd, CmdError, Runner, find_program};

use super::device::Open;
use crate::error::Error;

/// How much of the beginning and the end is read.
pub(super) const EDGE: usize = 1 << 20;
/// How much of the beginning of every new volume is zero: lvmd has lvcreate clear it.
const CLEARED: usize = 4096;
/// blkid's exit code for "nothing found".
const NOTHING: i32 = 2;

/// What a device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Shown to be nothing.
    Blank,
    /// What blkid calls it: a file system, or something else that is somebody's.
    Known(String),
    /// Bytes that nobody knows.
    Unknown(&'static str),
}

/// A look at a device.
#[derive(Debug)]
pub(super) struct Look {
    /// What it has.
    pub(super) content: Content,
    /// The UUID blkid reads.
    pub(super) uuid: Option<String>,
    /// Its beginning.
    pub(super) first: Vec<u8>,
}

/// Looks at a device.
///
/// # Errors
/// It cannot be read, or blkid cannot be asked or cannot tell.
pub(super) async fn look<R: Runner>(
    runner: &R,
    device: &Open,
    is_thin: bool,
) -> Result<Look, Error> {
    let file = device
        .file
        .try_clone()
        .map_err(|error| unreadable(device, &error))?;
    let read = tokio::task::spawn_blocking(move || edges(&file)).await;
    let edges = read
        .map_err(|error| Error::Internal(error.to_string()))?
        .map_err(|error| unreadable(device, &error))?;
    let blkid = Cmd::new(find_program("blkid").map_err(failed)?)
        .args(["-p", "-o", "export"])
        .arg(&device.path);
    let (content, uuid) = match runner.run(blkid).await {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let uuid = value(&text, "UUID").map(str::to_owned);
            (Content::Known(kind(&text)), uuid)
        }
        Err(CmdError::Failed { code: NOTHING, .. }) => (edges.judge(is_thin), None),
        Err(error) => {
            return Err(Error::Internal(format!(
                "what is on {} cannot be told, so nothing is written to it: {error}",
                device.name()
            )));
        }
    };
    Ok(Look {
        content,
        uuid,
        first: edges.first,
    })
}

fn unreadable(device: &Open, error: &io::Error) -> Error {
    Error::Internal(format!(
        "{} cannot be read, so nothing is written to it: {error}",
        device.name()
    ))
}

fn failed(error: CmdError) -> Error {
    Error::Internal(error.to_string())
}

/// The first and the last part of a device.
struct Edges {
    first: Vec<u8>,
    last: Vec<u8>,
}

fn edges(file: &File) -> io::Result<Edges> {
    let size = super::device::size(file)?;
    let length = usize::try_from(size).unwrap_or(EDGE).min(EDGE);
    let mut first = vec![0; length];
    let mut last = vec![0; length];
    file.read_exact_at(&mut first, 0)?;
    file.read_exact_at(&mut last, size - u64::try_from(length).unwrap_or(size))?;
    Ok(Edges { first, last })
}

impl Edges {
    /// What blkid did not know. What was never written of a thin volume reads as zeroes, and lvcreate writes nothing to a
    /// new one, whether its pool zeroes new chunks or not; so a blank volume is all zero. Of a thick one only the beginning is
    /// cleared.
    fn judge(&self, is_thin: bool) -> Content {
        let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let cleared = if is_thin {
            self.first.len()
        } else {
            CLEARED.min(self.first.len())
        };
        if !zero(&self.first[..cleared]) {
            Content::Unknown("its beginning has data that blkid does not know")
        } else if is_thin && !zero(&self.last) {
            Content::Unknown("its end has data that blkid does not know")
        } else {
            Content::Blank
        }
    }
}

/// A value of blkid's `export` output.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// What blkid's `export` output calls it.
fn kind(text: &str) -> String {
    match (value(text, "TYPE"), value(text, "PTTYPE")) {
        (Some(kind), _) => kind.to_owned(),
        (None, Some(table)) => format!("a partition table ({table})"),
        (None, None) => "something blkid has no name for".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_not_blank() {
        let edges = |first: usize, last: usize| {
            let mut edges = Edges {
                first: vec![0; EDGE],
                last: vec![0; EDGE],
            };
            edges.first[first] = 1;
            edges.last[last] = u8::from(last > 0);
            edges
        };
        let blank = Edges {
            first: vec![0; EDGE],
            last: vec![0; EDGE],
        };
        assert_eq!(blank.judge(true), Content::Blank);
        assert!(matches!(
            edges(EDGE - 1, 0).judge(true),
            Content::Unknown(_)
        ));
        assert!(matches!(edges(4095, 0).judge(false), Content::Unknown(_)));
        assert_eq!(
            edges(4096, 9).judge(false),
            Content::Blank,
            "a former tenant's data, behind what is cleared"
        );
        let mut end = blank;
        end.last[5] = 1;
        assert!(matches!(end.judge(true), Content::Unknown(_)));
        let small = Edges {
            first: vec![],
            last: vec![],
        };
        assert_eq!(small.judge(false), Content::Blank);
    }

    #[test]
    fn blkids_words_are_read() {
        assert_eq!(
            kind("DEVNAME=/dev/dm-1\nUUID=x\nTYPE=xfs\nUSAGE=filesystem\n"),
            "xfs"
        );
        assert_eq!(kind("PTTYPE=gpt\n"), "a partition table (gpt)");
        assert_eq!(
            kind("DEVNAME=/dev/dm-1\n"),
            "something blkid has no name for"
        );
    }
}
