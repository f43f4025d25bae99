//! Pages of a list.
//!
//! A token names the last entry of its page, so that entries which come and go between
//! two pages neither shift the others nor make the token stale.

use crate::error::Error;
use crate::store::Held;

/// What a token begins with.
const TOKEN: &str = "after/";

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Its entries, by id.
    pub(super) entries: Vec<Held>,
    /// What asks for the next page; empty after the last.
    pub(super) next: String,
}

/// The page of at most `most` entries (0: all of them) after the one that `token` names.
///
/// # Errors
/// `most` is negative, or `token` is none of ours.
pub(super) fn page(mut all: Vec<Held>, most: i32, token: &str) -> Result<Page, Error> {
    let most = usize::try_from(most)
        .map_err(|_| Error::Invalid(format!("max_entries is {most}: it is never negative")))?;
    let after = match token {
        "" => "",
        token => token.strip_prefix(TOKEN).ok_or_else(|| {
            Error::Aborted(format!(
                "starting_token {token:?} is not from this list; begin without one"
            ))
        })?,
    };
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all.retain(|held| held.id.as_str() > after || after.is_empty());
    let more = most > 0 && all.len() > most;
    if more {
        all.truncate(most);
    }
    let last = all.last().filter(|_| more);
    Ok(Page {
        next: last
            .map(|held| format!("{TOKEN}{}", held.id))
            .unwrap_or_default(),
        entries: all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;
    use lvmd::units::Bytes;
    use std::time::SystemTime;

    fn held(ids: &[&str]) -> Vec<Held> {
        let one = |id: &&str| Held {
            id: (*id).to_owned(),
            name: String::new(),
            kind: Kind::Volume,
            node: String::new(),
            class: String::new(),
            asked: Bytes(0),
            size: Bytes(0),
            source: None,
            created: SystemTime::UNIX_EPOCH,
            whole: true,
        };
        ids.iter().map(one).collect()
    }

    fn ids(page: &Page) -> Vec<&str> {
        page.entries.iter().map(|held| held.id.as_str()).collect()
    }

    #[test]
    fn pages_go_on_where_the_last_ended_although_entries_come_and_go() {
        let first = page(held(&["c", "a", "b"]), 2, "").unwrap();
        assert_eq!(ids(&first), ["a", "b"]);
        // The last one of the page is gone, and one came before it.
        let second = page(held(&["c", "a", "aa", "d"]), 2, &first.next).unwrap();
        assert_eq!((ids(&second), second.next.as_str()), (vec!["c", "d"], ""));
        let all = page(held(&["b", "a"]), 0, "").unwrap();
        assert_eq!((ids(&all), all.next.as_str()), (vec!["a", "b"], ""));
        assert!(page(held(&[]), 0, "invalid-token").is_err());
        assert!(page(held(&[]), -1, "").is_err());
    }
}
