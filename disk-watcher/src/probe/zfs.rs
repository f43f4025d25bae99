//! ZFS: four labels of 256 KiB, two at each end of the device.

use std::io::{Read, Seek};

use super::disk::Disk;
use super::field::{be32, be64, le64};
use super::{Finding, ProbeError, SignatureKind};

/// Bytes of a label; the device counts in whole labels (ZFS On-Disk Specification, 1.2; vdev_impl.h).
const LABEL: u64 = 256 << 10;
/// Name-value area of a label: from 16 KiB, 112 KiB long.
const NVLIST: u64 = 16 << 10;
/// Uberblock ring of a label: from 128 KiB to its end, in slots of 1 KiB or more.
const RING: u64 = 128 << 10;
/// Uberblock magic "00bab10c" (uberblock_impl.h), eight bytes in the writer's byte order.
const UBERBLOCK: u64 = 0x00BA_B10C;

/// Looks at L0 to L3, in the name-value area and in the ring: either is enough, since `zpool labelclear` and half an
/// overwrite leave one without the other. A pool in the first partition is looked for at 1 MiB as well.
pub(super) fn scan<R: Read + Seek>(
    disk: &mut Disk<R>,
    found: &mut Vec<Finding>,
) -> Result<(), ProbeError> {
    let whole = disk.size() / LABEL * LABEL;
    let mut labels = vec![("L0", Some(0)), ("L1", Some(LABEL))];
    labels.push(("L2", whole.checked_sub(2 * LABEL)));
    labels.push(("L3", whole.checked_sub(LABEL)));
    labels.push(("L0 of a former partition", Some(1 << 20)));
    labels.push(("L1 of a former partition", Some((1 << 20) + LABEL)));
    for (name, offset) in labels {
        let Some(offset) = offset else {
            continue;
        };
        if let Some(area) = disk.at(offset + NVLIST, 64)?
            && is_nvlist(&area)
        {
            let detail = format!("name-value list of {name}");
            found.push(Finding {
                kind: SignatureKind::ZfsMember,
                offset: offset + NVLIST,
                length: 24,
                detail,
            });
        }
        let Some(ring) = disk.at(offset + RING, 128 << 10)? else {
            continue;
        };
        let magic = |slot: &&[u8]| le64(slot, 0) == UBERBLOCK || be64(slot, 0) == UBERBLOCK;
        let slots = ring.chunks_exact(1024).filter(magic).count();
        if slots > 0 {
            let first = ring
                .chunks_exact(1024)
                .position(|slot| magic(&slot))
                .unwrap_or(0) as u64
                * 1024;
            let detail = format!("{slots} uberblocks of {name}");
            found.push(Finding {
                kind: SignatureKind::ZfsMember,
                offset: offset + RING + first,
                length: 8,
                detail,
            });
        }
    }
    Ok(())
}

/// An XDR-encoded name-value list (nvpair.c): encoding 1, byte order 0 or 1, two reserved zeros; then, big-endian,
/// version 0 and flags 1 (unique names), and a first pair of sensible size whose name is text.
fn is_nvlist(area: &[u8]) -> bool {
    let (size, name) = (be32(area, 12), be32(area, 20));
    let text = |length: usize| area[24..24 + length].iter().all(|b| b.is_ascii_graphic());
    area[0] == 1
        && area[1] <= 1
        && area[2..4] == [0, 0]
        && be32(area, 4) == 0
        && be32(area, 8) <= 3
        && (16..112 << 10).contains(&size)
        && usize::try_from(name).is_ok_and(|name| (1..=40).contains(&name) && text(name))
}
