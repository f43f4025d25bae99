//! Mistakes a reader could make, planted into what it read: the comparison must see each.

use lvmd::lvm::model::{Lv, Vg};

/// What it is, and how it changes a VG; the second VG is the one before the last step.
type Bug = (&'static str, fn(&mut Vg, &Vg));

/// Mistakes that were not seen yet.
pub struct Bugs {
    left: Vec<Bug>,
    all: usize,
}

impl Bugs {
    pub fn new() -> Self {
        let left: Vec<Bug> = vec![
            ("the commit before the last is read", |vg, before| {
                *vg = before.clone();
            }),
            ("a stripe is counted once", |vg, _| {
                if vg.lvs.iter().any(|lv| lv.segtype == "striped") {
                    vg.free_count += 1;
                }
            }),
            ("the last tag is lost", |vg, _| {
                each(vg, |lv| drop(lv.tags.pop()));
            }),
            ("tags are in the order they were given", |vg, _| {
                each(vg, |lv| lv.tags.reverse());
            }),
            ("a VG's tags are lost", |vg, _| vg.tags.clear()),
            ("the last segment is left out", |vg, _| {
                let extent = vg.extent_size.0;
                each(vg, |lv| lv.size.0 -= extent.min(lv.size.0));
            }),
            ("a snapshot has no origin", |vg, _| {
                each(vg, |lv| lv.origin.clear());
            }),
            ("an origin has no size", |vg, _| {
                each(vg, |lv| lv.origin_size.0 = 0);
            }),
            ("hidden parts are shown", |vg, _| {
                each(vg, |lv| lv.hidden = false);
            }),
            ("thin volumes are in no pool", |vg, _| {
                each(vg, |lv| lv.pool.clear());
            }),
            ("a pool's transaction is not read", |vg, _| {
                each(vg, |lv| lv.transaction = 0);
            }),
            ("a pool's settings are not read", |vg, _| {
                each(vg, |lv| {
                    if let Some(pool) = &mut lv.thin_pool {
                        pool.error_when_full = !pool.error_when_full;
                    }
                });
            }),
            ("a volume is missing", |vg, _| drop(vg.lvs.pop())),
            ("read-only is not seen", |vg, _| {
                each(vg, |lv| {
                    let text = lv.attr.to_string().replacen('r', "w", 1);
                    lv.attr = lvmd::lvm::attr::LvAttr::parse(&text).unwrap();
                });
            }),
        ];
        let all = left.len();
        Self { left, all }
    }

    /// Forgets those that `sees` a difference in.
    pub fn plant(&mut self, read: &Vg, before: &Vg, sees: impl Fn(&Vg) -> bool) {
        self.left.retain(|(_, change)| {
            let mut wrong = read.clone();
            change(&mut wrong, before);
            !sees(&wrong)
        });
    }

    /// Whether each was seen.
    pub fn are_seen(&self) -> bool {
        self.left.is_empty()
    }

    /// How many there were; each must have been seen.
    pub fn finish(self) -> usize {
        let unseen: Vec<_> = self.left.iter().map(|(what, _)| what).collect();
        assert!(unseen.is_empty(), "nobody noticed that {unseen:?}");
        self.all
    }
}

fn each(vg: &mut Vg, change: impl FnMut(&mut Lv)) {
    vg.lvs.iter_mut().for_each(change);
}
