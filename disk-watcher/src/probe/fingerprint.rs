//! Names the state of a disk that a human looked at, so that a later request can be void when it has changed.

use std::io::{Read, Seek};

use sha2::{Digest, Sha256};

use super::disk::read_exactly;
use super::{Finding, Geometry, ProbeError};

/// Bytes at each end that count.
const EDGE: u64 = 1 << 20;

/// SHA-256, as 64 lower-case hex digits, over the disk's id as the caller names it, its size, its first and last MiB
/// and the list of findings. Disks of up to 2 MiB count whole. Each part carries its length, so no two different
/// disks give one input.
///
/// # Errors
/// A failed or short read, or a geometry that makes no sense.
pub fn fingerprint<R: Read + Seek>(
    id: &str,
    mut reader: R,
    geometry: Geometry,
    findings: &[Finding],
) -> Result<String, ProbeError> {
    geometry.check()?;
    let size = geometry.size_bytes;
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(id.as_bytes());
    part(&size.to_le_bytes());
    let tail = size.saturating_sub(EDGE).max(EDGE.min(size));
    for (from, to) in [(0, EDGE.min(size)), (tail, size)] {
        let mut edge = vec![0; usize::try_from(to - from).unwrap_or(0)];
        read_exactly(&mut reader, geometry, from, &mut edge)?;
        part(&edge);
    }
    let mut names: Vec<(u64, &str)> = findings
        .iter()
        .map(|finding| (finding.offset, finding.kind.name()))
        .collect();
    names.sort_unstable();
    for (offset, name) in names {
        part(&offset.to_le_bytes());
        part(name.as_bytes());
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
