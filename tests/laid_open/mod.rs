//! What stands in a folder's files, also where it is packed: to look for what must not be there.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "each test uses a part"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every file below a folder: its bytes, and behind them what the packed batches of a journal hold.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            all.extend(files(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            let unpacked = unpacked(&bytes);
            all.push((path, [bytes, unpacked].concat()));
        }
    }
    all
}

/// What the packed batches hold, if these are the bytes of a journal's segment. One that is torn is none.
pub(crate) fn unpacked(segment: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for batch in segment.chunks(512).enumerate().filter(|(_, sector)| sector.starts_with(b"POB1") && sector[58] == 1) {
        let (length, rest) = (batch.1[4..8].try_into().expect("four bytes"), &segment[512 * batch.0..]);
        let block = &rest[64..u32::from_le_bytes(length) as usize - 8];
        all.extend(lz4_flex::block::decompress_size_prepended(block).unwrap_or_default());
    }
    all
}

/// Where a text stands.
pub(crate) fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    files(folder).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
}
