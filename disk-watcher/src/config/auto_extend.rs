//! How a thin pool grows as it fills: `spec.thinPool.autoExtend`. Each field has a careful
//! default, so that a pool grows where nothing is written.

use std::time::Duration;

use lvmd::units::{Bytes, GIB, MIB};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{Share, Size, Time};
use super::values::{DurationText, Percent, PoolSize};
use super::{METADATA_MAX, METADATA_MIN};

/// See the module.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct AutoExtend {
    /// Whether it grows at all; it is watched in any case.
    pub enabled: bool,
    /// Its data.
    pub data: DataGrowth,
    /// Its metadata.
    pub metadata: MetadataGrowth,
    /// What may be taken of the group's reserve.
    pub emergency: Emergency,
    /// How often it is looked at without an event.
    pub poll: Poll,
    /// Time between two extensions, unless the pool would be full before.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Time")]
    pub cooldown: Duration,
}

/// When and how the data grows.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct DataGrowth {
    /// It grows when used so far; also the kernel's low-water mark (50% to 95%).
    #[schemars(with = "Share")]
    pub threshold: Percent,
    /// It grows when less is free; `None`: 20 GiB, or 5 % of a smaller pool.
    #[schemars(with = "Option<Size>")]
    pub min_free: Option<Bytes>,
    /// It grows by at least this share of its size.
    #[schemars(with = "Share")]
    pub step: Percent,
    /// It grows by at least this; `None`: 8 GiB, or 2 % of a smaller group.
    #[schemars(with = "Option<Size>")]
    pub min_step: Option<Bytes>,
    /// It never grows beyond this.
    #[schemars(with = "Share")]
    pub max_size: PoolSize,
    /// It grows when, at the rate of the last minutes, it would be full in this time.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Time")]
    pub horizon: Duration,
}

/// When and how the metadata grows.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct MetadataGrowth {
    /// It grows when used so far.
    #[schemars(with = "Share")]
    pub threshold: Percent,
    /// It grows when less is free; `None`: 64 MiB, or a quarter of smaller metadata.
    #[schemars(with = "Option<Size>")]
    pub min_free: Option<Bytes>,
    /// It grows by at least this share of its size.
    #[schemars(with = "Share")]
    pub step: Percent,
    /// It never grows beyond this.
    #[schemars(with = "Size")]
    pub max_size: Bytes,
}

/// What may be taken of `spec.volumeGroup.vgReserve` before a pool stops.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Emergency {
    /// How much.
    #[schemars(with = "Share")]
    pub reserve: PoolSize,
    /// For what.
    pub use_for: Vec<Part>,
}

/// A part of a pool.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
pub enum Part {
    /// Where the volumes' blocks are.
    Data,
    /// Where it is written which block is where.
    Metadata,
}

/// How often a pool is looked at without an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Poll {
    /// While all is well.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Time")]
    pub normal: Duration,
    /// While it fills fast, or something is to be done.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Time")]
    pub fast: Duration,
}

/// What a pool does with writes when it is full (lvmthin(7), `--errorwhenfull`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// They wait for space, and fail after the kernel's `no_space_timeout` (60 s).
    #[default]
    Queue,
    /// They fail at once.
    Error,
    /// They wait while there is something to extend with, and fail at once when not.
    Auto,
}

impl Default for AutoExtend {
    fn default() -> Self {
        Self {
            enabled: true,
            data: DataGrowth::default(),
            metadata: MetadataGrowth::default(),
            emergency: Emergency::default(),
            poll: Poll::default(),
            cooldown: Duration::from_secs(30),
        }
    }
}

impl Default for DataGrowth {
    fn default() -> Self {
        Self {
            threshold: Percent::whole(70),
            min_free: None,
            step: Percent::whole(20),
            min_step: None,
            max_size: PoolSize::OfGroup(Percent::whole(95)),
            horizon: Duration::from_secs(15 * 60),
        }
    }
}

impl DataGrowth {
    /// What must be free in a pool of `size`.
    pub fn min_free_of(&self, size: Bytes) -> Bytes {
        let share = Percent::whole(5).of(size);
        self.min_free.unwrap_or(Bytes(20 * GIB).min(share))
    }

    /// The smallest step in a group of `group` bytes.
    pub fn min_step_in(&self, group: Bytes) -> Bytes {
        let share = Percent::whole(2).of(group);
        self.min_step.unwrap_or(Bytes(8 * GIB).min(share))
    }
}

impl Default for MetadataGrowth {
    fn default() -> Self {
        Self {
            threshold: Percent::whole(50),
            min_free: None,
            step: Percent::whole(100),
            max_size: METADATA_MAX,
        }
    }
}

impl MetadataGrowth {
    /// What must be free in metadata of `size`.
    pub fn min_free_of(&self, size: Bytes) -> Bytes {
        self.min_free
            .unwrap_or(Bytes(64 * MIB).min(Bytes(size.0 / 4)))
    }
}

impl Default for Emergency {
    fn default() -> Self {
        Self {
            reserve: PoolSize::OfGroup(Percent::whole(2)),
            use_for: vec![Part::Metadata],
        }
    }
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            normal: Duration::from_secs(10),
            fast: Duration::from_secs(1),
        }
    }
}

impl AutoExtend {
    /// Which fields, below `spec.thinPool.autoExtend`, have values that cannot be meant.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut rule = |holds: bool, field, what: String| {
            if !holds {
                faults.push((field, what));
            }
        };
        let (data, metadata) = (&self.data, &self.metadata);
        for (field, threshold) in [
            ("data.threshold", data.threshold),
            ("metadata.threshold", metadata.threshold),
        ] {
            rule(
                threshold
                    .whole_percent()
                    .is_some_and(|t| (50..=95).contains(&t)),
                field,
                format!("{threshold} is no whole percentage from 50% to 95%, as LVM wants it"),
            );
        }
        rule(
            (METADATA_MIN..=METADATA_MAX).contains(&metadata.max_size),
            "metadata.maxSize",
            format!(
                "{} is not from {METADATA_MIN} to {METADATA_MAX}",
                metadata.max_size
            ),
        );
        let (fast, normal) = (self.poll.fast, self.poll.normal);
        rule(
            Duration::from_millis(100) <= fast
                && fast <= normal
                && normal <= Duration::from_secs(60),
            "poll",
            "fast must be at least 100ms, and normal not shorter than fast nor longer than 60s"
                .into(),
        );
        rule(
            self.cooldown <= Duration::from_secs(600),
            "cooldown",
            "more than 10m would let a pool fill meanwhile".into(),
        );
        faults
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    DurationText::deserialize(deserializer).map(|text| text.0)
}
