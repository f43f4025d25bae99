//! Memory for questions, kept from one to the next.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;

/// What is kept at most, in bytes: some ten thousand nodes.
const MOST: usize = 32 << 20;

/// Memory that nobody uses until the next question comes.
///
/// Questions about the same cluster are about as long, and kube-scheduler asks one after the other. Memory that is given back
/// to the kernel would have to be made anew, page by page, for each.
#[derive(Debug, Default)]
pub struct Room(Mutex<Vec<u8>>);

impl Room {
    /// Empty memory, for at least so many bytes of text.
    pub fn take(self: &Arc<Self>, length: usize) -> Taken<String> {
        let mut bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        bytes.clear();
        bytes.reserve_exact(length);
        let room = Arc::clone(self);
        // Nothing is always text.
        let held = String::from_utf8(bytes).unwrap_or_default();
        Taken { held, room }
    }
}

/// Memory that is used. It goes back when it is dropped.
#[derive(Debug)]
pub struct Taken<T: Default + Into<Vec<u8>>> {
    /// What is in it.
    pub held: T,
    room: Arc<Room>,
}

impl Taken<String> {
    /// The same, to be changed byte by byte.
    pub fn bytes(mut self) -> Taken<Vec<u8>> {
        Taken {
            held: std::mem::take(&mut self.held).into_bytes(),
            room: Arc::clone(&self.room),
        }
    }
}

impl Taken<Vec<u8>> {
    /// To be sent.
    pub fn sent(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Taken<Vec<u8>> {
    fn as_ref(&self) -> &[u8] {
        &self.held
    }
}

impl<T: Default + Into<Vec<u8>>> Drop for Taken<T> {
    fn drop(&mut self) {
        let bytes: Vec<u8> = std::mem::take(&mut self.held).into();
        let mut kept = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        if (kept.capacity()..=MOST).contains(&bytes.capacity()) {
            *kept = bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_question_used_the_next_one_gets_empty() {
        let room = Arc::new(Room::default());
        let mut first = room.take(1000);
        first.held.push_str("first");
        let place = first.held.as_ptr();
        let sent = first.bytes().sent();
        // One that comes meanwhile has memory of its own.
        let other = room.take(10);
        assert_ne!(other.held.as_ptr(), place);
        assert_eq!(sent, b"first"[..]);
        drop(sent);
        // The larger one stays.
        drop(other);
        let next = room.take(500);
        assert_eq!((next.held.as_ptr(), next.held.len()), (place, 0));
        assert!(next.held.capacity() >= 1000);
    }

    #[test]
    fn what_a_very_long_question_used_is_not_kept() {
        let room = Arc::new(Room::default());
        drop(room.take(MOST + 1));
        assert_eq!(room.take(0).held.capacity(), 0);
    }
}
