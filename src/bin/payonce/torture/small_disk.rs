//! A real filesystem that is small, and full at times. Mounting one takes root.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How large it is: room for a run's journal. What is to be full is filled.
const SIZE: &str = "size=1g";
/// In pieces of this many bytes.
const PIECE: usize = 64 * 1024;

/// The filesystem. It is unmounted, and everything in it lost, when it is dropped.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one. Fails where that is not allowed.
    pub(super) fn mount(place: PathBuf) -> io::Result<SmallDisk> {
        fs::create_dir_all(&place)?;
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "payonce-torture"]).arg(&place))?;
        Ok(SmallDisk(place))
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

    /// Copies what is in it to where it stays.
    pub(super) fn keep(&self, folder: &Path) -> io::Result<()> {
        self.free()?;
        succeed(Command::new("cp").arg("-a").arg(&self.0).arg(folder))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = succeed(Command::new("umount").arg(&self.0)) {
            eprintln!("payonce: {} stays mounted: {error}", self.0.display());
        }
    }
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(io::Error::other(said.trim().to_owned())) }
}
