//! Device classes: what a StorageClass names, and where its volumes come from.

use std::fmt;
use std::sync::Arc;

use crate::config::options::LvcreateOptions;
use crate::names;
use crate::units::Bytes;

/// Spare space of a class that does not say: upstream's 10 GiB.
pub const DEFAULT_SPARE: Bytes = Bytes(10 << 30);
/// Real usage of a thin pool, in percent, above which a class that does not say
/// gives no new volumes.
pub const DEFAULT_GATE_PERCENT: u8 = 95;

/// A device class, checked: what a request names.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Its name, unique, 1 to 63 letters.
    pub name: String,
    /// Whether a request that names no class means this one. At most one is.
    pub is_default: bool,
    members: Vec<Arc<DeviceClass>>,
}

impl Class {
    /// One for each of its volume groups, in the order of the file; never empty. They differ in the group alone.
    pub fn members(&self) -> &[Arc<DeviceClass>] {
        &self.members
    }

    /// Its member, where it has one volume group.
    pub fn only(&self) -> Option<&Arc<DeviceClass>> {
        match self.members.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The member in this volume group.
    pub fn member(&self, volume_group: &str) -> Option<&Arc<DeviceClass>> {
        self.members.iter().find(|m| m.volume_group == volume_group)
    }
}

/// A device class as far as one volume group goes: a member of a [`Class`], which has one for each of its groups.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceClass {
    /// The class's name.
    pub name: String,
    /// The volume group these volumes are in.
    pub volume_group: String,
    /// Thick volumes, or thin ones in a pool.
    pub kind: Kind,
    /// Whether a request that names no class means this one. At most one is.
    pub is_default: bool,
    /// Space of the volume group that is never given away.
    pub spare: Bytes,
    /// On how many disks a volume is spread; `None`: lvcreate's own default.
    pub stripe: Option<u32>,
    /// How much goes to one disk before the next, as lvcreate's `-I` takes it (a plain
    /// number is KiB).
    pub stripe_size: Option<String>,
    /// Further options for lvcreate.
    pub lvcreate_options: LvcreateOptions,
    /// What happens to the data of a removed thick volume. Thin pools give back
    /// zeroed blocks by themselves, so it means nothing for a thin class.
    pub zero: ZeroPolicy,
    /// What a snapshot, clone or restore of a thick volume is. Means nothing for a thin class.
    pub thick_snapshots: ThickSnapshots,
    /// Real usage of the pool's data or metadata, in percent, above which a thin
    /// class gives no new volumes. Means nothing for a thick class.
    pub gate_percent: u8,
    /// Other thick classes of the same volume group, by name; none for a thin class.
    pub siblings: Vec<String>,
}

/// Where a class takes its volumes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// The volume group's free extents.
    Thick,
    /// A thin pool of the volume group.
    Thin {
        /// The pool's name.
        pool: String,
        /// How many times the pool's size may be promised; 1.0 or more, finite.
        overprovision_ratio: f64,
    },
}

/// What happens to the data of a removed thick volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ZeroPolicy {
    /// It is overwritten with zeroes before its space is given away again.
    #[default]
    Zero,
    /// Nothing; the next tenant may read it.
    None,
}

/// What a snapshot, clone or restore of a thick volume is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ThickSnapshots {
    /// There are none, as with upstream.
    #[default]
    None,
    /// A thick volume of its own, with all of its source's data.
    Copy,
}

impl DeviceClass {
    /// The thin pool's name, for a thin class.
    pub fn pool(&self) -> Option<&str> {
        match &self.kind {
            Kind::Thick => None,
            Kind::Thin { pool, .. } => Some(pool),
        }
    }

    /// The tags of a volume of this class that is asked for with these: where its VG has several thick classes, the class's
    /// name is one of them, unless a name is there.
    pub fn tagged(&self, tags: &[String]) -> Vec<String> {
        let mut tags = tags.to_vec();
        if !self.siblings.is_empty() && names::tag_value(&tags, names::TAG_DEVICE_CLASS).is_none() {
            tags.push(names::tag(names::TAG_DEVICE_CLASS, &self.name));
        }
        tags
    }

    /// Whether a thick volume with these tags is of this thick class: one that bears the name of another of its VG is not. One
    /// whose tags name none is of all of them, as it was made when there was one.
    pub fn has(&self, tags: &[String]) -> bool {
        let made_in = names::tag_value(tags, names::TAG_DEVICE_CLASS);
        !made_in.is_some_and(|made_in| self.siblings.iter().any(|other| other == made_in))
    }

    /// Where its volumes come from: `vg` or `vg/pool`.
    pub fn target(&self) -> String {
        match self.pool() {
            None => self.volume_group.clone(),
            Some(pool) => format!("{}/{pool}", self.volume_group),
        }
    }
}

/// A class that was asked for and does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownClass {
    /// The name in the request; empty when it asked for the default class.
    pub name: String,
    /// The names there are.
    pub known: Vec<String>,
}

impl std::error::Error for UnknownClass {}

impl fmt::Display for UnknownClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            f.write_str("no device class is the default one; mark one or name one of ")?;
        } else {
            write!(f, "device class {:?} does not exist; there are ", self.name)?;
        }
        f.write_str(&self.known.join(", "))
    }
}

/// All device classes of a node, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceClasses {
    classes: Vec<Class>,
}

impl DeviceClasses {
    /// Takes members of classes that passed the rules, those of one class in a row.
    pub(super) fn new(mut members: Vec<DeviceClass>) -> Self {
        let thick = |class: &DeviceClass| class.pool().is_none();
        let all: Vec<(String, String)> = members
            .iter()
            .filter(|class| thick(class))
            .map(|class| (class.volume_group.clone(), class.name.clone()))
            .collect();
        for class in members.iter_mut().filter(|class| thick(class)) {
            let others = all
                .iter()
                .filter(|(vg, name)| *vg == class.volume_group && *name != class.name);
            class.siblings = others.map(|(_, name)| name.clone()).collect();
        }
        let mut classes: Vec<Class> = Vec::new();
        for member in members {
            match classes.iter_mut().find(|class| class.name == member.name) {
                Some(class) => class.members.push(Arc::new(member)),
                None => classes.push(Class {
                    name: member.name.clone(),
                    is_default: member.is_default,
                    members: vec![Arc::new(member)],
                }),
            }
        }
        Self { classes }
    }

    /// The class a request means; the empty name means the default class.
    ///
    /// # Errors
    /// No class has the name, or none is the default. It never means that a volume or
    /// a volume group is missing.
    pub fn get(&self, name: &str) -> Result<&Class, UnknownClass> {
        let found = if name.is_empty() {
            self.default_class()
        } else {
            self.iter().find(|c| c.name == name)
        };
        found.ok_or_else(|| UnknownClass {
            name: name.to_owned(),
            known: self.iter().map(|c| c.name.clone()).collect(),
        })
    }

    /// The class marked as default, if one is.
    pub fn default_class(&self) -> Option<&Class> {
        self.iter().find(|c| c.is_default)
    }

    /// The class of a thin pool, as far as the pool's group goes; there is at most one.
    pub fn thin(&self, volume_group: &str, pool: &str) -> Option<&Arc<DeviceClass>> {
        self.members()
            .find(|c| c.volume_group == volume_group && c.pool() == Some(pool))
    }

    /// All classes, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Class> {
        self.classes.iter()
    }

    /// The members of all classes, in the order of the file.
    pub fn members(&self) -> impl Iterator<Item = &Arc<DeviceClass>> {
        self.iter().flat_map(Class::members)
    }

    /// The volume groups the classes are in, each once, in the order of the file.
    pub fn volume_groups(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for class in self.members() {
            if !names.contains(&class.volume_group.as_str()) {
                names.push(&class.volume_group);
            }
        }
        names
    }
}
