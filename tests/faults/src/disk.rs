//! Where a broker's data is: a file system of its own in a file on the machine's disk, which can be filled, or a plain folder.
//!
//! A file system in a file and not one in memory: what is synced goes to the disk, and takes as long as that does.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;

use crate::failure::{Failure, context};
use crate::step::{must, output_of};

/// What a file system holds. The flights of a run and what brokers keep for themselves are a part of it.
const DISK_BYTES: u64 = 2 << 30;
/// The file that fills it.
const BALLAST: &str = "ballast";

/// A broker's disk.
pub(crate) struct Disk {
    folder: PathBuf,
    /// Of the file system; none for a plain folder.
    image: Option<PathBuf>,
}

impl Disk {
    /// Makes a file system in `image` and mounts it at `folder`. Where we are it is seen by nobody else, and goes with us.
    pub(crate) fn mounted(image: PathBuf, folder: PathBuf) -> Result<Disk, Failure> {
        fs::create_dir_all(&folder).map_err(context("make a folder"))?;
        let file = File::create(&image).map_err(context("make a disk"))?;
        file.set_len(DISK_BYTES).map_err(context("make a disk"))?;
        output_of(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        output_of(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder))?;
        Ok(Disk { folder, image: Some(image) })
    }

    /// A folder on whatever disk that is.
    pub(crate) fn plain(folder: PathBuf) -> Result<Disk, Failure> {
        fs::create_dir_all(&folder).map_err(context("make a folder"))?;
        Ok(Disk { folder, image: None })
    }

    /// Where a broker has its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Leaves no byte free. Says how many bytes that took.
    pub(crate) fn fill(&self) -> Result<u64, Failure> {
        let failed = context("fill a disk");
        let mut file = File::create(self.folder.join(BALLAST)).map_err(&failed)?;
        let free = rustix::fs::statvfs(&self.folder).map_err(|error| failed(error.into()))?;
        // What is taken at once is quick; what is left of it is written until nothing fits.
        let (mut taken, mut step) = (0, free.f_bavail * free.f_frsize);
        while step >= free.f_frsize {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&file, flags, taken, step) {
                Ok(()) => taken += step,
                Err(Errno::NOSPC) => step /= 2,
                Err(error) => return Err(failed(error.into())),
            }
        }
        // The last blocks went to the file's own map of blocks, or to a broker in between: both are what is wanted.
        let _ = file.write_all(&[1]);
        Ok(taken)
    }

    /// Undoes [`fill`](Disk::fill).
    pub(crate) fn empty(&self) -> Result<(), Failure> {
        fs::remove_file(self.folder.join(BALLAST)).map_err(context("empty a disk"))
    }

    /// Takes it away, with all that is on it.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        match &self.image {
            Some(image) => {
                must(&["umount", &self.folder.display().to_string()])?;
                fs::remove_file(image).map_err(context("remove a disk"))
            }
            None => fs::remove_dir_all(&self.folder).map_err(context("remove a folder")),
        }
    }
}

/// An empty folder for a run. One that is there already and has no history of a run in it is not touched.
pub(crate) fn fresh(folder: &Path, history: &str) -> Result<(), Failure> {
    if folder.exists() {
        if !folder.join(history).exists() {
            let folder = folder.display();
            return Err(Failure(format!("{folder} is there, and not from a run of this program")));
        }
        fs::remove_dir_all(folder).map_err(context("remove what an earlier run left"))?;
    }
    fs::create_dir_all(folder).map_err(context("make a folder"))
}
