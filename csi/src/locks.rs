//! One call at a time for one volume, and no lock for more than one volume.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;

/// Names that are taken.
#[derive(Debug, Clone, Default)]
pub struct Locks(Arc<Mutex<HashSet<String>>>);

/// A name, taken until this is dropped.
#[derive(Debug)]
pub struct Taken {
    locks: Locks,
    name: String,
}

impl Locks {
    /// Takes `name`. Nobody waits here: who asks again while the first call is under way
    /// is told so, as the CSI specification wants it, and costs nothing.
    ///
    /// # Errors
    /// Somebody has it.
    pub fn take(&self, name: &str) -> Result<Taken, Error> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.insert(name.to_owned()) {
            return Err(Error::Aborted(format!(
                "another operation for {name} is under way"
            )));
        }
        Ok(Taken {
            locks: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_for_a_volume_and_none_for_another_waits() {
        let locks = Locks::default();
        let held = locks.take("a").unwrap();
        assert!(locks.take("a").is_err());
        locks.take("b").unwrap();
        drop(held);
        locks.take("a").unwrap();
    }
}
