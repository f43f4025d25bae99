//! Creating a volume.

use tracing::warn;

use super::{
    Outcome, Volume, VolumeError, Volumes, belongs, device, error, open_mapper, pool, volume,
    whereabouts,
};
use crate::capacity::{self, Layout};
use crate::cmd::{CmdError, Runner};
use crate::config::{DeviceClass, LvcreateOptions};
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::mutation::Mutation;
use crate::lvm::snapshot::VgView;
use crate::lvm::valid;
use crate::units::Bytes;

/// A request for a new volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Create {
    /// Its name, unique in the VG.
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
        let config = self.config();
        let class = config.classes.get(&request.class)?;
        let options = match request.option_class.as_str() {
            "" => &class.lvcreate_options,
            name => config
                .option_classes
                .get(name)
                .ok_or_else(|| VolumeError::UnknownOptionClass(name.to_owned()))?,
        };
        // An option class replaces the class's stripes too, as upstream does.
        let class_stripes = request.option_class.is_empty();
        valid::lv_name(&class.volume_group, &request.name)?;
        request.tags.iter().try_for_each(|tag| valid::tag(tag))?;
        if request.size.0 == 0 {
            return Err(VolumeError::InvalidArgument(
                "a volume needs a size of at least one byte".into(),
            ));
        }
        let lane = self.lane(&class.volume_group).await?;
        let view = lane.view().await?;
        if let Some(lv) = view.vg.lv(&request.name) {
            return existing(&lane, &view, class, options, request, lv).await;
        }
        create(&lane, &view, class, options, class_stripes, request).await
    }
}

/// A volume of this name is there: the one asked for, or another.
async fn existing<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    options: &LvcreateOptions,
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
    let wanted = visible_size(&view.vg, class, options, request.size);
    if lv.size != wanted {
        return differs(format!("its size is {}, not {wanted}", lv.size));
    }
    let absent: Vec<String> = request
        .tags
        .iter()
        .filter(|tag| !lv.tags.contains(tag))
        .cloned()
        .collect();
    if !absent.is_empty() {
        if !lv.tags.is_empty() {
            return differs(format!(
                "its tags are {}, not {}",
                lv.tags.join(","),
                request.tags.join(",")
            ));
        }
        // An untagged volume is upstream's; whoever asks for it by name claims it.
        let claim = Mutation::AddTag {
            name: lv.name.clone(),
            tags: absent,
        };
        run(
            lane,
            view,
            &claim,
            pool::DEFAULT_THRESHOLD,
            "tagging the volume",
        )
        .await?;
    }
    let view = active(lane, view.clone(), &lv.name).await?;
    found(&view.vg, &lv.name).map(Outcome::AlreadySo)
}

async fn create<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    class: &DeviceClass,
    options: &LvcreateOptions,
    class_stripes: bool,
    request: &Create,
) -> Result<Outcome<Volume>, VolumeError> {
    let no_space = |why| VolumeError::NoSpace {
        wanted: request.size,
        class: class.name.clone(),
        why,
    };
    let vg = &view.vg;
    let threshold = pool::ready(lane, view, class, request.size).await?;
    let size = visible_size(vg, class, options, request.size);
    let mutation = match class.pool() {
        Some(pool) => {
            let free = capacity::thin_free(vg, class);
            if size > free {
                return Err(no_space(format!(
                    "{free} may still be promised (overprovision ratio and spare space counted)"
                )));
            }
            Mutation::CreateThin {
                pool: pool.to_owned(),
                name: request.name.clone(),
                bytes: size.0,
                tags: request.tags.clone(),
                options: all_options(class, options, class_stripes),
            }
        }
        None => {
            let layout = Layout::of(class, options);
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
            Mutation::CreateThick {
                name: request.name.clone(),
                extents,
                tags: request.tags.clone(),
                options: all_options(class, options, class_stripes),
            }
        }
    };
    let mut said = lane.run(view, &mutation, threshold).await;
    // What lvm said only explains; what is there decides.
    let mut after = lane.view().await?;
    if after.vg.lv(&request.name).is_none() && said.as_ref().is_err_and(error::says_pool_check) {
        let threshold = pool::ready(lane, &after, class, request.size).await?;
        said = lane.run(&after, &mutation, threshold).await;
        after = lane.view().await?;
    }
    let Some(lv) = after.vg.lv(&request.name) else {
        return Err(match said {
            Err(error) if error::says_no_space(&error) => no_space(error.stderr().to_owned()),
            Err(error) => failed(&format!("creating volume {}", request.name), &error),
            Ok(()) => VolumeError::Unverified {
                what: format!("creating volume {}", request.name),
                why: "lvm reports success, and the metadata does not have it".into(),
            },
        });
    };
    if lv.size < request.size || !belongs(lv, class) {
        let why = format!("the metadata shows {} of {}", whereabouts(lv), lv.size);
        return Err(undo(lane, &after, &request.name, why).await);
    }
    let after = match active(lane, after.clone(), &request.name).await {
        Ok(view) => view,
        Err(error) => return Err(undo(lane, &after, &request.name, error.to_string()).await),
    };
    pool::rearm(lane, &after, class).await;
    found(&after.vg, &request.name).map(Outcome::Changed)
}

/// The size the volume will have: whole extents, a multiple of the stripes.
fn visible_size(vg: &Vg, class: &DeviceClass, options: &LvcreateOptions, size: Bytes) -> Bytes {
    let extents = size.extents(vg.extent_size);
    let extents = if class.pool().is_some() {
        extents
    } else {
        Layout::of(class, options).visible(extents)
    };
    Bytes(extents.saturating_mul(vg.extent_size.0))
}

fn all_options(class: &DeviceClass, options: &LvcreateOptions, class_stripes: bool) -> Vec<String> {
    let mut all = Vec::new();
    if let (true, Some(stripes)) = (class_stripes, class.stripe) {
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

/// The view in which the volume is shown to be active; activates it when it is not.
pub(super) async fn active<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: VgView,
    name: &str,
) -> Result<VgView, VolumeError> {
    if is_active(&view.vg, name)? {
        return Ok(view);
    }
    let threshold = pool::threshold_for(&view.vg, name);
    let said = lane
        .run(
            &view,
            &Mutation::Activate {
                name: name.to_owned(),
            },
            threshold,
        )
        .await;
    let view = lane.view().await?;
    if is_active(&view.vg, name)? {
        return Ok(view);
    }
    Err(VolumeError::Unverified {
        what: format!("activating volume {name}"),
        why: said.err().map_or_else(
            || "lvm reports success, and device-mapper has no live device".into(),
            |e| e.to_string(),
        ),
    })
}

fn is_active(vg: &Vg, name: &str) -> Result<bool, VolumeError> {
    let Some(lv) = vg.lv(name) else {
        return Ok(false);
    };
    Ok(device(&open_mapper()?, vg, lv)?.is_some_and(|d| d.live && !d.suspended))
}

/// Takes back a volume this very call made, so that a failed creation leaves nothing.
async fn undo<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    name: &str,
    why: String,
) -> VolumeError {
    let _ = lane
        .run(
            view,
            &Mutation::Remove {
                name: name.to_owned(),
            },
            pool::DEFAULT_THRESHOLD,
        )
        .await;
    let left = match lane.view().await {
        Ok(view) if view.vg.lv(name).is_none() => "it was removed again".to_owned(),
        Ok(_) => "it could not be removed again; a repeated request goes on with it".to_owned(),
        Err(error) => format!("whether it was removed again cannot be told: {error}"),
    };
    warn!(volume = name, %why, %left, "creation failed half-way");
    VolumeError::Unverified {
        what: format!("creating volume {name}"),
        why: format!("{why}; {left}"),
    }
}

/// The volume of this name as its user sees it.
pub(super) fn found(vg: &Vg, name: &str) -> Result<Volume, VolumeError> {
    let lv = vg.lv(name).ok_or_else(|| VolumeError::Unverified {
        what: format!("finding volume {name}"),
        why: "it is gone from the metadata".into(),
    })?;
    volume(&open_mapper()?, vg, lv)
}

/// Runs a command that must succeed.
pub(super) async fn run<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    mutation: &Mutation,
    threshold: u8,
    what: &str,
) -> Result<(), VolumeError> {
    lane.run(view, mutation, threshold)
        .await
        .map_err(|error| failed(what, &error))
}

pub(super) fn failed(what: &str, error: &CmdError) -> VolumeError {
    VolumeError::Failed {
        what: what.to_owned(),
        source_text: error.to_string(),
    }
}
