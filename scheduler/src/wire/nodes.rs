//! Nodes of a question, as they came.

use std::borrow::Cow;

use super::seen::Following;
use super::{MOST, Metadata, TOO_MANY};
use crate::scan::{Malformed, Scanner};

/// A node, as it came.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// All of it.
    pub raw: &'a str,
    /// Where it begins, in bytes of the question.
    pub at: usize,
    /// Its metadata, of several the first; an error if it is no object, or its metadata is none of the expected form.
    pub metadata: Result<Cow<'a, Metadata<'a>>, Malformed>,
}

impl<'a> Node<'a> {
    fn read(scanner: &mut Scanner<'a>, seen: &mut Following<'a>) -> Result<Self, Malformed> {
        let at = scanner.position();
        let text = scanner.text();
        if let Some(known) = seen.find(text.as_bytes(), at) {
            scanner.go_to(at + known.length);
            return Ok(Self {
                raw: &text[at..][..known.length],
                at,
                metadata: Ok(Cow::Borrowed(&known.metadata)),
            });
        }
        let mut metadata = None;
        let raw = scanner.span(|scanner| match scanner.peek() {
            Some(b'{') => scanner.object(|scanner, key| {
                if metadata.is_none() && key.read()? == "metadata" {
                    metadata = Some(metadata_or_value(scanner)?);
                    return Ok(());
                }
                scanner.value()
            }),
            // Whether it matters that this is no node is not known yet.
            _ => {
                metadata = Some(Err(scanner.wrong("no object")));
                scanner.value()
            }
        })?;
        let metadata = metadata.unwrap_or_else(|| Ok(Metadata::default()));
        Ok(Self {
            raw,
            at,
            metadata: metadata.map(Cow::Owned),
        })
    }

    /// Its name, and what else is known of it.
    ///
    /// # Errors
    /// As of `metadata`.
    pub fn named(&self) -> Result<(Cow<'a, str>, &Metadata<'a>), &Malformed> {
        let metadata = self.metadata.as_ref()?;
        let name = match metadata {
            Cow::Borrowed(metadata) => Cow::Borrowed(&*metadata.name),
            Cow::Owned(metadata) => metadata.name.clone(),
        };
        Ok((name, metadata))
    }
}

/// Reads metadata; what is none has to be a value all the same.
fn metadata_or_value<'a>(
    scanner: &mut Scanner<'a>,
) -> Result<Result<Metadata<'a>, Malformed>, Malformed> {
    let from = scanner.position();
    let read = Metadata::read(scanner);
    if read.is_err() {
        scanner.go_to(from);
        scanner.value()?;
    }
    Ok(read)
}

/// Reads an array of nodes.
pub(super) fn read<'a>(
    scanner: &mut Scanner<'a>,
    seen: &mut Following<'a>,
) -> Result<Vec<Node<'a>>, Malformed> {
    let mut nodes = Vec::new();
    scanner.array(|scanner| {
        if nodes.len() == MOST {
            return Err(scanner.wrong(TOO_MANY));
        }
        nodes.push(Node::read(scanner, seen)?);
        Ok(())
    })?;
    Ok(nodes)
}
