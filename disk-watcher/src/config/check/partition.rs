//! Types of partitions, as a class writes them.

use super::Check;

impl Check<'_> {
    /// GUIDs, in lower case as we read them from disks.
    pub(super) fn partition_types(&mut self, texts: &[String]) -> Vec<String> {
        let is_guid = |text: &str| {
            let groups: Vec<&str> = text.split('-').collect();
            let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            let hex = |group: &&str| group.bytes().all(|b| b.is_ascii_hexdigit());
            lengths == [8, 4, 4, 4, 12] && groups.iter().all(hex)
        };
        for text in texts.iter().filter(|text| !is_guid(text)) {
            self.fault(
                "spec.select.partitionType",
                format!(
                    "{text:?} is no GUID; that of Linux LVM is e6d6d379-f507-44c2-a23c-238f2a3df928"
                ),
            );
        }
        texts.iter().map(|text| text.to_lowercase()).collect()
    }
}
