//! The texts of all VGs, each read once and only when it is a new one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Reader;
use crate::cmd::Runner;
use crate::lvm::describe::Unsure;
use crate::lvm::devices::{Scan, read_text};
use crate::lvm::gather::{TextKey, Texts};
use crate::lvm::label::{Area, CommitKey};
use crate::lvm::metadata::Group;

/// How often a text with a wrong checksum is read: it may have been torn.
const READS: usize = 3;

/// What was read of each device and commit. The location moves with every commit, so what
/// is known of one stays true.
pub(super) type Known = HashMap<(PathBuf, CommitKey), Arc<Group>>;

/// A text to read.
#[derive(Debug, Clone)]
struct Wanted {
    path: PathBuf,
    area: Area,
    key: CommitKey,
}

impl<R: Runner> Reader<R> {
    /// The texts of `scan`, and what is known from now on.
    pub(super) async fn texts(&self, scan: &Scan, known: Option<&Known>) -> (Texts, Known) {
        let mut wanted: Vec<(TextKey, Wanted)> = Vec::new();
        for device in &scan.labelled {
            for (area, key) in device.label.mdas.iter().zip(&device.keys) {
                let Some((size, crc)) = key.text() else {
                    continue;
                };
                let name = (device.rank, size, crc);
                if !wanted.iter().any(|(known, _)| *known == name) {
                    let text = Wanted {
                        path: device.path.clone(),
                        area: *area,
                        key: *key,
                    };
                    wanted.push((name, text));
                }
            }
        }
        let (mut texts, mut kept) = (Texts::new(), Known::new());
        let mut new = Vec::new();
        for (name, text) in wanted {
            let id = (text.path.clone(), text.key);
            match known.and_then(|known| known.get(&id)) {
                Some(group) => {
                    texts.insert(name, Ok(group.clone()));
                    kept.insert(id, group.clone());
                }
                None => new.push((name, text)),
            }
        }
        if new.is_empty() {
            return (texts, kept);
        }
        let hangs = |error: crate::patience::NoAnswer| Err(Unsure::Unreadable(error.to_string()));
        let paths = |(_, text): &(TextKey, Wanted)| text.path.clone();
        let read = self
            .side_by_side(new.clone(), paths, |(_, text)| group(text), hangs)
            .await;
        for ((name, text), group) in new.into_iter().zip(read) {
            if let Ok(group) = &group {
                kept.insert((text.path, text.key), group.clone());
            }
            texts.insert(name, group);
        }
        (texts, kept)
    }
}

fn group(text: &Wanted) -> Result<Arc<Group>, Unsure> {
    let mut tries = 0;
    loop {
        tries += 1;
        match read_text(&text.path, text.area, &text.key) {
            Ok(bytes) => return Ok(Arc::new(Group::parse(&bytes)?)),
            Err(_) if tries < READS => {}
            Err(error) => return Err(Unsure::Unreadable(error.to_string())),
        }
    }
}
