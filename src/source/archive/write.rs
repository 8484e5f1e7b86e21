//! An archive written anew with some of its files exchanged: every other member as it is, headers and all, in its place.

use std::collections::HashSet;

use tar::{Builder, EntryType, Header};

use super::super::SourceError;
use super::super::copied::{Assembled, Exchange};
use super::super::files::{Files, Stored, shown};
use super::super::local::malformed;
use super::members::{Members, canonical, join};
use super::walk::{Walk, What};

/// Two blocks of zeros, which end a tar (POSIX `pax`, "ustar Interchange Format").
const END: [u8; 1024] = [0; 1024];

/// The length of a header, in bytes.
const HEADER: u64 = 512;

impl Members {
    /// The archive with the files in `exchanges` exchanged.
    pub(super) fn exchanged(&self, exchanges: &[Exchange]) -> Result<Assembled, SourceError> {
        let mut copy = Copy { archive: self.stored(), copied: 0, assembled: Assembled::default() };
        // Each with the name that it is known by, and whether it has been written.
        let mut known: Vec<(Box<[u8]>, &Exchange, bool)> = Vec::with_capacity(exchanges.len());
        for exchange in exchanges {
            let name = canonical(exchange.old.as_bytes());
            let climbs = || malformed(self.place(), format!("{} is a name that climbs", shown(&exchange.old)));
            known.push((name.ok_or_else(climbs)?, exchange, false));
        }
        let linked = self.linked(exchanges)?;
        let mut walk = Walk::new(copy.archive, self.place());
        loop {
            let begin = walk.offset();
            let Some(found) = walk.next_member()? else {
                copy.keep_to(begin)?;
                break;
            };
            let end = walk.offset();
            let Some(name) = canonical(&found.name) else { continue };
            // A new file that is in the archive already may have been something else there.
            let is_new = known.iter().any(|(_, exchange, _)| exchange.new.as_bytes() == &*name);
            match known.iter_mut().find(|(old, ..)| *old == name) {
                Some((_, exchange, is_written)) => {
                    let keeps_old = exchange.keeps_old || linked.contains(&name);
                    copy.keep_to(if keeps_old { end } else { begin })?;
                    copy.copied = end;
                    // Of several members with one name, which all mean the last, one is enough.
                    if !std::mem::replace(is_written, true) {
                        copy.assembled.own(member(exchange, like(copy.archive, &found.what)?)?);
                    }
                }
                None if is_new => {
                    copy.keep_to(begin)?;
                    copy.copied = end;
                }
                None => {}
            }
        }
        for (_, exchange, _) in known.iter().filter(|(.., is_written)| !is_written) {
            copy.assembled.own(member(exchange, plain_header())?);
        }
        copy.assembled.own(&END[..]);
        Ok(copy.assembled)
    }

    /// The names that would be gone, of those in `exchanges`, and that a link leads to: nobody can unpack a hard link to nothing.
    fn linked(&self, exchanges: &[Exchange]) -> Result<HashSet<Box<[u8]>>, SourceError> {
        let gone = exchanges.iter().filter(|exchange| exchange.old != exchange.new);
        let gone: HashSet<_> = gone.filter_map(|exchange| canonical(exchange.old.as_bytes())).collect();
        let mut linked = HashSet::new();
        let mut walk = Walk::new(self.stored(), self.place());
        while let Some(found) = walk.next_member()? {
            let target = match (&found.what, canonical(&found.name)) {
                (What::HardLink(target), Some(_)) => canonical(target),
                (What::Symlink(target), Some(name)) => Some(join(&name, target)),
                _ => None,
            };
            linked.extend(target.filter(|target| gone.contains(target)));
        }
        Ok(linked)
    }
}

/// An archive of the new files of `exchanges` alone.
pub(in crate::source) fn packed(exchanges: &[Exchange]) -> Result<Assembled, SourceError> {
    let mut assembled = Assembled::default();
    for exchange in exchanges {
        assembled.own(member(exchange, plain_header())?);
    }
    assembled.own(&END[..]);
    Ok(assembled)
}

/// The new file of `exchange`, with the mode, the owner and the time of `header`.
fn member(exchange: &Exchange, mut header: Header) -> Result<Vec<u8>, SourceError> {
    header.set_entry_type(EntryType::Regular);
    header.set_size(exchange.content.len() as u64);
    let mut builder = Builder::new(Vec::new());
    let written = builder.append_data(&mut header, &exchange.new, &*exchange.content);
    let member = written.and_then(|()| builder.into_inner());
    let mut member = member.map_err(|error| SourceError::Io { what: format!("packing {}", exchange.new), error })?;
    member.truncate(member.len() - END.len());
    Ok(member)
}

struct Copy<'a> {
    archive: &'a Stored,
    /// Up to where the archive has been copied or left out, in bytes from its start.
    copied: u64,
    assembled: Assembled,
}

impl Copy<'_> {
    /// Appends what has not been copied up to `end`.
    fn keep_to(&mut self, end: u64) -> Result<(), SourceError> {
        if end > self.copied {
            let run = self.archive.part(self.copied, end - self.copied);
            self.assembled.stored(run.ok_or_else(|| malformed("the archive", "it ends in a member's padding"))?);
            self.copied = end;
        }
        Ok(())
    }
}

/// A header of nobody's, at no time.
fn plain_header() -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// The header of the member that is `what`, for another file in its place; one of nobody's where that is no file.
fn like(archive: &Stored, what: &What) -> Result<Header, SourceError> {
    let What::Data { start, .. } = what else { return Ok(plain_header()) };
    let mut header = plain_header();
    let read = archive.read_at(header.as_mut_bytes(), start - HEADER);
    read.map_err(|error| SourceError::Io { what: "reading a header".to_owned(), error })?;
    if let Some(ustar) = header.as_ustar_mut() {
        // A part of the name that is there no more.
        ustar.prefix.fill(0);
    }
    Ok(header)
}
