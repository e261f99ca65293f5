//! A real filesystem that is small, and full at times. Mounting one takes root.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How large it is, in MiB: room for a round's journal. What is to be full is filled.
const SIZE: u64 = 512;
/// In pieces of this many bytes.
const PIECE: usize = 64 * 1024;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// In memory.
    Tmpfs,
    /// On a file, through a loop device: with a journal of its own, and metadata that take space too.
    Ext4,
}

/// The filesystem. It is unmounted, and everything in it lost, when it is dropped.
pub(super) struct SmallDisk {
    place: PathBuf,
    image: Option<PathBuf>,
}

impl SmallDisk {
    /// Mounts one. Fails where that is not allowed.
    pub(super) fn mount(kind: Kind, place: PathBuf) -> io::Result<SmallDisk> {
        fs::create_dir_all(&place)?;
        // Made first: whatever fails, what there is by then is removed.
        let disk = match kind {
            Kind::Tmpfs => SmallDisk { place, image: None },
            Kind::Ext4 => SmallDisk { image: Some(place.with_extension("image")), place },
        };
        match &disk.image {
            None => {
                let size = format!("size={SIZE}m");
                let options = ["-t", "tmpfs", "-o", &size, "payonce-torture"];
                succeed(Command::new("mount").args(options).arg(&disk.place))?;
            }
            Some(image) => {
                // Sparse: it takes what is written into it.
                File::create(image)?.set_len(SIZE << 20)?;
                succeed(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(image))?;
                succeed(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&disk.place))?;
            }
        }
        Ok(disk)
    }

    /// Takes all the space there is.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        for piece in [PIECE, 1] {
            let piece = vec![1; piece];
            loop {
                match ballast.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub(super) fn free(&self) -> io::Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Copies the data to where they stay.
    pub(super) fn keep(&self, folder: &Path) -> io::Result<()> {
        self.free()?;
        succeed(Command::new("cp").arg("-a").arg(self.data()).arg(folder))
    }

    /// Where data go.
    pub(super) fn data(&self) -> PathBuf {
        self.place.join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mounted = succeed(Command::new("mountpoint").arg("-q").arg(&self.place)).is_ok();
        if mounted && let Err(error) = succeed(Command::new("umount").arg(&self.place)) {
            return eprintln!("payonce: {} stays mounted: {error}", self.place.display());
        }
        if let Some(image) = &self.image {
            // If it was never made there is nothing to remove.
            let _ = fs::remove_file(image);
        }
    }
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(io::Error::other(said.trim().to_owned())) }
}
