//! What the tags of an LV say of the volume it is.

use std::time::{Duration, SystemTime};

use lvmd::names::{self, tag, tag_value};
use lvmd::units::Bytes;

use crate::store::{Kind, Source};

/// A volume's tags, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tags {
    /// The name it was asked for by.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: Kind,
    /// The size that was asked for.
    pub(super) asked: Bytes,
    /// What it was copied from.
    pub(super) source: Option<Source>,
    /// When it was made, in whole seconds.
    pub(super) created: SystemTime,
}

impl Tags {
    /// Reads an LV's tags; `None` on an LV that is not this driver's.
    pub(super) fn read(tags: &[String]) -> Option<Self> {
        let source = match tag_value(tags, names::TAG_SOURCE) {
            None => None,
            Some(text) => {
                let (kind, id) = text.split_once('/')?;
                Some(Source {
                    kind: kind_of(kind)?,
                    id: id.to_owned(),
                })
            }
        };
        let seconds = tag_value(tags, names::TAG_CREATED)?.parse().ok()?;
        Some(Self {
            name: decode(tag_value(tags, names::TAG_LV)?)?,
            kind: kind_of(tag_value(tags, names::TAG_KIND)?)?,
            asked: Bytes(tag_value(tags, names::TAG_SIZE)?.parse().ok()?),
            source,
            created: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?,
        })
    }

    /// As tags of an LV.
    pub(super) fn write(&self) -> Vec<String> {
        let seconds = self
            .created
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut tags = vec![
            tag(names::TAG_LV, &encode(&self.name)),
            tag(names::TAG_KIND, self.kind.name()),
            tag(names::TAG_SIZE, &self.asked.0.to_string()),
            tag(names::TAG_CREATED, &seconds.to_string()),
        ];
        if let Some(source) = &self.source {
            tags.push(tag(
                names::TAG_SOURCE,
                &format!("{}/{}", source.kind.name(), source.id),
            ));
        }
        tags
    }
}

fn kind_of(word: &str) -> Option<Kind> {
    [Kind::Volume, Kind::Snapshot]
        .into_iter()
        .find(|kind| kind.name() == word)
}

/// A name in letters LVM takes in a tag: others are written as `+` and their bytes in hex.
fn encode(name: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    let word = |byte: u8| {
        if plain(&byte) {
            char::from(byte).to_string()
        } else {
            format!("+{byte:02X}")
        }
    };
    name.bytes().map(word).collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'+' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_name_the_tags_are_lvms_and_say_it_again() {
        let tags = Tags {
            name: "pvc 1/ä+b".into(),
            kind: Kind::Volume,
            asked: Bytes(1 << 30),
            source: Some(Source {
                kind: Kind::Snapshot,
                id: "snap-1".into(),
            }),
            created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        };
        let written = tags.write();
        for tag in &written {
            lvmd::lvm::valid::tag(tag).unwrap();
        }
        assert_eq!(Tags::read(&written), Some(tags));
    }

    #[test]
    fn a_volume_of_somebody_else_is_not_taken_for_ours() {
        let some =
            |list: &[&str]| Tags::read(&list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(some(&[]), None);
        assert_eq!(some(&["basalt.lv=pvc-1", "basalt.pvc=a/b"]), None);
        assert_eq!(
            some(&[
                "basalt.lv=a+G",
                "basalt.kind=volume",
                "basalt.size=1",
                "basalt.created=1"
            ]),
            None
        );
    }
}
