//! Nodes of an earlier question, by their text.
//!
//! kube-scheduler asks about the same nodes for each pod, and asks twice, and a node seldom changes. What was gone through once
//! is what it was as long as its bytes are the same, and to compare them takes a small part of the time.

use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;

use super::{Metadata, NodeList, Question};

/// How much text is kept at most, in bytes: some ten thousand nodes.
const MOST: usize = 32 << 20;
/// Of how many nodes at most, and of how long ones, in bytes: no cluster has more, and etcd takes no longer ones.
const MOST_NODES: usize = 1 << 16;
const LONGEST: usize = 1 << 20;
/// How many nodes may be left out between two that come one after the other: those that have no room and are not scored.
const AHEAD: usize = 64;
/// What part of a question's nodes may be new before all of them are kept in the place of the earlier ones.
const NEW: usize = 16;

/// See the module.
#[derive(Debug, Default)]
struct Seen {
    text: Vec<u8>,
    nodes: Vec<Place>,
    /// How long the longest is, in bytes.
    longest: usize,
}

/// A node of a text: where it is, in bytes, and what was read of it.
#[derive(Debug)]
pub(super) struct Place {
    at: usize,
    pub(super) length: usize,
    pub(super) metadata: Metadata<'static>,
}

impl Seen {
    fn of(text: &str, list: &NodeList<'_>) -> Self {
        let items = list.items.iter().flatten();
        let places = items
            .filter(|node| node.raw.len() <= LONGEST)
            .filter_map(|node| {
                // What has metadata is an object, and where one ends is told by its own text.
                Some(Place {
                    at: node.at,
                    length: node.raw.len(),
                    metadata: node.metadata.as_ref().ok()?.kept(),
                })
            });
        let nodes: Vec<_> = places.collect();
        Self {
            text: text.as_bytes().to_vec(),
            longest: nodes.iter().map(|place| place.length).max().unwrap_or(0),
            nodes,
        }
    }

    /// The node that a text begins with, from this number on or a little behind it.
    fn find(&self, from: usize, text: &[u8]) -> Option<(usize, &Place)> {
        let ahead = self.nodes.iter().enumerate().skip(from).take(AHEAD);
        let same = |place: &Place| text.starts_with(&self.text[place.at..][..place.length]);
        ahead.into_iter().find(|(_, place)| same(place))
    }
}

/// A question that comes, beside the nodes that were seen.
///
/// What comes is compared at once, while the processor has it at hand and the rest is on its way. It is not known yet what it
/// is: a place that has the bytes of a node counts if a node turns out to be there.
#[derive(Debug, Default)]
pub struct Arriving {
    seen: Arc<Seen>,
    /// Where nodes of `seen` were found, by their number there, in the order of the text.
    found: Vec<(usize, usize)>,
    /// Where the next one may be.
    next: Option<usize>,
    /// How far the beginning of the nodes was looked for, and in how many places.
    searched: usize,
    tried: usize,
}

/// What is before the first node, as Go writes it.
const BEFORE: &[u8] = b"\"items\":[";
/// In how many places at most the nodes may begin: lists of a pod begin so too.
const TRIES: usize = 16;

impl Arriving {
    /// Goes on with what came, which is what came before and more.
    pub fn look(&mut self, text: &[u8]) {
        while self.next.is_some() || self.begin(text) {
            let at = self.next.unwrap_or_default();
            let rest = text.get(at..).unwrap_or_default();
            // So that no place is compared twice. The last one is when all of the question is read.
            if rest.len() < self.seen.longest {
                return;
            }
            let from = self.found.last().map_or(0, |(_, number)| number + 1);
            self.next = self.seen.find(from, rest).map(|(number, place)| {
                self.found.push((at, number));
                // Behind a comma.
                at + place.length + 1
            });
        }
    }

    /// Looks for the beginning, until a node was found.
    fn begin(&mut self, text: &[u8]) -> bool {
        if self.seen.nodes.is_empty() || !self.found.is_empty() || self.tried == TRIES {
            return false;
        }
        let from = self.searched;
        let at = memmem::find(text.get(from..).unwrap_or_default(), BEFORE);
        self.next = at.map(|at| from + at + BEFORE.len());
        self.tried += usize::from(at.is_some());
        // It may have begun to come.
        let end = (text.len() + 1).saturating_sub(BEFORE.len());
        self.searched = self.next.unwrap_or(from.max(end));
        at.is_some()
    }
}

/// The nodes of a question that came, one after the other.
#[derive(Debug)]
pub(super) struct Following<'s> {
    arrived: &'s Arriving,
    /// Of those that were found while they came, how many are behind us.
    behind: usize,
    /// The one behind the last that came again.
    next: usize,
    /// How many did.
    pub(super) known: usize,
}

impl<'s> Following<'s> {
    pub(super) fn new(arrived: &'s Arriving) -> Self {
        Self {
            arrived,
            behind: 0,
            next: 0,
            known: 0,
        }
    }

    /// The node at this place of the text, if it was seen.
    pub(super) fn find(&mut self, text: &[u8], at: usize) -> Option<&'s Place> {
        let (seen, found) = (&self.arrived.seen, &self.arrived.found);
        let before = found[self.behind..]
            .iter()
            .take_while(|(place, _)| *place < at);
        self.behind += before.count();
        let (number, place) = match found.get(self.behind) {
            Some(&(place, number)) if place == at => (number, &seen.nodes[number]),
            _ => seen.find(self.next, &text[at..])?,
        };
        self.next = number + 1;
        self.known += 1;
        Some(place)
    }
}

/// The nodes that were seen last.
#[derive(Debug, Default)]
pub struct LastSeen(Mutex<Arc<Seen>>);

impl LastSeen {
    /// For a question that is about to come.
    pub fn arriving(&self) -> Arriving {
        let seen = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Arriving {
            seen,
            ..Arriving::default()
        }
    }

    /// Keeps those of a question, if many of them are new. `text` is the question's.
    pub fn note(&self, text: &str, question: &Question<'_>) {
        let Some(list) = &question.nodes else {
            return;
        };
        let count = list.items.as_ref().map_or(0, Vec::len);
        let new = count - list.known;
        if new > count / NEW && count <= MOST_NODES && text.len() <= MOST {
            let seen = Arc::new(Seen::of(text, list));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        }
    }
}

/// What is known of a question that came in parts of so many bytes.
#[cfg(test)]
pub(super) fn in_parts(last: &LastSeen, text: &str, part: usize) -> Arriving {
    let mut arriving = last.arriving();
    for end in (0..text.len()).step_by(part).chain([text.len()]) {
        arriving.look(&text.as_bytes()[..end]);
    }
    arriving
}

#[cfg(test)]
mod tests;
