//! The oracle: layers extracted each into a directory of its own, as containerd and Docker's overlay2 driver do it, and merged by
//! the kernel's overlayfs. Needs root, and a kernel that lets it mount.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, XattrFlags, mknodat, openat2, setxattr};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{Seen, StackEntry, What};

/// Why the kernel's view cannot be had here, if it cannot.
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can mount overlayfs".to_owned());
    }
    let whiteout = |path: &str| StackEntry { path: path.to_owned(), what: What::Whiteout, mode: 0o644 };
    let opaque = |path: &str| StackEntry { path: path.to_owned(), what: What::Opaque, mode: 0o644 };
    match Merged::new(&[vec![whiteout("a"), opaque("b")]]) {
        Ok(_) => None,
        Err(error) => Some(format!("overlayfs cannot be mounted: {error}")),
    }
}

/// A stack, mounted read-only until it is dropped.
pub struct Merged {
    mount: Mount,
    /// One directory for each layer.
    _folder: TempDir,
}

/// Where the kernel says that a path leads.
#[derive(Debug, PartialEq, Eq)]
pub enum Resolved {
    /// To this canonical path, without a leading slash.
    Path(Vec<u8>),
    Absent,
    NotADirectory,
    Loop,
}

impl Merged {
    /// Extracts and mounts these layers, the lowest first.
    pub fn new(layers: &[Vec<StackEntry>]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        // Two empty layers under them all, as overlayfs wants two at least.
        let mut lower = vec![folder.path().join("empty"), folder.path().join("empty-too")];
        lower.iter().try_for_each(fs::create_dir)?;
        for (number, layer) in layers.iter().enumerate() {
            let root = folder.path().join(number.to_string());
            fs::create_dir(&root)?;
            let point = folder.path().join(format!("below-{number}"));
            Extraction { root: &root, lower: &lower, point, below: OnceCell::new() }.run(layer)?;
            lower.insert(0, root);
        }
        let mount = Mount::new(&lower, &folder.path().join("merged"))?;
        Ok(Merged { mount, _folder: folder })
    }

    /// Everything in the tree but its root, by canonical path.
    pub fn listing(&self) -> io::Result<BTreeMap<Vec<u8>, Seen>> {
        let mut listing = BTreeMap::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            for name in fs::read_dir(self.mount.point.join(&directory))? {
                let path = directory.join(name?.file_name());
                let absolute = self.mount.point.join(&path);
                let metadata = match fs::symlink_metadata(&absolute) {
                    Ok(metadata) => metadata,
                    // In a directory that no other layer has, the kernel lists whiteouts, though nothing is there.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let mode = metadata.mode() & 0o7777;
                let kind = metadata.file_type();
                let seen = if kind.is_dir() {
                    pending.push(path.clone());
                    Seen::Directory { mode }
                } else if kind.is_symlink() {
                    Seen::Symlink(fs::read_link(&absolute)?.into_os_string().into_vec())
                } else if kind.is_fifo() {
                    Seen::Fifo { mode }
                } else {
                    Seen::File { mode, sha256: sha256(&fs::read(&absolute)?) }
                };
                listing.insert(path.into_os_string().into_vec(), seen);
            }
        }
        Ok(listing)
    }

    /// Resolves a path as a process does whose root is the tree.
    pub fn resolve(&self, path: &str, follow: bool) -> io::Result<Resolved> {
        let root = fs::File::open(&self.mount.point)?;
        let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
        let open = || openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT);
        // openat2(2) gives up on a `..` when anything is mounted or renamed meanwhile, and asks to be called again.
        let opened = std::iter::repeat_with(open).find(|opened| !matches!(opened, Err(Errno::AGAIN)));
        match opened.unwrap_or(Err(Errno::AGAIN)) {
            Ok(file) => {
                use std::os::fd::AsRawFd;
                let whole = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                let inside = whole.strip_prefix(&self.mount.point).map_err(io::Error::other)?;
                Ok(Resolved::Path(inside.as_os_str().as_bytes().to_vec()))
            }
            Err(Errno::NOENT) => Ok(Resolved::Absent),
            Err(Errno::NOTDIR) => Ok(Resolved::NotADirectory),
            Err(Errno::LOOP) => Ok(Resolved::Loop),
            Err(error) => Err(error.into()),
        }
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A mounted overlay.
struct Mount {
    point: PathBuf,
}

impl Mount {
    /// Mounts `lower`, the uppermost first, on a new directory.
    fn new(lower: &[PathBuf], point: &Path) -> io::Result<Self> {
        fs::create_dir(point)?;
        let lower: Vec<_> = lower.iter().map(|layer| layer.display().to_string()).collect();
        let options = format!("ro,lowerdir={}", lower.join(":"));
        let output = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(point).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(Mount { point: point.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, as a program that another thread starts may have inherited a directory of it for an instant.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.point).status();
        if !unmounted.is_ok_and(|status| status.success()) && !std::thread::panicking() {
            panic!("{} cannot be unmounted", self.point.display());
        }
    }
}

/// One layer on its way into its directory.
struct Extraction<'a> {
    root: &'a Path,
    /// The layers below, the uppermost first.
    lower: &'a [PathBuf],
    /// Where they are mounted when they are needed, and their mount then.
    point: PathBuf,
    below: OnceCell<Mount>,
}

impl Extraction<'_> {
    fn run(&self, layer: &[StackEntry]) -> io::Result<()> {
        layer.iter().try_for_each(|entry| {
            self.extract(entry).map_err(|error| io::Error::other(format!("{entry:?} cannot be extracted: {error}")))
        })
    }

    fn extract(&self, entry: &StackEntry) -> io::Result<()> {
        let path = self.root.join(&entry.path);
        if entry.what == What::Whiteout && self.is_below_a_file(&entry.path) {
            return Ok(());
        }
        self.make_parents(&entry.path)?;
        match &entry.what {
            // Both fail where something is in the way, as the generator must not let happen.
            What::Whiteout => return Ok(mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0)?),
            What::Opaque => {
                self.make_parents(&format!("{}/-", entry.path))?;
                return Ok(setxattr(&path, "trusted.overlay.opaque", b"y", XattrFlags::empty())?);
            }
            _ => {}
        }
        match fs::symlink_metadata(&path) {
            Ok(there) if there.is_dir() && entry.what == What::Directory => {}
            Ok(there) if there.is_dir() => fs::remove_dir_all(&path)?,
            Ok(_) => fs::remove_file(&path)?,
            Err(_) => {}
        }
        let mode = Permissions::from_mode(entry.mode);
        match &entry.what {
            What::File(content) => {
                fs::write(&path, content)?;
                fs::set_permissions(&path, mode)
            }
            What::Directory => {
                if !path.is_dir() {
                    fs::create_dir(&path)?;
                }
                fs::set_permissions(&path, mode)
            }
            What::Symlink(target) => symlink(target, &path),
            What::HardLink(target) if fs::symlink_metadata(self.root.join(target)).is_ok() => {
                fs::hard_link(self.root.join(target), &path)
            }
            // As after a copy up: fs::copy takes the mode along.
            What::HardLink(target) => fs::copy(self.below(target)?, &path).map(drop),
            What::Fifo => {
                mknodat(CWD, &path, FileType::Fifo, Mode::empty(), 0)?;
                fs::set_permissions(&path, mode)
            }
            What::Whiteout | What::Opaque => Ok(()),
        }
    }

    /// Where the layers below have this path, merged.
    fn below(&self, path: &str) -> io::Result<PathBuf> {
        let mount = match self.below.get() {
            Some(mount) => mount,
            None => {
                let mount = Mount::new(self.lower, &self.point)?;
                self.below.get_or_init(|| mount)
            }
        };
        Ok(mount.point.join(path))
    }

    /// Whether the layer has put something else where `path` wants a directory.
    fn is_below_a_file(&self, path: &str) -> bool {
        path.match_indices('/').any(|(slash, _)| {
            let parent = fs::symlink_metadata(self.root.join(&path[..slash]));
            parent.is_ok_and(|parent| !parent.is_dir())
        })
    }

    /// Makes the parents that have no entry yet, with the mode that the uppermost layer below has for them, as containerd does
    /// (`mkparent` in its `archive/tar.go`): whatever hides that layer's directory, unless it is something else there.
    fn make_parents(&self, path: &str) -> io::Result<()> {
        for (slash, _) in path.match_indices('/') {
            let parent = self.root.join(&path[..slash]);
            if fs::symlink_metadata(&parent).is_ok() {
                continue;
            }
            fs::create_dir(&parent)?;
            let mode = self.mode_below(&path[..slash])?.unwrap_or(0o755);
            fs::set_permissions(&parent, Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// The mode of the directory `path` in the uppermost layer below that has anything there.
    fn mode_below(&self, path: &str) -> io::Result<Option<u32>> {
        for layer in self.lower {
            let root = fs::File::open(layer)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match openat2(&root, path, flags, Mode::empty(), resolve) {
                Ok(there) => {
                    let there = fs::File::from(there).metadata()?;
                    return Ok(there.is_dir().then_some(there.mode() & 0o7777));
                }
                Err(Errno::NOENT) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}
