//! All volumes of all classes at once, with what tells one from another for good: for who
//! asks which of them nobody knows any more.

use std::sync::Arc;

use super::{VolumeError, Volumes, belongs};
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::lvm::model::Lv;
use crate::units::Bytes;

/// What a look at all classes came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The classes that could be looked at: a VG of theirs is there.
    pub classes: Vec<String>,
    /// Their volumes, each once.
    pub volumes: Vec<Listed>,
}

/// A volume of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its VG.
    pub vg: String,
    /// The VG's uuid, as LVM prints it.
    pub vg_uuid: String,
    /// Its name.
    pub name: String,
    /// The classes it is in, as configured.
    pub classes: Vec<String>,
    /// Its size in bytes.
    pub size: Bytes,
    /// Its tags.
    pub tags: Vec<String>,
    /// It can be written, and is no thick snapshot: such a one is no volume of its own.
    pub is_whole: bool,
    /// Somebody has it open.
    pub is_open: bool,
}

impl<R: Runner + Clone> Volumes<R> {
    /// The volumes of all classes, those being made, copied or wiped left out.
    ///
    /// # Errors
    /// When state cannot be told.
    pub async fn inventory(&self) -> Result<Inventory, VolumeError> {
        self.counted("ListAll", self.all()).await
    }

    async fn all(&self) -> Result<Inventory, VolumeError> {
        let config = self.config();
        let snapshot = self.inner.engine.snapshot().await?;
        let mut all = Inventory::default();
        for group in config.classes.volume_groups() {
            let Some(view) = snapshot.vg(group) else {
                continue;
            };
            let classes: Vec<Arc<DeviceClass>> = config
                .classes
                .members()
                .filter(|class| class.volume_group == group)
                .cloned()
                .collect();
            for class in &classes {
                if !all.classes.contains(&class.name) {
                    all.classes.push(class.name.clone());
                }
            }
            let listed = {
                let classes = classes.clone();
                move |lv: &Lv| !classes_of(lv, &classes).is_empty()
            };
            for volume in self.seen(&snapshot, view, listed).await? {
                let Some(lv) = view.vg.lv(&volume.name) else {
                    continue;
                };
                all.volumes.push(Listed {
                    vg: view.vg.name.clone(),
                    vg_uuid: view.vg.uuid.clone(),
                    classes: classes_of(lv, &classes),
                    size: volume.size,
                    tags: volume.tags,
                    is_whole: lv.attr.is_writable() && !lv.is_thick_snapshot(),
                    is_open: volume.attr.open() == 'o',
                    name: volume.name,
                });
            }
        }
        Ok(all)
    }
}

/// The names of those `classes` that have this LV as a volume.
fn classes_of(lv: &Lv, classes: &[Arc<DeviceClass>]) -> Vec<String> {
    if lv.is_under_way() {
        return Vec::new();
    }
    let its = classes.iter().filter(|class| belongs(lv, class));
    its.map(|class| class.name.clone()).collect()
}
