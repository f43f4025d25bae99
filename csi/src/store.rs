//! What the controller keeps volumes in: LVM tags without Kubernetes, LogicalVolume
//! objects with it. The controller decides, a store remembers and has it done.

use std::future::Future;
use std::time::SystemTime;

use lvmd::units::Bytes;

use crate::error::Error;

/// A volume or a snapshot that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its id, the same for all its life; empty while it is not finished.
    pub id: String,
    /// The name it was asked for by.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The node it is on.
    pub node: String,
    /// Its device class, as [`Store::class`] names it.
    pub class: String,
    /// The size that was asked for, in bytes.
    pub asked: Bytes,
    /// Its real size in bytes.
    pub size: Bytes,
    /// What it was copied from.
    pub source: Option<Source>,
    /// When it was made.
    pub created: SystemTime,
    /// Whether all data is in it. A copy of a thick volume that is not whole is nobody's to use, and goes on by itself.
    pub whole: bool,
}

/// What something is for its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A volume.
    Volume,
    /// A snapshot.
    Snapshot,
}

impl Kind {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What a volume or snapshot was copied from. It may be gone since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A volume or a snapshot.
    pub kind: Kind,
    /// Its id.
    pub id: String,
}

/// Everything a store has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// What was seen.
    pub held: Vec<Held>,
    /// Where nobody could look, and why; there may be more then.
    pub unseen: Option<String>,
}

/// Something to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Its name.
    pub name: String,
    /// What it is to be.
    pub kind: Kind,
    /// Where.
    pub node: String,
    /// Its device class, as [`Store::class`] names it.
    pub class: String,
    /// The lvcreate option class; empty: none.
    pub option_class: String,
    /// Its size in bytes.
    pub size: Bytes,
    /// What it is a copy of.
    pub source: Option<Held>,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a new volume is for, as far as the request says. It is kept with the volume, so that
/// its objects can be made again when they are lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purpose {
    /// Namespace and name of the PersistentVolumeClaim.
    pub claim: Option<(String, String)>,
    /// Namespace and name of a snapshot's VolumeSnapshot.
    pub snapshot: Option<(String, String)>,
    /// The file system that its user wants, or `block`; `None` when the request names several.
    pub content: Option<&'static str>,
}

/// What a node can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// The node.
    pub node: String,
    /// The largest volume it can give, in bytes.
    pub free: Bytes,
}

/// A volume that was grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grown {
    /// Its real size.
    pub size: Bytes,
    /// Whether its file system was grown with it.
    pub file_system: bool,
}

/// See the module. Implementors: [`crate::standalone::LocalStore`],
/// [`crate::kubernetes::store::KubeStore`].
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// The class a request means by `name`; the empty name is the default class.
    ///
    /// # Errors
    /// There is none of this name.
    fn class(&self, name: &str) -> Result<String, Error>;

    /// What each node can give of a class.
    ///
    /// # Errors
    /// It cannot be told.
    fn capacities(&self, class: &str) -> impl Future<Output = Result<Vec<Capacity>, Error>> + Send;

    /// What an earlier request for this name began, finished or not; `None` when nothing did.
    ///
    /// # Errors
    /// It cannot be told, or what has the name is being deleted.
    fn by_name(
        &self,
        kind: Kind,
        name: &str,
    ) -> impl Future<Output = Result<Option<Held>, Error>> + Send;

    /// What has this id; `None` when it is shown that nothing has.
    ///
    /// # Errors
    /// It cannot be told.
    fn by_id(
        &self,
        kind: Kind,
        id: &str,
    ) -> impl Future<Output = Result<Option<Held>, Error>> + Send;

    /// Ends what an earlier request for it began.
    ///
    /// # Errors
    /// It is not what was asked for then.
    fn finish(&self, held: Held) -> impl Future<Output = Result<Held, Error>> + Send;

    /// Takes back what an earlier request asked of a node that has not made it.
    ///
    /// # Errors
    /// It is made meanwhile, or still asked for.
    fn withdraw(&self, held: &Held) -> impl Future<Output = Result<(), Error>> + Send;

    /// Everything there is.
    ///
    /// # Errors
    /// It cannot be told.
    fn all(&self) -> impl Future<Output = Result<Listing, Error>> + Send;

    /// Makes it, or finds what an earlier, equal request made.
    ///
    /// # Errors
    /// It is not there, or that cannot be told.
    fn create(&self, new: New) -> impl Future<Output = Result<Held, Error>> + Send;

    /// Removes it and shows that it is gone. One that is gone already is no error.
    ///
    /// # Errors
    /// It is still there, or that cannot be told.
    fn delete(&self, held: &Held) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether [`Store::wrong`] can tell.
    fn tells_what_is_wrong(&self) -> impl Future<Output = bool> + Send;

    /// What is wrong with a volume, or why that cannot be told; `None` while nothing is known to be.
    fn wrong(&self, held: &Held) -> impl Future<Output = Option<String>> + Send;

    /// Grows it to at least `size` bytes.
    ///
    /// # Errors
    /// It has its old size, or that cannot be told.
    fn grow(&self, held: &Held, size: Bytes) -> impl Future<Output = Result<Grown, Error>> + Send;
}
