//! The driver without Kubernetes: one process, one socket, and all it remembers in the
//! LVM tags of the volumes themselves.

mod tags;

use std::collections::HashSet;
use std::time::SystemTime;

use lvmd::cmd::Runner;
use lvmd::units::Bytes;
use lvmd::volumes::{Access, Create, SnapshotOf, VolumeError, Volumes};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::identity::Ready;
use crate::store::{Capacity, Grown, Held, Kind, Listing, New, Source, Store};
use tags::Tags;

/// A store of one node that asks lvmd in-process.
#[derive(Debug)]
pub struct LocalStore<R> {
    volumes: Volumes<R>,
    node: String,
}

impl<R> LocalStore<R> {
    /// A store of the volumes of this node.
    pub fn new(volumes: Volumes<R>, node: String) -> Self {
        Self { volumes, node }
    }
}

impl<R: Runner + Clone> LocalStore<R> {
    /// What the LV of this name and size is; `None` when it is not this driver's.
    fn held(&self, class: &str, id: String, size: Bytes, tags: &[String]) -> Option<Held> {
        let tags = Tags::read(tags)?;
        Some(Held {
            id,
            name: tags.name,
            kind: tags.kind,
            node: self.node.clone(),
            class: class.to_owned(),
            asked: tags.asked,
            size,
            source: tags.source,
            created: tags.created,
            whole: true,
        })
    }

    fn made(&self, class: &str, volume: lvmd::volumes::Volume) -> Option<Held> {
        self.held(class, volume.name, volume.size, &volume.tags)
    }

    /// The volumes of a class, and the copies that are not whole yet.
    async fn of_class(&self, class: &str) -> Result<Listing, Error> {
        // What becomes whole in between is then seen twice, and not missed.
        let pending = self.volumes.pending(class).await?;
        let found = self.volumes.list(class).await?;
        let mut held: Vec<Held> = found
            .volumes
            .into_iter()
            .filter_map(|volume| self.made(class, volume))
            .collect();
        for copy in pending {
            if held.iter().all(|held| held.id != copy.name)
                && let Some(copy) = self.held(class, copy.name, copy.size, &copy.tags)
            {
                held.push(Held {
                    whole: false,
                    ..copy
                });
            }
        }
        Ok(Listing {
            held,
            unseen: found.unseen.into_iter().next(),
        })
    }
}

impl<R: Runner + Clone> Store for LocalStore<R> {
    fn class(&self, name: &str) -> Result<String, Error> {
        let config = self.volumes.config();
        let class = config.classes.get(name);
        class
            .map(|class| class.name.clone())
            .map_err(|unknown| Error::Invalid(unknown.to_string()))
    }

    async fn capacities(&self, class: &str) -> Result<Vec<Capacity>, Error> {
        let free = self.volumes.free(class).await?;
        Ok(vec![Capacity {
            node: self.node.clone(),
            free,
        }])
    }

    async fn by_name(&self, kind: Kind, name: &str) -> Result<Option<Held>, Error> {
        let all = self.all().await?.held;
        Ok(all
            .into_iter()
            .find(|held| held.kind == kind && held.name == name))
    }

    async fn by_id(&self, kind: Kind, id: &str) -> Result<Option<Held>, Error> {
        let all = self.all().await?;
        let is_it = |held: &Held| held.kind == kind && held.id == id;
        match all.held.into_iter().find(is_it) {
            Some(held) => Ok(Some(held)),
            // It may be where nobody can look, or where no class is any more: not to be called gone.
            None => match all.unseen {
                Some(why) => Err(Error::Unavailable(why)),
                None => Ok(self.volumes.find(id).await.map(|_| None)?),
            },
        }
    }

    /// A copy is grown after it is made, and that may have been cut off.
    async fn finish(&self, mut held: Held) -> Result<Held, Error> {
        if !held.whole {
            match self.volumes.copied(&held.class, &held.id).await {
                Err(VolumeError::Copying { .. }) if held.kind == Kind::Snapshot => {
                    return Ok(held);
                }
                done => done?,
            }
            let (kind, id) = (held.kind, held.id);
            let whole = self.by_id(kind, &id).await?.filter(|held| held.whole);
            held = whole.ok_or_else(|| {
                Error::Aborted(format!("{} {id} was removed meanwhile", kind.name()))
            })?;
        }
        if held.size < held.asked {
            held.size = self.grow(&held, held.asked).await?.size;
        }
        Ok(held)
    }

    /// There is one node, and what it has is made.
    async fn withdraw(&self, held: &Held) -> Result<(), Error> {
        let why = format!("volume {} is made", held.name);
        Err(Error::Aborted(why))
    }

    async fn all(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let mut ids = HashSet::new();
        for class in self.volumes.config().classes.iter() {
            match self.of_class(&class.name).await {
                // One that was made when its group had one class is in all that it has now.
                Ok(found) => {
                    let held = found.held.into_iter();
                    let new = held.filter(|held| ids.insert(held.id.clone()));
                    listing.held.extend(new);
                    if let Some(why) = found.unseen {
                        listing.unseen = Some(format!("device class {}: {why}", class.name));
                    }
                }
                // One group that is away does not hide what is in the others.
                Err(error) => {
                    listing.unseen = Some(format!("device class {}: {error}", class.name))
                }
            }
        }
        Ok(listing)
    }

    async fn create(&self, new: New) -> Result<Held, Error> {
        let tags = Tags {
            name: new.name,
            kind: new.kind,
            asked: new.size,
            source: new.source.as_ref().map(|held| Source {
                kind: held.kind,
                id: held.id.clone(),
            }),
            created: SystemTime::now(),
        };
        let name = id(tags.kind, &tags.name);
        let made = match new.source {
            None => {
                let create = Create {
                    name,
                    class: new.class.clone(),
                    option_class: new.option_class,
                    size: new.size,
                    tags: tags.write(),
                };
                self.volumes.create(&create).await?
            }
            Some(source) => {
                let access = match tags.kind {
                    Kind::Snapshot => Access::ReadOnly,
                    Kind::Volume => Access::ReadWrite,
                };
                let copy = SnapshotOf {
                    source: source.id,
                    name,
                    class: new.class.clone(),
                    size: new.size,
                    access,
                    tags: tags.write(),
                };
                match self.volumes.snapshot(&copy).await {
                    // The source is frozen, which is what a snapshot is for.
                    Err(VolumeError::Copying { name, .. })
                        if tags.kind == Kind::Snapshot && name == copy.name =>
                    {
                        let begun = self.by_id(tags.kind, &name).await?;
                        return begun.ok_or_else(|| {
                            Error::Aborted(format!("snapshot {name} was removed meanwhile"))
                        });
                    }
                    made => made?,
                }
            }
        };
        let made = made.into_inner();
        self.made(&new.class, made).ok_or_else(|| {
            Error::Internal("the volume does not have the tags it was made with".into())
        })
    }

    async fn delete(&self, held: &Held) -> Result<(), Error> {
        match self.volumes.remove(&held.id, &held.class).await {
            Ok(_) | Err(VolumeError::VolumeMissing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn tells_what_is_wrong(&self) -> bool {
        true
    }

    async fn wrong(&self, held: &Held) -> Option<String> {
        match self.volumes.find(&held.id).await {
            Ok(found) => found.and_then(|found| found.sick),
            Err(error) => Some(format!("it cannot be told: {error}")),
        }
    }

    async fn grow(&self, held: &Held, size: Bytes) -> Result<Grown, Error> {
        let grown = self.volumes.resize(&held.id, &held.class, size).await?;
        Ok(Grown {
            size: grown.into_inner(),
            file_system: false,
        })
    }
}

impl<R: Runner + Clone> Ready for Volumes<R> {
    async fn ready(&self) -> bool {
        self.require_lock_dir().is_ok() && self.engine().snapshot().await.is_ok()
    }
}

/// The LV of a name. The same name always leads to the same LV, so a request that is
/// repeated after a cut finds what it made. Names are free text, LVM's are not.
fn id(kind: Kind, name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    let hash: String = hash
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match kind {
        Kind::Volume => format!("vol-{hash}"),
        Kind::Snapshot => format!("snap-{hash}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_one_lv_that_lvm_takes() {
        let volume = id(Kind::Volume, "pvc/ä");
        assert_eq!(volume, id(Kind::Volume, "pvc/ä"));
        assert_ne!(id(Kind::Volume, "a")[4..], id(Kind::Volume, "b")[4..]);
        for name in [volume, id(Kind::Snapshot, "snapshot-1")] {
            lvmd::lvm::valid::lv_name("vg", &name).unwrap();
        }
    }
}
