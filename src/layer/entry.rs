//! One member of a layer's tar, as the rootfs needs it.

/// A tar member with its name made canonical and its metadata decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path inside the image: raw bytes, no leading `/` or `./`, no `.` or empty components, no trailing slash. The root
    /// itself is empty.
    pub path: Vec<u8>,
    /// What the entry is.
    pub kind: Kind,
    /// The permission bits with setuid, setgid and sticky (`0o7777` at most).
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u64,
    /// The owner's group ID.
    pub gid: u64,
    /// The modification time: seconds since the Unix epoch, and nanoseconds (0 to 999,999,999).
    pub mtime: (i64, u32),
    /// Extended attributes (`SCHILY.xattr.*` records), names without the prefix.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes from the start of the uncompressed tar to the first byte of the entry's first header (a PAX or GNU long name
    /// header where it has one).
    pub header_offset: u64,
    /// Bytes from the start of the uncompressed tar to the entry's first data byte.
    pub data_offset: u64,
}

impl Entry {
    /// The extended attributes that it gives to something: a hard link has those of what it leads to, whatever the tar says.
    pub fn own_xattrs(&self) -> &[(Vec<u8>, Vec<u8>)] {
        match self.kind {
            Kind::HardLink(_) => &[],
            _ => &self.xattrs,
        }
    }
}

/// What a layer says of a name besides what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The permission bits with setuid, setgid and sticky (`0o7777` at most; bits above are ignored).
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u64,
    /// The owner's group ID.
    pub gid: u64,
    /// The modification time: seconds since the Unix epoch, and nanoseconds (0 to 999,999,999).
    pub mtime: (i64, u32),
    /// Extended attributes, full names (`security.capability`) and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a tar member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// The file's length in bytes, holes included.
        size: u64,
        /// Whether the tar stores it without its holes.
        sparse: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link, with its target as written.
    Symlink(Vec<u8>),
    /// A hard link, with the canonical path of its target (in the form of [`Entry::path`]).
    HardLink(Vec<u8>),
    /// A device node, FIFO or socket, which is never created here.
    Special(Special),
}

/// The kinds of entry that are listed but never created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A character device, with its major and minor numbers. `0, 0` is overlayfs' own mark for a whiteout.
    CharDevice(u32, u32),
    /// A block device, with its major and minor numbers.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}
