//! What volume is on a device: its identity and geometry, out of block headers alone.
//!
//! Every header is a copy of what a superblock would hold. Two of them must agree, so that one
//! stray or damaged page decides nothing.

use super::fetch::Fetcher;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::{Geometry, MAX_BLOCK_LEN, VolumeId};
use crate::block::{BlockHeader, DecodeError, PAGE_LEN};
use crate::io::Device;

/// How far a damaged beginning is searched for headers, in bytes: four of the longest blocks.
const SEARCH_LEN: u64 = 4 * MAX_BLOCK_LEN as u64;
/// How much one read of that search takes, in bytes.
const SEARCH_STEP: usize = 1 << 20;
/// Rows for which no bytes have to be there: 64 MiB of memory.
const FREE_ROW_COUNT: u64 = 1 << 20;
/// How many slots are asked to agree with the first header.
const WITNESSES: u64 = 8;

/// A volume as its headers describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its identity.
    pub volume: VolumeId,
    /// Its measures.
    pub geometry: Geometry,
}

impl Located {
    fn of(header: &BlockHeader) -> Self {
        Self {
            volume: header.id.volume,
            geometry: header.geometry,
        }
    }
}

/// Finds the volume on a device: from its first header, or else by looking for headers in the
/// first 256 MiB.
///
/// # Errors
///
/// - [`NotFound`](ErrorKind::NotFound): no two headers agree.
/// - [`Unsupported`](ErrorKind::Unsupported): a later release wrote it.
/// - [`Io`](ErrorKind::Io): the device cannot be read at all.
pub fn locate<D: Device + ?Sized>(fetch: &mut Fetcher<'_, D>) -> Result<Located> {
    if fetch.device_len() < PAGE_LEN as u64 {
        return Err(no_volume("it is too short to hold a block"));
    }
    let first = fetch
        .read(0, PAGE_LEN)
        .ok()
        .map(|page| BlockHeader::decode(&page));
    if let Some(Err(DecodeError::Version(version))) = first {
        return Err(later_release(version));
    }
    let found = match first {
        Some(Ok(header)) if header.id.slot == 0 && confirmed(fetch, &header, 0) => {
            Located::of(&header)
        }
        _ => search(fetch, |_| false)?,
    };
    check_len(&found, fetch.device_len())
}

/// As [`locate`], with the help of a `volume.json`: where no two headers agree, one is enough which
/// agrees with that file.
///
/// # Errors
///
/// As [`locate`].
pub fn locate_named<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    is_named: impl Fn(&Located) -> bool,
) -> Result<Located> {
    let by_headers = locate(fetch);
    if !by_headers
        .as_ref()
        .is_err_and(|e| e.kind() == ErrorKind::NotFound)
    {
        return by_headers;
    }
    let found = search(fetch, is_named)?;
    check_len(&found, fetch.device_len())
}

/// A device that was cut short can be read as far as it goes. One that lacks most of a volume of
/// more than a million blocks is refused, so that what is kept in memory is bounded by the device
/// and not by what it claims.
fn check_len(found: &Located, device_len: u64) -> Result<Located> {
    let volume_len = found.geometry.device_len();
    let has_many_rows = found.geometry.slot_count() > FREE_ROW_COUNT;
    if has_many_rows && volume_len / 2 > device_len {
        let text = format!("{device_len} bytes of a volume of {volume_len}: most of it is missing");
        return Err(Error::damaged(text).with_remedy("Check that this is the whole device"));
    }
    Ok(*found)
}

/// Whether another slot among the first ones holds a header of the same volume.
fn confirmed<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    header: &BlockHeader,
    own_slot: u64,
) -> bool {
    let wanted = Located::of(header);
    let slots = (0..wanted.geometry.slot_count()).take(WITNESSES as usize);
    slots.filter(|slot| *slot != own_slot).any(|slot| {
        let page = fetch.read(wanted.geometry.offset_of_slot(slot), PAGE_LEN);
        page.ok()
            .and_then(|page| BlockHeader::decode(&page).ok())
            .is_some_and(|other| Located::of(&other) == wanted && other.id.slot == slot)
    })
}

/// The first volume that two headers agree about, or one of which `is_enough`.
fn search<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    is_enough: impl Fn(&Located) -> bool,
) -> Result<Located> {
    let end = SEARCH_LEN.min(fetch.device_len()) / PAGE_LEN as u64 * PAGE_LEN as u64;
    let mut seen: Vec<Located> = Vec::new();
    let mut at = 0;
    while at < end {
        let len = SEARCH_STEP.min((end - at) as usize);
        // An unreadable stretch is stepped over: the headers behind it may be whole.
        let pages = fetch.read(at, len).unwrap_or_default();
        for (number, page) in pages.chunks_exact(PAGE_LEN).enumerate() {
            let offset = at + (number * PAGE_LEN) as u64;
            let header = match BlockHeader::decode(page) {
                Ok(header) => header,
                Err(DecodeError::Version(version)) => return Err(later_release(version)),
                Err(_) => continue,
            };
            let found = Located::of(&header);
            if found.geometry.offset_of_slot(header.id.slot) != offset {
                continue;
            }
            if seen.contains(&found) || is_enough(&found) {
                return Ok(found);
            }
            seen.push(found);
        }
        at += len as u64;
    }
    Err(no_volume("no two block headers agree in its first 256 MiB"))
}

fn no_volume(why: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("no camring volume here: {why}"),
    )
    .with_remedy("Create one, or check the path")
}

fn later_release(version: u64) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("a later release of camring wrote this volume (format {version:#x})"),
    )
    .with_remedy("Use that release or a newer one")
}
