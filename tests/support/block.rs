//! Writes tars block by block: each field of a header as it is given, the checksum, and the padding behind the data. What no
//! archiver writes (or no longer writes) is written as well as what each does. An [`Entry`](super::entry::Entry) says the same
//! in one line where its bytes do not matter.

use tar::Header;

/// How long a header is, and what everything else is padded to, in bytes.
pub const BLOCK: usize = 512;

/// The two blocks of zeros behind the last member (POSIX pax, *ustar Interchange Format*).
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// A header block in the making.
#[derive(Clone)]
pub struct Block(Header);

impl Block {
    /// A ustar header of this type that says that `size` bytes follow. A name longer than its field of 100 bytes is cut.
    pub fn new(name: impl AsRef<[u8]>, kind: u8, size: u64) -> Self {
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(7);
        header.set_size(size);
        put(&mut header.as_old_mut().name, name.as_ref());
        Block(header).set(156, [kind])
    }

    /// A header that was made already.
    pub fn of(header: Header) -> Self {
        Block(header)
    }

    /// The same with GNU's magic.
    pub fn gnu(self) -> Self {
        self.set(257, "ustar  \0")
    }

    /// The same with no magic.
    pub fn v7(self) -> Self {
        self.set(257, [0; 8])
    }

    /// The same with a link's target, cut to the 100 bytes of its field.
    pub fn link(mut self, target: impl AsRef<[u8]>) -> Self {
        put(&mut self.0.as_old_mut().linkname, target.as_ref());
        self
    }

    /// The same with other bytes at this offset.
    pub fn set(mut self, at: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.0.as_mut_bytes()[at..at + bytes.as_ref().len()].copy_from_slice(bytes.as_ref());
        self
    }

    /// The block with its checksum, and `data` padded behind it.
    pub fn with(self, data: impl AsRef<[u8]>) -> Vec<u8> {
        self.corrupted(None, data)
    }

    /// The same with a header that `change` alters after the checksum was computed, which makes that wrong.
    pub fn corrupted(mut self, change: Option<fn(&mut Header)>, data: impl AsRef<[u8]>) -> Vec<u8> {
        // Six digits, NUL and space, as GNU tar and most others write it.
        self = self.set(148, "        ");
        let sum: u32 = self.0.as_bytes().iter().map(|&byte| u32::from(byte)).sum();
        self = self.set(148, format!("{sum:06o}\0 "));
        if let Some(change) = change {
            change(&mut self.0);
        }
        let mut member = [self.0.as_bytes().as_slice(), data.as_ref()].concat();
        member.resize(member.len().next_multiple_of(BLOCK), 0);
        member
    }
}

/// Copies as much of `bytes` into `field` as fits.
pub fn put(field: &mut [u8], bytes: &[u8]) {
    field.fill(0);
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

/// A regular file.
pub fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Vec<u8> {
    Block::new(name, b'0', data.as_ref().len() as u64).with(data)
}

/// A PAX header with these records, for the next member.
pub fn pax<V: AsRef<[u8]>>(records: &[(&str, V)]) -> Vec<u8> {
    let body: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key.as_bytes(), value.as_ref())).collect();
    Block::new("PaxHeaders/x", b'x', body.len() as u64).with(body)
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits (POSIX pax, *pax Extended Header*).
pub fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
