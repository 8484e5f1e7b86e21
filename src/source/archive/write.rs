//! An archive written anew with some of its files exchanged: every other member as it is, headers and all, in its place.

use tar::{Builder, EntryType, Header};

use super::super::SourceError;
use super::super::copied::{Assembled, Exchange};
use super::super::files::{Files, Stored, shown};
use super::super::local::malformed;
use super::members::{Members, canonical};
use super::walk::{Walk, What};

/// Two blocks of zeros, which end a tar (POSIX `pax`, "ustar Interchange Format").
const END: [u8; 1024] = [0; 1024];

/// The length of a header, in bytes.
const HEADER: u64 = 512;

impl Members {
    /// The archive with the files in `exchanges` exchanged.
    pub(super) fn exchanged(&self, exchanges: &[Exchange]) -> Result<Assembled, SourceError> {
        let mut copy = Copy { archive: self.stored(), copied: 0, assembled: Assembled::default() };
        let mut left: Vec<(Box<[u8]>, &Exchange)> = Vec::with_capacity(exchanges.len());
        for exchange in exchanges {
            let name = canonical(exchange.old.as_bytes());
            let climbs = || malformed(self.place(), format!("{} is a name that climbs", shown(&exchange.old)));
            left.push((name.ok_or_else(climbs)?, exchange));
        }
        let mut written = vec![false; left.len()];
        let mut walk = Walk::new(copy.archive, self.place());
        loop {
            let begin = walk.offset();
            let Some(found) = walk.next_member()? else {
                copy.keep_to(begin)?;
                break;
            };
            let end = walk.offset();
            let Some(name) = canonical(&found.name) else { continue };
            match left.iter().position(|(old, _)| *old == name) {
                Some(position) => {
                    let exchange = left[position].1;
                    copy.keep_to(if exchange.keeps_old { end } else { begin })?;
                    // Of several members with one name the last holds, so that all of them may be the same.
                    copy.put(exchange, like(copy.archive, &found.what)?)?;
                    copy.copied = end;
                    written[position] = true;
                }
                // It is in the archive already, perhaps as something else.
                None if left.iter().any(|(_, exchange)| exchange.new.as_bytes() == &*name) => {
                    copy.keep_to(begin)?;
                    copy.copied = end;
                }
                None => {}
            }
        }
        for ((_, exchange), _) in left.iter().zip(written).filter(|(_, written)| !written) {
            copy.put(exchange, Header::new_ustar())?;
        }
        copy.assembled.own(&END[..]);
        Ok(copy.assembled)
    }
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

    /// Appends the new file of `exchange`, with the mode, the owner and the time of `header`.
    fn put(&mut self, exchange: &Exchange, mut header: Header) -> Result<(), SourceError> {
        header.set_entry_type(EntryType::Regular);
        header.set_size(exchange.content.len() as u64);
        let mut builder = Builder::new(Vec::new());
        let written = builder.append_data(&mut header, &exchange.new, &*exchange.content);
        let member = written.and_then(|()| builder.into_inner());
        let mut member =
            member.map_err(|error| SourceError::Io { what: format!("packing {}", exchange.new), error })?;
        member.truncate(member.len() - END.len());
        self.assembled.own(member);
        Ok(())
    }
}

/// A header with the mode, the owner and the time of the member that is `what`; with none where that is no file.
fn like(archive: &Stored, what: &What) -> Result<Header, SourceError> {
    let mut header = Header::new_ustar();
    header.set_mode(0o644);
    if let What::Data { start, .. } = what {
        let mut block = [0; HEADER as usize];
        let read = archive.read_at(&mut block, start - HEADER);
        read.map_err(|error| SourceError::Io { what: "reading a header".to_owned(), error })?;
        let (from, to) = (Header::from_byte_slice(&block).as_old(), header.as_old_mut());
        (to.mode, to.uid, to.gid, to.mtime) = (from.mode, from.uid, from.gid, from.mtime);
    }
    Ok(header)
}
