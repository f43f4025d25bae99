//! Creating a volume.

use tracing::warn;

use super::{
    Outcome, Volume, VolumeError, Volumes, activate, belongs, error, pool, remove, seen, tagged,
    unfinished, whereabouts,
};
use crate::capacity::{self, Layout};
use crate::cmd::{CmdError, Runner};
use crate::config::{Config, DeviceClass, LvcreateOptions};
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::lvm::valid;
use crate::units::Bytes;

/// A request for a new volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Create {
    /// Its name, unique in the class, and in the VG whatever the class.
    pub name: String,
    /// The device class; empty: the default class.
    pub class: String,
    /// The lvcreate option class; empty: the class's own options.
    pub option_class: String,
    /// Its size in bytes; rounded up to whole extents.
    pub size: Bytes,
    /// Tags it gets.
    pub tags: Vec<String>,
}

impl<R: Runner + Clone> Volumes<R> {
    /// Creates a volume, or finds the one an earlier, equal request made.
    ///
    /// # Errors
    /// See [`VolumeError`]; on an error no new volume is left behind, or the error says
    /// that its state cannot be told.
    pub async fn create(&self, request: &Create) -> Result<Outcome<Volume>, VolumeError> {
        self.counted("CreateLV", self.created(request)).await
    }

    async fn created(&self, request: &Create) -> Result<Outcome<Volume>, VolumeError> {
        let config = self.config();
        if config.classes.get(&request.class)?.only().is_some() {
            return self.create_somewhere(&config, request).await;
        }
        // To its end whatever becomes of who asked, or who asks again would not see that it is being made in one group,
        // and have it made in another.
        let (this, asked) = (self.clone(), request.clone());
        let made = self.spawn(async move { this.create_somewhere(&config, &asked).await });
        made.await.unwrap_or_else(|error| {
            Err(VolumeError::Unverified {
                what: format!("creating volume {}", request.name),
                why: error.to_string(),
            })
        })
    }

    /// In the group that has it, or has most room.
    async fn create_somewhere(
        &self,
        config: &Config,
        request: &Create,
    ) -> Result<Outcome<Volume>, VolumeError> {
        let class = config.classes.get(&request.class)?;
        let _turn = self.inner.turns.of(&request.name).await;
        let mut full = Vec::new();
        // After a group that is full all are looked at again: what was not made there is nowhere else either.
        while let Some(member) = self.place_for(config, class, &request.name, &full).await? {
            let vg = &member.volume_group;
            let _coming = self.inner.turns.comes(vg, request.size);
            match self.create_in(config, &member, request).await {
                // Also where half of it was, which is gone then. Once each.
                Err(VolumeError::NoSpace { why, .. })
                    if class.only().is_none() && full.iter().all(|(other, _)| other != vg) =>
                {
                    full.push((vg.clone(), why));
                }
                done => return done,
            }
        }
        let why = full.iter().map(|(vg, why)| format!("{vg}: {why}"));
        Err(VolumeError::NoSpace {
            wanted: request.size,
            class: class.name.clone(),
            why: why.collect::<Vec<_>>().join("; "),
        })
    }

    async fn create_in(
        &self,
        config: &Config,
        class: &DeviceClass,
        request: &Create,
    ) -> Result<Outcome<Volume>, VolumeError> {
        let request = &Create {
            tags: class.tagged(&request.tags),
            ..request.clone()
        };
        let options = match request.option_class.as_str() {
            "" => &class.lvcreate_options,
            name => config
                .option_classes
                .get(name)
                .ok_or_else(|| VolumeError::UnknownOptionClass(name.to_owned()))?,
        };
        // An option class replaces the class's stripes too, as upstream does.
        let stripe = class.stripe.filter(|_| request.option_class.is_empty());
        valid::lv_name(&class.volume_group, &request.name)?;
        super::check_tags(&request.tags)?;
        if request.size.0 == 0 {
            return Err(VolumeError::InvalidArgument(
                "a volume needs a size of at least one byte".into(),
            ));
        }
        let is_there = |vg: &Vg| vg.lv(&request.name).is_some_and(|lv| !lv.is_unfinished());
        let (lane, mut view) = self.lane_when_still(class, &request.name, is_there).await?;
        match view.vg.lv(&request.name) {
            Some(lv) if lv.is_unfinished() && belongs(lv, class) => {
                unfinished::clear(&lane, &view, lv).await?;
                view = lane.view().await?;
            }
            Some(lv) if belongs(lv, class) => {
                view = unfinished::take_back(&lane, view, &request.name).await?;
            }
            _ => {}
        }
        if let Some(lv) = view.vg.lv(&request.name) {
            return existing(&lane, &view, class, request, lv).await;
        }
        create(&lane, &view, class, options, stripe, request).await
    }
}

/// A volume of this name is there: the one asked for, or another.
async fn existing<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    request: &Create,
    lv: &Lv,
) -> Result<Outcome<Volume>, VolumeError> {
    let differs = |why: String| {
        Err(VolumeError::Exists {
            name: lv.name.clone(),
            why,
        })
    };
    if !belongs(lv, class) {
        return differs(format!(
            "{}, and device class {} is {}",
            whereabouts(lv),
            class.name,
            class.target()
        ));
    }
    if lv.is_wiping() {
        return differs("it was removed and its data is not overwritten yet".into());
    }
    if !lv.origin.is_empty() {
        return differs(format!("it is a snapshot of {}", lv.origin));
    }
    // A larger one was made for this request and has been grown since.
    if lv.size < request.size {
        let (is, wanted) = (lv.size, request.size);
        return differs(format!("its size is {is}, less than {wanted}; grow it"));
    }
    if let Some(owner) = view.vg.foreign_owner(lv) {
        return differs(format!("its tag says that it belongs to {owner}"));
    }
    let Some(absent) = tagged::lacking(&lv.tags, &request.tags) else {
        return differs(format!(
            "its tags are {}, not {}",
            lv.tags.join(","),
            request.tags.join(",")
        ));
    };
    let mut view = view.clone();
    if !absent.is_empty() {
        add_tags(lane, &view, &lv.name, absent).await?;
        view = lane.view().await?;
    }
    let view = activate::active(lane, view, &lv.name).await?;
    pool::rearm(lane, &view, class).await;
    found(&view.vg, &lv.name).map(Outcome::AlreadySo)
}

async fn create<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    options: &LvcreateOptions,
    stripe: Option<u32>,
    request: &Create,
) -> Result<Outcome<Volume>, VolumeError> {
    let no_space = |why| VolumeError::NoSpace {
        wanted: request.size,
        class: class.name.clone(),
        why,
    };
    let vg = &view.vg;
    let threshold = pool::ready(lane, view, class, request.size).await?;
    let changes = match class.pool() {
        Some(pool) => {
            let size = Bytes(
                request
                    .size
                    .extents(vg.extent_size)
                    .saturating_mul(vg.extent_size.0),
            );
            let free = capacity::thin_free(vg, class);
            if size > free {
                return Err(no_space(format!(
                    "{free} may still be promised (overprovision ratio and spare space counted)"
                )));
            }
            vec![Mutation::CreateThin {
                pool: pool.to_owned(),
                name: request.name.clone(),
                bytes: size.0,
                tags: request.tags.clone(),
                options: all_options(class, options, stripe),
            }]
        }
        None => {
            let layout = Layout::of(stripe, options);
            let disks = u64::try_from(vg.pvs.len()).unwrap_or(u64::MAX);
            if layout.images() > disks {
                return Err(no_space(format!(
                    "its stripes and copies need {} disks, and {} has {disks}",
                    layout.images(),
                    vg.name
                )));
            }
            let extents = request.size.extents(vg.extent_size);
            let (needed, free) = (layout.raw(extents), capacity::thick_free_extents(vg, class));
            if needed > free {
                return Err(no_space(format!(
                    "it takes {needed} extents of {}, and {free} are free (spare space counted)",
                    vg.extent_size
                )));
            }
            let made = Mutation::CreateThick {
                name: request.name.clone(),
                extents,
                tags: vec![unfinished::tag()],
                options: all_options(class, options, stripe),
            };
            vec![made, unfinished::finish(&request.name, &request.tags)]
        }
    };
    let said = lane.run_all(view, &changes, threshold).await;
    // What lvm said only explains; what is there decides.
    let after = lane.view().await?;
    let Some(lv) = after.vg.lv(&request.name) else {
        return Err(match said {
            Err(error) if error::says_no_space(&error) => no_space(error.stderr().to_owned()),
            // What is not an option was checked above.
            Err(error) if error::says_invalid(&error) && !options.args().is_empty() => {
                VolumeError::InvalidArgument(format!(
                    "LVM does not take the lvcreate options {:?} for a volume of device class {}: {}",
                    options.args().join(" "),
                    class.name,
                    error.stderr()
                ))
            }
            Err(error) => failed(&format!("creating volume {}", request.name), &error),
            Ok(()) => VolumeError::Unverified {
                what: format!("creating volume {}", request.name),
                why: "lvm reports success, and the metadata does not have it".into(),
            },
        });
    };
    if let Err(error) = &said
        && lv.is_unfinished()
    {
        return Err(undo(lane, &after, lv, error.to_string()).await);
    }
    if let Err(error) = said {
        // Made although lvm failed, or meanwhile by another program: it may be somebody
        // else's, so it is judged as an earlier request's and never taken back.
        warn!(volume = %request.name, %error, "lvm failed, and the volume is there");
        return existing(lane, &after, class, request, lv).await;
    }
    if lv.size < request.size || !belongs(lv, class) || lv.is_unfinished() {
        let (is, size, tags) = (whereabouts(lv), lv.size, lv.tags.join(","));
        let why = format!("the metadata shows {is} of {size} with tags {tags:?}");
        return Err(undo(lane, &after, lv, why).await);
    }
    let after = match activate::active(lane, after.clone(), &request.name).await {
        Ok(view) => view,
        Err(error) => return Err(undo(lane, &after, lv, error.to_string()).await),
    };
    if class.pool().is_some() && !pool::is_blank(&after.vg, lv)? {
        let why = "its pool had a device of its number left over, with data; ask again";
        return Err(undo(lane, &after, lv, why.into()).await);
    }
    pool::rearm(lane, &after, class).await;
    found(&after.vg, &request.name).map(Outcome::Changed)
}

pub(super) fn all_options(
    class: &DeviceClass,
    options: &LvcreateOptions,
    stripe: Option<u32>,
) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(stripes) = stripe {
        all.push(format!("--stripes={stripes}"));
        all.extend(
            class
                .stripe_size
                .as_ref()
                .map(|size| format!("--stripesize={size}")),
        );
    }
    all.extend(options.args().iter().cloned());
    all
}

/// Takes back a volume this very call made, so that a failed creation leaves nothing.
async fn undo<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    lv: &Lv,
    why: String,
) -> VolumeError {
    let left = match remove::remove_now(lane, view, &lv.name).await {
        Ok(()) => "it was removed again".to_owned(),
        Err(error) => format!("it is not shown to be removed again: {error}"),
    };
    warn!(volume = %lv.name, %why, %left, "creation failed half-way");
    VolumeError::Unverified {
        what: format!("creating volume {}", lv.name),
        why: format!("{why}; {left}"),
    }
}

/// The volume of this name as its user sees it.
pub(super) fn found(vg: &Vg, name: &str) -> Result<Volume, VolumeError> {
    let lv = vg.lv(name).ok_or_else(|| VolumeError::Unverified {
        what: format!("finding volume {name}"),
        why: "it is gone from the metadata".into(),
    })?;
    seen::made(vg, lv)
}

/// Adds tags and shows that they are there.
pub(super) async fn add_tags<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
    tags: Vec<String>,
) -> Result<(), VolumeError> {
    let add = Mutation::Retag {
        name: name.to_owned(),
        uuid: view.vg.lv(name).map(|lv| lv.uuid.clone()),
        add: tags.clone(),
        remove: vec![],
    };
    let said = lane.run(view, &add, pool::DEFAULT_THRESHOLD).await;
    // Told to the caller only when it is so: a tag may be an order to overwrite.
    let after = lane.view().await?;
    if let Some(lv) = after.vg.lv(name)
        && tags.iter().all(|tag| lv.tags.contains(tag))
    {
        return Ok(());
    }
    let what = format!("tagging volume {name}");
    Err(match said {
        Err(error) => failed(&what, &error),
        Ok(()) => VolumeError::Unverified {
            what,
            why: "lvm reports success, and the metadata does not have the tags".into(),
        },
    })
}

pub(super) fn failed(what: &str, error: &CmdError) -> VolumeError {
    VolumeError::Failed {
        what: what.to_owned(),
        source_text: error.to_string(),
    }
}
