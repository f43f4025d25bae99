//! The devices of volumes that an lvmd in another process looks after.

use lvmd::lvm::attr::LvAttr;
use lvmd::lvm::health::Verdict;
use lvmd::proto::{ActivateLvRequest, LogicalVolume, WatchItem};
use lvmd::volumes::{Create, VolumeError};
use tonic::Code;

use super::{Remote, only, volumes, within};
use crate::error::Error;
use crate::kubernetes::local::Local;
use crate::node::{Device, Devices, Devno};

impl Devices for Remote {
    async fn find(&self, id: &str) -> Result<Option<Device>, Error> {
        let found = self.seek(id).await?;
        found
            .map(|(item, volume)| device(&item, volume))
            .transpose()
    }

    async fn find_in(&self, id: &str, class: &str) -> Result<Option<Device>, Error> {
        let all = match self.list(class).await {
            Ok(all) => all,
            // The class is not configured.
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(self.error(status)),
        };
        let told = self.told.borrow().clone();
        let mut items = told.iter().flat_map(|told| &told.items);
        let item = items.find(|item| item.device_class == class);
        let found = only(all.volumes, id, class)?;
        match (item, found) {
            // It may be where nobody can look: not to be called gone.
            (_, None) => match all.unseen.first() {
                Some(why) => Err(self.unavailable(&format!("device class {class}: {why}"))),
                None => Ok(None),
            },
            (Some(item), Some(volume)) => device(item, volume).map(Some),
            (None, Some(_)) => {
                Err(self.unavailable(&format!("it does not tell of device class {class}")))
            }
        }
    }

    async fn activate(&self, found: &Device) -> Result<Device, Error> {
        let request = ActivateLvRequest {
            name: found.id.clone(),
            device_class: found.class.clone(),
        };
        let devno = match within(self.limits.change, self.activation().activate_lv(request)).await {
            Ok(active) => active.volume.as_ref().and_then(devno),
            // TopoLVM's lvmd cannot, and what is active may be used.
            Err(status) if status.code() == Code::Unimplemented && found.devno.is_some() => {
                found.devno
            }
            Err(status) if status.code() == Code::Unimplemented => {
                return Err(Error::Precondition(format!(
                    "volume {} is not active, and this lvmd activates none: run `vgchange -ay` on the node for its volume \
                     group, or use this project's lvmd",
                    found.id
                )));
            }
            Err(status) => return Err(self.error(status)),
        };
        Ok(Device {
            devno,
            is_usable: devno.is_some(),
            ..found.clone()
        })
    }

    async fn make(&self, wanted: &Create) -> Result<(), Error> {
        Local::create(self, wanted).await.map(drop)
    }

    async fn remove(&self, device: &Device) -> Result<(), Error> {
        match Local::remove(self, &device.id, &device.class).await {
            Err(Error::Volume(VolumeError::VolumeMissing { .. })) => Ok(()),
            other => other,
        }
    }
}

fn device(item: &WatchItem, volume: LogicalVolume) -> Result<Device, Error> {
    Ok(Device {
        sick: sick(item, &volume),
        devno: devno(&volume),
        size: volumes::size(volume.size_bytes)?,
        is_thin: item.thin_pool.is_some(),
        // No list tells whether the pool zeroes.
        unzeroed: item.thin_pool.is_some(),
        class: item.device_class.clone(),
        id: volume.name,
        tags: volume.tags,
        // No list tells whether it is on a disk that is gone.
        is_usable: false,
    })
}

/// The number of a volume's device; `None` while it is not active.
fn devno(volume: &LogicalVolume) -> Option<Devno> {
    Some((volume.dev_major, volume.dev_minor)).filter(|devno| *devno != (0, 0))
}

/// What is wrong with a volume: its group or pool, or itself. TopoLVM's lvmd tells its attributes alone.
pub(super) fn sick(item: &WatchItem, volume: &LogicalVolume) -> Option<String> {
    let mut conditions = item.conditions.iter().chain(&volume.conditions);
    let told = conditions.find(|condition| condition.abnormal);
    let verdict = || LvAttr::parse(&volume.attr).and_then(Verdict::of);
    told.map(|condition| condition.message.clone())
        .or_else(|| verdict().map(|verdict| verdict.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvmd::proto::Condition;

    #[test]
    fn what_is_wrong_is_told_by_conditions_and_by_upstreams_attributes() {
        let mut item = WatchItem::default();
        let volume = |attr: &str| LogicalVolume {
            attr: attr.into(),
            ..LogicalVolume::default()
        };
        assert_eq!(sick(&item, &volume("Vwi-aotz--")), None);
        assert_eq!(sick(&item, &volume("")), None);
        let partial = sick(&item, &volume("-wi-a---p-")).unwrap();
        assert_eq!(partial, Verdict::Partial.to_string());
        let condition = |abnormal| Condition {
            code: "Frozen".into(),
            message: "a PV is missing".into(),
            abnormal,
        };
        item.conditions = vec![condition(false)];
        assert_eq!(sick(&item, &volume("-wi-a-----")), None);
        item.conditions = vec![condition(true)];
        assert_eq!(
            sick(&item, &volume("-wi-a-----")).as_deref(),
            Some("a PV is missing")
        );
    }

    #[test]
    fn a_volume_without_a_device_has_no_number() {
        let mut volume = LogicalVolume::default();
        assert_eq!(devno(&volume), None);
        volume.dev_major = 253;
        assert_eq!(devno(&volume), Some((253, 0)));
    }
}
