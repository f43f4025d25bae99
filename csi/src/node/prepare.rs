//! Making a volume ready to be mounted: a file system where there is shown to be nothing,
//! a check of one that is there.

use std::io;

use lvmd::cmd::{CmdError, Runner};
use tracing::warn;

use super::content::{self, Content};
use super::device::{Device, Devices, Open, dm_uuid};
use super::formatting::{self, Formatting, is_left_over, may_be_a_removed_ones};
use super::options::Options;
use super::publish::Place;
use super::{Node, blocking};
use crate::error::Error;
use crate::filesystem::{Kind, is_checked};
use crate::parameters::Publishing;

impl<D: Devices, R: Runner> Node<D, R> {
    /// Makes a file system where there is shown to be nothing, and checks one that is
    /// there, unless it is in use.
    pub(super) async fn ready(
        &self,
        device: &Device,
        open: &Open,
        place: Place,
        kind: Kind,
        options: &Options,
        how: &Publishing,
    ) -> Result<(), Error> {
        let runner = &self.inner.runner;
        let has = |what: &str| {
            Error::Precondition(format!(
                "volume {} has {what}, not {kind}; nothing is written over it",
                device.id
            ))
        };
        match self.look(device, open, place, options).await? {
            Content::Known(found) if found == kind.name() => {}
            Content::Known(other) => return Err(has(&other)),
            Content::Unknown(what) => {
                return Err(Error::Precondition(format!(
                    "volume {} is not formatted: {what}; nothing is written over it",
                    device.id
                )));
            }
            Content::Blank if options.read_only => {
                return Err(Error::Precondition(format!(
                    "volume {} has no file system yet, and a publish for reading only makes none",
                    device.id
                )));
            }
            // Whoever has it mounted has the volume, whatever it looks like.
            Content::Blank if place == Place::Elsewhere => {
                return Err(Error::Internal(format!(
                    "volume {} is mounted and looks blank",
                    device.id
                )));
            }
            Content::Blank => {
                return self.format(device, open, kind, how).await;
            }
        }
        if place == Place::Nowhere
            && let Some(check) = kind
                .check(&open.name())
                .map_err(|error| Error::Internal(error.to_string()))?
        {
            match runner.run(check).await {
                Ok(_) => {}
                Err(CmdError::Failed { code, .. }) if is_checked(code) => {}
                Err(error) => {
                    return Err(Error::Internal(format!(
                        "the file system of volume {} needs somebody to repair it: {error}",
                        device.id
                    )));
                }
            }
        }
        Ok(())
    }

    /// What is on the device, left-overs of a cut mkfs cleared away. When it is neither blank
    /// nor refused there is no entry in the journal any more.
    async fn look(
        &self,
        device: &Device,
        open: &Open,
        place: Place,
        options: &Options,
    ) -> Result<Content, Error> {
        let runner = &self.inner.runner;
        let found = content::look(runner, open, device.is_thin).await?;
        if place != Place::Nowhere {
            return Ok(found.content);
        }
        let Some(uuid) = self.journal(device, open, Formatting::pending).await? else {
            return Ok(found.content);
        };
        if !is_left_over(&found.content, found.uuid.as_deref(), &uuid, &found.first) {
            if device.unzeroed
                && may_be_a_removed_ones(&found.content, found.uuid.as_deref(), &uuid)
            {
                return Err(self.not_told(device, open, &found.content).await?);
            }
            if found.content != Content::Blank {
                self.ours_no_more(device, open).await?;
            }
            return Ok(found.content);
        }
        if options.read_only {
            return Ok(Content::Blank);
        }
        warn!(volume = device.id, found = ?found.content, "what a cut mkfs left is cleared");
        self.clear(device, open).await?;
        Ok(content::look(runner, open, device.is_thin).await?.content)
    }

    /// The edges of a device are zeroes after it.
    async fn clear(&self, device: &Device, open: &Open) -> Result<(), Error> {
        let held = open.again()?;
        let cleared = blocking(move || formatting::clear(&held)).await?;
        cleared.map_err(|error| {
            Error::Unavailable(format!(
                "volume {} cannot be cleared for its file system: {error}",
                device.id
            ))
        })
    }

    /// What is found may be somebody's, and may be what a removed volume left.
    async fn not_told(
        &self,
        device: &Device,
        open: &Open,
        content: &Content,
    ) -> Result<Error, Error> {
        let entry = self.journal(device, open, Formatting::entry).await?;
        Ok(Error::Precondition(format!(
            "volume {} has {content:?} that may be what a removed volume left: its mkfs was cut off, and its thin pool does not \
             zero new chunks. It is neither mounted nor written over: where it is of no use, erase it with wipefs; where it \
             is yours, remove {}",
            device.id,
            entry.display()
        )))
    }

    /// Makes a file system on a device that is shown to be blank.
    async fn format(
        &self,
        device: &Device,
        open: &Open,
        kind: Kind,
        how: &Publishing,
    ) -> Result<(), Error> {
        let internal = |error: CmdError| Error::Internal(error.to_string());
        let uuid = self.journal(device, open, Formatting::begin).await?;
        if device.unzeroed {
            self.clear(device, open).await?;
        }
        let make = kind
            .make(&how.making, &uuid, &open.name())
            .map_err(internal)?;
        self.inner.runner.run(make).await.map_err(internal)?;
        self.ours_no_more(device, open).await
    }

    /// Notes that the volume is its user's from here on.
    pub(super) async fn ours_no_more(&self, device: &Device, open: &Open) -> Result<(), Error> {
        self.journal(device, open, Formatting::end).await
    }

    async fn journal<T: Send + 'static>(
        &self,
        device: &Device,
        open: &Open,
        work: impl FnOnce(&Formatting, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (journal, devno) = (self.inner.formatting.clone(), open.devno);
        let done = blocking(move || work(&journal, &dm_uuid(devno)?)).await?;
        done.map_err(|error| {
            Error::Internal(format!(
                "the journal of formatting has no answer for volume {}: {error}",
                device.id
            ))
        })
    }
}
