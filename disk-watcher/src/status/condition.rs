//! A condition, in the form Kubernetes has for them.

use serde::Serialize;

/// One thing that is so or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is spoken of.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it is so.
    pub status: bool,
    /// Why, as a stable code.
    pub reason: String,
    /// Why, for people; empty where all is well.
    pub message: String,
}

impl Condition {
    /// It is so.
    pub fn yes(kind: &'static str, reason: &str) -> Self {
        Self {
            kind,
            status: true,
            reason: reason.to_owned(),
            message: String::new(),
        }
    }

    /// It is not so.
    pub fn no(kind: &'static str, reason: &str, message: String) -> Self {
        Self {
            kind,
            status: false,
            reason: reason.to_owned(),
            message,
        }
    }

    /// Whether somebody should know; the only condition that is good when false is NeedsCheck.
    pub fn is_trouble(&self) -> bool {
        self.status == (self.kind == "NeedsCheck")
    }
}
