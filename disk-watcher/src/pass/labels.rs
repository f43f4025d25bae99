//! The labels of NodeDisk objects, put to the disks that these show.

use super::found::id_of;
use crate::config::DiskLabels;
use crate::facts::DiskFacts;
use crate::kubernetes::view::disk_object;

/// Gives each disk its labels. A disk without an id, and one that no object shows yet, has none
/// that are known.
pub(super) fn put(disks: &mut [DiskFacts], labels: &DiskLabels, node: &str) {
    for disk in disks {
        let object = id_of(disk).map(|id| disk_object(node, &id));
        disk.labels = object.and_then(|name| labels.get(&name).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fixture::Tree;
    use crate::labels::Labels;

    #[test]
    fn a_disk_has_the_labels_of_its_own_object_on_its_own_node() {
        let mut tree = Tree::new();
        tree.sata("sda", "8:0", "A1");
        tree.sata("sdb", "8:16", "A2");
        let mut disks = [tree.disk("sda"), tree.disk("sdb")];
        let id = id_of(&disks[0]).unwrap();
        let fast = Labels::from([("tier".to_owned(), "fast".to_owned())]);
        let labels = DiskLabels::from([(disk_object("n1", &id), fast.clone())]);
        put(&mut disks, &labels, "n1");
        assert_eq!(
            disks.each_ref().map(|disk| disk.labels.as_ref()),
            [Some(&fast), None]
        );
        put(&mut disks, &labels, "n2");
        assert_eq!(disks[0].labels, None);
    }
}
