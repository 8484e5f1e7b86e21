//! What a tar says of a file in front of its content, where that is read out of the middle of the tar: its name, mode, owner, time
//! and extended attributes.
//!
//! A label and a part of a range index tell where a file's content begins, and no more; an extent begins at the file's first
//! header, or before it (`docs/formats.md`, *Extents*). So the headers are found from behind. What they say is covered by no
//! digest: it serves to tell that a file has nothing which a record has no room for.

use std::io::{self, Cursor, Write};
use std::sync::Arc;

use crate::artifact::layers::{self, Verify};
use crate::layer::{Entry, Flow, Kind};
use crate::source::LayerBlob;
use crate::tar::header::{BLOCK, Header};
use crate::tar::preceding::{Preceding, Role};

/// The most that is kept of what stands in front of a content: a PAX header of a megabyte, the longest that is read, and others.
const MOST: usize = (1 << 20) + (128 << 10);

/// How many headers one file may have in front of its own.
const MAX_PRECEDING: usize = 4;

/// The last bytes of what is written to it.
#[derive(Default)]
pub struct Tail(Vec<u8>);

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        // Seldom, so that each byte moves once or twice.
        if self.0.len() > 2 * MOST {
            self.0.drain(..self.0.len() - MOST);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tail {
    /// The file whose content comes next in the tar that this is from. `None` where it cannot be told, or several things could be
    /// meant.
    pub fn entry(&self) -> Option<Entry> {
        let headers = self.0.get(first_header(&self.0)?..)?;
        let blob = LayerBlob::Stream(Box::new(Cursor::new(headers.to_vec())), Arc::default());
        let mut found = None;
        layers::scan(blob, "", Verify::Never, false, &mut |entry, _| {
            found = Some(entry.clone());
            Ok(Flow::Stop)
        })
        .ok()?;
        found.filter(|entry| {
            let is_file = matches!(entry.kind, Kind::File { sparse: false, .. });
            is_file && usize::try_from(entry.data_offset) == Ok(headers.len())
        })
    }
}

/// Where in `bytes`, at whose end a member's content begins, its first header is.
fn first_header(bytes: &[u8]) -> Option<usize> {
    let mut first = bytes.len().checked_sub(BLOCK)?;
    if role(bytes, first) != Some(Role::Member) {
        return None;
    }
    for _ in 0..MAX_PRECEDING {
        let before = (1..=first / BLOCK).map(|blocks| first - blocks * BLOCK);
        let mut leading = before.filter(|at| length(bytes, *at) == Some(first - at));
        match (leading.next(), leading.next()) {
            (None, _) => return Some(first),
            (Some(at), None) => first = at,
            // What ends there twice is text in a header, or in the file before, that looks like one.
            (Some(_), Some(_)) => return None,
        }
    }
    None
}

fn header(bytes: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    bytes.get(at..)?.first_chunk().filter(|block| Header(block).check().is_ok())
}

fn role(bytes: &[u8], at: usize) -> Option<Role> {
    header(bytes, at).map(|block| Role::of(Header(block).kind()))
}

/// How many bytes a header at `at` that is not a member's own takes, with what follows it.
fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let header = Header(header(bytes, at)?);
    if Role::of(header.kind()) == Role::Member {
        return None;
    }
    let body = usize::try_from(Preceding::body_size(&header).ok()?).ok()?;
    Some(BLOCK + body.next_multiple_of(BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::block::{Block, file, pax};

    /// What is said of the file whose content comes behind these bytes.
    fn told(parts: &[Vec<u8>]) -> Option<Entry> {
        let mut tail = Tail::default();
        parts.iter().for_each(|part| tail.write_all(part).unwrap());
        tail.entry()
    }

    fn own(name: &str) -> Vec<u8> {
        Block::new(name, b'0', 3).with("")
    }

    #[test]
    fn the_headers_in_front_of_a_content_are_found_from_behind() {
        let plain = told(&[file("before", b"content"), own("usr/bin/tool")]).unwrap();
        assert_eq!((plain.path.as_slice(), plain.uid, plain.xattrs.len()), (b"usr/bin/tool".as_slice(), 1000, 0));
        let records = pax(&[("SCHILY.xattr.security.capability", "x"), ("uid", "1234")]);
        let capable = told(&[file("before", b"content"), records.clone(), own("tool")]).unwrap();
        assert_eq!((capable.uid, capable.xattrs.len()), (1234, 1));
        let long = Block::new("././@LongLink", b'L', 200).gnu().with("n".repeat(200));
        let both = told(&[file("before", b"content"), records, long, own("cut")]).unwrap();
        assert_eq!((both.path.len(), both.xattrs.len()), (200, 1));
    }

    #[test]
    fn what_could_mean_several_things_is_not_told() {
        assert!(told(&[]).is_none());
        assert!(told(&[vec![7; BLOCK]]).is_none());
        assert!(told(&[Block::new("d/", b'5', 0).with("")]).is_none(), "a directory has no content");
        // A file whose content is a header, which ends where the next one begins, is one more meaning.
        let fake = pax(&[("uid", "1")]);
        let text = Block::new("x", b'x', fake.len() as u64);
        assert!(told(&[text.with(&fake), own("tool")]).is_none());
    }

    #[test]
    fn no_more_is_kept_than_headers_can_be_long() {
        let mut tail = Tail::default();
        for _ in 0..8 {
            tail.write_all(&vec![0; MOST / 2]).unwrap();
        }
        tail.write_all(&own("tool")).unwrap();
        assert!(tail.0.len() <= 2 * MOST && tail.entry().is_some());
    }
}
