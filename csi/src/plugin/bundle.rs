//! `support-bundle`: what somebody else needs to see what is wrong, in one file.
//!
//! [`mask`] takes out what is nobody's business; [`collect`] says what is read. What could not be had is said
//! in the index, with the reason. Size and time are bounded.

pub mod collect;
pub mod mask;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use lvmd::units::Bytes;
use serde::Serialize;

use super::table::{Row, size};

/// The most of one file of the bundle, in bytes: its end is kept.
pub const FILE_MAX: usize = 4 << 20;
/// The most of all files together, in bytes, before they are packed.
pub const BUNDLE_MAX: usize = 128 << 20;

/// What a person asks for.
#[derive(Debug, clap::Args)]
pub struct Wish {
    /// The file to write; one that is there is left alone
    #[arg(long, value_name = "FILE", default_value = "topolvm-support.tar.gz")]
    pub file: PathBuf,
    /// How many of the last lines of each log
    #[arg(long, value_name = "NUMBER", default_value_t = 2000, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub lines: i64,
    /// With LVM's descriptions of the volume groups, which are in Secrets: names of disks and volumes, no data
    #[arg(long)]
    pub with_backups: bool,
}

/// A line of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The file in the bundle, or what would have been one.
    pub file: String,
    /// Its size in bytes; `None` if it could not be had.
    pub size_bytes: Option<usize>,
    /// What is cut off of it, or why it is not there.
    pub note: String,
}

impl Row for Entry {
    const COLUMNS: &'static [&'static str] = &["FILE", "SIZE", "NOTE"];

    fn cells(&self) -> Vec<String> {
        let bytes = self.size_bytes.map(|bytes| size(Bytes(bytes as u64)));
        vec![
            self.file.clone(),
            bytes.unwrap_or_else(|| "missing".to_owned()),
            self.note.clone(),
        ]
    }
}

/// What was collected.
#[derive(Debug, Default)]
pub struct Bundle {
    files: Vec<(String, Vec<u8>)>,
    index: Vec<Entry>,
    total: usize,
}

impl Bundle {
    /// Adds a file, its end if it is too large.
    pub fn add(&mut self, file: impl Into<String>, content: impl Into<Vec<u8>>) {
        let (file, mut content) = (file.into(), content.into());
        let mut note = String::new();
        if content.len() > FILE_MAX {
            note = format!("the last {FILE_MAX} of {} bytes", content.len());
            content.drain(..content.len() - FILE_MAX);
        }
        if self.total + content.len() > BUNDLE_MAX {
            return self.miss(file, format!("the bundle has {BUNDLE_MAX} bytes already"));
        }
        self.total += content.len();
        self.index.push(Entry {
            file: file.clone(),
            size_bytes: Some(content.len()),
            note,
        });
        self.files.push((file, content));
    }

    /// Says of something why it is not there.
    pub fn miss(&mut self, file: impl Into<String>, why: impl Into<String>) {
        self.index.push(Entry {
            file: file.into(),
            size_bytes: None,
            note: why.into(),
        });
    }

    /// Adds what could be had, or says why not.
    pub fn tell(&mut self, file: &str, had: anyhow::Result<String>) {
        match had {
            Ok(text) => self.add(file, text),
            Err(error) => self.miss(file, format!("{error:#}")),
        }
    }

    /// What is in it.
    pub fn index(&self) -> &[Entry] {
        &self.index
    }

    /// The first file: what is in the bundle, what is not and why, and what was taken out.
    fn index_text(&self) -> String {
        let mut text = String::from(
            "What kubectl topolvm support-bundle collected. Taken out: the data of Secrets, values of variables and arguments\n\
             whose names speak of tokens, keys and passwords, annotations of Nodes that are not the driver's, managed fields.\n\
             Logs are as the programs wrote them: look through them before you hand this on.\n\n",
        );
        for entry in &self.index {
            let [file, size, note] = [0, 1, 2].map(|at| entry.cells()[at].clone());
            text.push_str(format!("{size:>9}  {file}  {note}").trim_end());
            text.push('\n');
        }
        text
    }

    /// Packs it, below a folder of this name.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn pack(&self, folder: &str, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::default()));
        let index = ("index.txt".to_owned(), self.index_text().into_bytes());
        for (name, content) in std::iter::once(&index).chain(&self.files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            tar.append_data(
                &mut header,
                Path::new(folder).join(name),
                content.as_slice(),
            )?;
        }
        tar.into_inner()?.finish()?.flush()
    }

    /// Writes it to a new file that only its owner reads.
    ///
    /// # Errors
    /// It cannot be written; there is a file of that name.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let folder = name.trim_end_matches(".gz").trim_end_matches(".tar");
        let new = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file);
        let new = new.with_context(|| format!("cannot make {}", file.display()))?;
        self.pack(folder, &new)
            .and_then(|()| new.sync_all())
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn unpacked(bundle: &Bundle) -> Vec<(String, String)> {
        let mut packed = Vec::new();
        bundle.pack("b", &mut packed).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let read = |entry: io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (path, text)
        };
        tar.entries().unwrap().map(read).collect()
    }

    #[test]
    fn what_is_missing_is_in_the_index_with_its_reason() {
        let mut bundle = Bundle::default();
        bundle.tell("nodes.txt", Ok("text".to_owned()));
        bundle.tell("disks.txt", Err(anyhow::anyhow!("no such kind")));
        let files = unpacked(&bundle);
        assert_eq!(files[0].0, "b/index.txt");
        assert_eq!(files[1], ("b/nodes.txt".to_owned(), "text".to_owned()));
        assert_eq!(files.len(), 2);
        assert!(
            files[0].1.contains("        4  nodes.txt\n"),
            "{}",
            files[0].1
        );
        assert!(
            files[0].1.contains("  missing  disks.txt  no such kind\n"),
            "{}",
            files[0].1
        );
    }

    #[test]
    fn neither_a_file_nor_all_of_them_grow_without_bound() {
        let mut bundle = Bundle::default();
        let mut large = vec![b'a'; FILE_MAX + 7];
        large.push(b'z');
        for number in 0..40 {
            bundle.add(format!("{number}.log"), large.clone());
        }
        assert_eq!(bundle.files.len(), BUNDLE_MAX / FILE_MAX);
        let sizes: usize = bundle.files.iter().map(|(_, content)| content.len()).sum();
        assert!(sizes <= BUNDLE_MAX);
        assert_eq!(bundle.files[0].1.last(), Some(&b'z'), "its end is kept");
        assert!(bundle.index[0].note.starts_with("the last"));
        assert!(bundle.index[39].size_bytes.is_none());
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar.gz");
        Bundle::default().write(&file).unwrap();
        let before = std::fs::read(&file).unwrap();
        assert!(Bundle::default().write(&file).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}
