//! Media that rot: bits that flip, and writes that strayed. No crash does that; a start has to notice.

use std::sync::Arc;

use super::{
    Rng, SimDisk,
    disk::{Platter, SECTOR},
};

impl SimDisk {
    /// Flips one bit of one file, if there is one that long.
    pub fn flip(&self, path: &str, byte: usize, bit: u8) -> bool {
        let mut platter = self.platter();
        let Some(id) = platter.names.get(path).copied() else { return false };
        let Some(file) = platter.files.get_mut(&id) else { return false };
        let Some(seen) = Arc::make_mut(&mut file.seen).get_mut(byte) else { return false };
        *seen ^= 1 << (bit % 8);
        if let (Some(synced), Some(seen)) = (Arc::make_mut(&mut file.synced).get_mut(byte), file.seen.get(byte)) {
            *synced = *seen;
        }
        true
    }

    /// Flips any one bit of what was written. Whether there was anything.
    pub fn flip_any(&self, rng: &mut Rng) -> bool {
        let Some((path, sector)) = self.any_written_sector(rng) else { return false };
        self.flip(&path, sector * SECTOR + rng.below(SECTOR as u64) as usize, rng.below(8) as u8)
    }

    /// A sector that was written appears at another place too, over what was there: a write that strayed. Not over what
    /// was written last to a file: there it may pass for a torn write, which no journal can tell. Whether there was any.
    pub fn stray(&self, rng: &mut Rng) -> bool {
        let (Some((from, source)), Some((to, target))) = (self.any_written_sector(rng), self.any_written_sector(rng))
        else {
            return false;
        };
        let mut platter = self.platter();
        let bytes = platter.sector(&from, source).map(<[u8]>::to_vec);
        let Some(bytes) = bytes.filter(|_| (&from, source) != (&to, target)) else { return false };
        let file = platter.names.get(&to).copied().and_then(|id| platter.files.get_mut(&id));
        let Some(file) = file.filter(|file| !file.last.contains(&target)) else { return false };
        for side in [&mut file.seen, &mut file.synced] {
            if let Some(place) = Arc::make_mut(side).get_mut(target * SECTOR..(target + 1) * SECTOR) {
                place.copy_from_slice(&bytes);
            }
        }
        true
    }

    /// A sector that was written reads as zeros: an extent that was lost. Not of what was written last to a file: there it
    /// may pass for a torn write. Whether there was any.
    pub fn blank(&self, rng: &mut Rng) -> bool {
        let Some((path, sector)) = self.any_written_sector(rng) else { return false };
        let mut platter = self.platter();
        let file = platter.names.get(&path).copied().and_then(|id| platter.files.get_mut(&id));
        let Some(file) = file.filter(|file| !file.last.contains(&sector)) else { return false };
        for side in [&mut file.seen, &mut file.synced] {
            if let Some(place) = Arc::make_mut(side).get_mut(sector * SECTOR..(sector + 1) * SECTOR) {
                place.fill(0);
            }
        }
        true
    }

    /// Any sector of any file that is not all zeros.
    fn any_written_sector(&self, rng: &mut Rng) -> Option<(String, usize)> {
        let platter = self.platter();
        let written = platter.names.keys().flat_map(|path| {
            let count = platter.names.get(path).and_then(|id| platter.files.get(id)).map_or(0, |file| file.seen.len());
            let whole = 0..count / SECTOR;
            whole
                .filter(|sector| platter.sector(path, *sector).is_some_and(|bytes| bytes != [0; SECTOR]))
                .map(|sector| (path.clone(), sector))
        });
        let all: Vec<(String, usize)> = written.collect();
        (!all.is_empty()).then(|| all.get(rng.below(all.len() as u64) as usize).cloned()).flatten()
    }
}

impl Platter {
    fn sector(&self, path: &str, sector: usize) -> Option<&[u8]> {
        let file = self.files.get(self.names.get(path)?)?;
        file.seen.get(sector * SECTOR..(sector + 1) * SECTOR)
    }
}
