//! What is there already and may become ours: groups that a person named by UUID.

/// Groups that were made by others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Existing {
    /// UUIDs of groups that are adopted: tagged as ours, otherwise left as they are.
    pub adopt_foreign_vg: Vec<String>,
}

/// Whether this is the UUID of a volume group, as LVM prints it. A name is not: another
/// disk's group may have it.
///
/// # Errors
/// What is wrong, and where the UUID is found.
pub fn vg_uuid(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let letters = parts
        .iter()
        .all(|part| part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if lengths == [6, 4, 4, 4, 4, 4, 6] && letters {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is no UUID of a volume group; disk-watcher status prints the line to add"
        ))
    }
}
