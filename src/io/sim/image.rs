//! The bytes of a simulated disk: sparse, and cheap to clone.
//!
//! A clone shares all pages with its original, and either copies a page only when it changes it.
//! Pages that were never written read as zeroes and take no memory.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::sync::Arc;

/// Length of a page in bytes: the unit that is shared or copied.
pub(super) const PAGE_LEN: usize = 4096;
/// Pages of a leaf, so that cloning an image of a gibibyte touches 4,096 counters at most.
const LEAF_PAGE_COUNT: usize = 64;

/// One page.
pub(super) type Page = [u8; PAGE_LEN];

/// A page that images share.
pub(super) type SharedPage = Arc<Page>;

#[derive(Clone)]
struct Leaf([Option<SharedPage>; LEAF_PAGE_COUNT]);

/// What a disk holds, or held at some moment.
#[derive(Clone)]
pub struct Image {
    len: u64,
    leaves: BTreeMap<u64, Arc<Leaf>>,
}

impl Image {
    /// `len` bytes of zeroes.
    pub fn new(len: u64) -> Self {
        Self {
            len,
            leaves: BTreeMap::new(),
        }
    }

    /// An image of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut image = Self::new(bytes.len() as u64);
        image.write(0, bytes);
        image
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `bytes` from `offset` on, both in bytes. What lies past the end reads as zeroes.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) {
        for (index, start, part) in pages_of_mut(offset, bytes) {
            match self
                .page(index)
                .and_then(|page| page.get(start..start + part.len()))
            {
                Some(source) => part.copy_from_slice(source),
                None => part.fill(0),
            }
        }
    }

    /// Puts `bytes` at `offset`, at any byte: what lies past the end is left out. For tests that
    /// damage an image.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let room = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        for (index, start, part) in pages_of(offset, bytes) {
            let place = self.place(index);
            let mut page = place.as_deref().copied().unwrap_or([0; PAGE_LEN]);
            if let Some(target) = page.get_mut(start..start + part.len()) {
                target.copy_from_slice(part);
            }
            *place = Some(Arc::new(page));
        }
    }

    /// Inverts bit `bit` (0 to 7) of the byte at `offset`.
    pub fn flip_bit(&mut self, offset: u64, bit: u8) {
        let mut byte = [0];
        self.read(offset, &mut byte);
        byte[0] ^= 1 << (bit % 8);
        self.write(offset, &byte);
    }

    /// Cuts it to `len` bytes, or makes it longer with zeroes.
    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            let page_len = PAGE_LEN as u64;
            let kept_page_count = len.div_ceil(page_len);
            // The rest of the page that is cut goes first, while it is still inside.
            let rest_len = (kept_page_count * page_len).min(self.len) - len;
            self.write(len, &vec![0; usize::try_from(rest_len).unwrap_or(0)]);
            self.drop_pages_from(kept_page_count);
        }
        self.len = len;
    }

    fn drop_pages_from(&mut self, index: u64) {
        let (leaf, first) = split(index, LEAF_PAGE_COUNT);
        self.leaves.split_off(&(leaf + 1));
        if let Some(leaf) = self.leaves.get_mut(&leaf) {
            let pages = Arc::make_mut(leaf).0.iter_mut();
            pages.skip(first).for_each(|page| *page = None);
        }
    }

    /// Page `index`, if it was ever written.
    pub(super) fn page(&self, index: u64) -> Option<&SharedPage> {
        let (leaf, place) = split(index, LEAF_PAGE_COUNT);
        self.leaves.get(&leaf)?.0.get(place)?.as_ref()
    }

    /// Replaces page `index`.
    pub(super) fn set_page(&mut self, index: u64, page: Option<SharedPage>) {
        *self.place(index) = page;
    }

    fn place(&mut self, index: u64) -> &mut Option<SharedPage> {
        let (leaf, place) = split(index, LEAF_PAGE_COUNT);
        let empty = || Arc::new(Leaf([const { None }; LEAF_PAGE_COUNT]));
        let leaf = self.leaves.entry(leaf).or_insert_with(empty);
        #[expect(clippy::indexing_slicing, reason = "`split` keeps it below the count")]
        &mut Arc::make_mut(leaf).0[place]
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        let is_zero =
            |page: Option<&SharedPage>| page.is_none_or(|page| page.iter().all(|&b| b == 0));
        let leaf_indices = || self.leaves.keys().chain(other.leaves.keys());
        let page_count = LEAF_PAGE_COUNT as u64;
        let mut pages = leaf_indices().flat_map(|leaf| leaf * page_count..(leaf + 1) * page_count);
        self.len == other.len
            && pages.all(|index| match (self.page(index), other.page(index)) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
                (a, b) => is_zero(a) && is_zero(b),
            })
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image of {} bytes", self.len)
    }
}

/// Cuts `bytes` at page bounds: page index, place in the page, and the part.
fn pages_of(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let mut rest = bytes;
    let mut at = offset;
    std::iter::from_fn(move || {
        let (index, start) = split(at, PAGE_LEN);
        let (part, later) = rest.split_at(rest.len().min(PAGE_LEN - start));
        rest = later;
        at += part.len() as u64;
        (!part.is_empty()).then_some((index, start, part))
    })
}

fn pages_of_mut(offset: u64, bytes: &mut [u8]) -> impl Iterator<Item = (u64, usize, &mut [u8])> {
    let mut rest = bytes;
    let mut at = offset;
    std::iter::from_fn(move || {
        let (index, start) = split(at, PAGE_LEN);
        let all = std::mem::take(&mut rest);
        let (part, later) = all.split_at_mut(all.len().min(PAGE_LEN - start));
        rest = later;
        at += part.len() as u64;
        (!part.is_empty()).then_some((index, start, part))
    })
}

/// `number` as a multiple of `len` and a rest below it.
fn split(number: u64, len: usize) -> (u64, usize) {
    let rest = usize::try_from(number % len as u64).unwrap_or(0);
    (number / len as u64, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(image: &Image, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xee; len];
        image.read(offset, &mut bytes);
        bytes
    }

    #[test]
    fn bytes_are_read_back_across_pages_and_leaves() {
        let mut image = Image::new(1 << 30);
        let text: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
        for offset in [0, 4095, (64 << 12) - 5000, (1 << 30) - 10_000] {
            image.write(offset, &text);
            assert_eq!(bytes(&image, offset, text.len()), text);
        }
        assert_eq!(bytes(&image, 1 << 29, 8), [0; 8]);
    }

    #[test]
    fn a_clone_keeps_its_bytes_when_the_original_changes() {
        let mut image = Image::from_bytes(&[1; 10_000]);
        let clone = image.clone();
        assert_eq!(image, clone);
        image.flip_bit(5000, 3);
        assert_eq!(bytes(&image, 5000, 1), [9]);
        assert_eq!(bytes(&clone, 5000, 1), [1]);
        assert_ne!(image, clone);
    }

    #[test]
    fn an_image_that_is_cut_and_made_longer_has_zeroes_there() {
        let mut image = Image::from_bytes(&vec![1; 1 << 20]);
        image.set_len(300_001);
        image.write(300_000, &[2, 2]);
        image.set_len(1 << 20);
        assert_eq!(bytes(&image, 299_999, 4), [1, 2, 0, 0]);
        assert!(
            bytes(&image, 300_001, 700_000)
                .iter()
                .all(|&byte| byte == 0)
        );
    }

    #[test]
    fn a_page_of_zeroes_equals_one_that_was_never_written() {
        let mut image = Image::new(1 << 20);
        image.write(8192, &[0; 4096]);
        assert_eq!(image, Image::new(1 << 20));
        assert_ne!(image, Image::new(1 << 21));
    }
}
