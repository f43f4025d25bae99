//! Classes that are known from before and are not in force now.

use std::fmt;

/// Why a class only looks after what was made for it: its pool is cared for and grows within
/// the class's bounds, and no disk is taken, joined or given back for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recalled {
    /// The API server has not told all that is asked of this node since the program began.
    Unheard,
    /// The class does not select this node any more.
    NotSelected,
}

impl Recalled {
    /// The stable name, for conditions.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unheard => "Unheard",
            Self::NotSelected => "NotSelected",
        }
    }
}

impl fmt::Display for Recalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unheard => {
                "the API server has not told yet what is asked of this node; until then no disk is taken for the class, and its pool is cared for as before"
            }
            Self::NotSelected => {
                "the class does not select this node any more; no disk is taken for it, and its pool is cared for as it was before. Have it select the node again, or move the volumes away and remove the group"
            }
        })
    }
}
