//! The members of an archive: which names it holds, and where their bytes are.

use std::collections::HashMap;

use super::super::SourceError;
use super::super::files::{Files, Stored, shown};
use super::super::local::malformed;
use super::walk::{Walk, What};

/// The most bytes that all members' names and places may take; an archive of a thousand images takes 10 MB.
const MAX_TABLE: usize = 64 << 20;

/// What a member takes beside its name and a link's target: its place, the name's and the target's, and a share of free room.
const MEMBER_COST: usize = 96;

/// The longest name that is looked up.
const MAX_NAME: usize = 4096;

/// How many links are followed for one name, as in the kernel.
const MAX_LINKS: usize = 40;

/// An archive, as a place that holds files.
pub(super) struct Members {
    place: String,
    /// What is typed in front of `#IMAGE`.
    address: String,
    archive: Stored,
    table: HashMap<Box<[u8]>, Member>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    /// So many bytes from an offset on, both in bytes from the archive's start.
    Data { start: u64, length: u64 },
    /// A link to this name, which is relative to the link's folder.
    Link(Box<[u8]>),
    /// A file with holes, whose bytes are not in one piece.
    Sparse,
}

impl Members {
    /// Reads the headers of `archive`. Of several members with one name the last holds, as where the archive is unpacked.
    pub(super) fn read(archive: Stored, place: String, address: String) -> Result<Self, SourceError> {
        Members::read_within(archive, place, address, MAX_TABLE)
    }

    /// The same in `room` bytes of memory.
    fn read_within(archive: Stored, place: String, address: String, mut room: usize) -> Result<Self, SourceError> {
        let mut members = Members { place, address, archive, table: HashMap::new() };
        let mut walk = Walk::new(&members.archive, &members.place);
        while let Some(found) = walk.next_member()? {
            let Some(name) = canonical(&found.name) else { continue };
            let member = match found.what {
                What::Data { start, length } => Member::Data { start, length },
                What::Sparse => Member::Sparse,
                What::Symlink(target) => Member::Link(target.into()),
                // It is the file that has the name now, which may have another one later.
                What::HardLink(target) => {
                    match canonical(&target).map(|target| (members.table.get(&*target), target)) {
                        Some((Some(member), _)) => member.clone(),
                        Some((None, target)) => Member::Link([b"/", &*target].concat().into()),
                        None => continue,
                    }
                }
                What::Other => {
                    members.table.remove(&*name);
                    continue;
                }
            };
            let target = if let Member::Link(target) = &member { target.len() } else { 0 };
            let cost = name.len() + target + MEMBER_COST;
            room = room.checked_sub(cost).ok_or_else(|| {
                malformed(&members.place, "it has more members than any archive of images; is it one?")
            })?;
            members.table.insert(name, member);
        }
        Ok(members)
    }

    /// What is typed for the archive.
    pub(super) fn archive_address(&self) -> &str {
        &self.address
    }

    /// The archive's bytes.
    pub(super) fn stored(&self) -> &Stored {
        &self.archive
    }

    /// Whether there is a member of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.table.contains_key(name.as_bytes())
    }

    /// The names of all members, in no order, and without those that are no text.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.table.keys().filter_map(|name| std::str::from_utf8(name).ok())
    }

    fn resolve(&self, wanted: &str) -> Result<Option<&Member>, SourceError> {
        let Some(mut name) = canonical(wanted.as_bytes()) else { return Ok(None) };
        for _ in 0..=MAX_LINKS {
            match self.table.get(&*name) {
                Some(Member::Link(target)) if name.len() <= MAX_NAME => name = join(&name, target),
                found => return Ok(found),
            }
        }
        Err(malformed(&self.place, format!("the links of {} lead in a circle", shown(wanted))))
    }
}

impl Files for Members {
    fn place(&self) -> &str {
        &self.place
    }

    fn address(&self, image: &str) -> String {
        format!("{}#{image}", self.address)
    }

    fn find(&self, name: &str) -> Result<Option<Stored>, SourceError> {
        match self.resolve(name)? {
            // Within the archive, or its header would have been refused.
            Some(&Member::Data { start, length }) => Ok(self.archive.part(start, length)),
            Some(Member::Sparse) => {
                let problem = format!("{} is stored as a sparse file; pack the archive without --sparse", shown(name));
                Err(malformed(&self.place, problem))
            }
            Some(Member::Link(_)) => Err(malformed(&self.place, format!("the link {} is too long", shown(name)))),
            None => Ok(None),
        }
    }

    fn bytes_read(&self) -> u64 {
        self.archive.bytes_read()
    }
}

/// A name in the one form in which names are compared, or `None` for one that climbs: no image needs it.
pub(super) fn canonical(raw: &[u8]) -> Option<Box<[u8]>> {
    let mut name = Vec::with_capacity(raw.len());
    for component in raw.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return None,
            component => {
                if !name.is_empty() {
                    name.push(b'/');
                }
                name.extend_from_slice(component);
            }
        }
    }
    Some(name.into())
}

/// Where a link at `name` to `target` leads, with the archive's top for its root.
pub(super) fn join(name: &[u8], target: &[u8]) -> Box<[u8]> {
    let folder = name.iter().rposition(|&byte| byte == b'/').map_or(&[][..], |slash| &name[..slash]);
    let mut path: Vec<&[u8]> = Vec::new();
    if !target.starts_with(b"/") {
        path.extend(folder.split(|&byte| byte == b'/').filter(|component| !component.is_empty()));
    }
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(path.pop()),
            component => path.push(component),
        }
    }
    path.join(&b'/').into()
}

#[cfg(test)]
mod tests;
