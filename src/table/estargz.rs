//! eStargz: a gzip layer in which each file's content begins a member of its own, and whose table of contents (TOC), the member before
//! the footer, is a tar with one file of JSON. The manifest has the digest of that JSON.
//! Spec: stargz-snapshotter, *eStargz: Standard-Compatible Extension to Container Image Layers for Lazy Pulling*.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

use super::toc::{Assembling, Listed, parse};
use super::{MAX_STORED, Unusable};
use crate::image::digest::{Digest, Hasher};
use crate::layer::{Decompressed, Kind, LayerError, TarReader};

/// The annotation of a layer's descriptor that has the digest of the TOC.
pub(super) const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";

/// The name of the TOC in its tar.
const TOC_NAME: &[u8] = b"stargz.index.json";

/// Members that the format adds to a layer: the TOC, and marks for those who fetch ahead.
pub(super) const OWN_MEMBERS: [&[u8]; 3] = [TOC_NAME, b".prefetch.landmark", b".no.prefetch.landmark"];

/// The footer's length in bytes: an empty gzip member with an extra field.
const FOOTER: u64 = 51;

/// How much is read with the footer. A small TOC comes with it.
const TAIL: u64 = 8 << 10;

/// What the manifest promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    /// The digest of the TOC's JSON.
    digest: Digest,
}

/// Where the TOC is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Toc {
    /// It begins before the bytes that have come: these are missing.
    Before(Range<u64>),
    /// Which of the bytes that have come it is, and where in the blob it begins.
    At(Range<usize>, u64),
}

/// The bytes of a blob of `size` bytes that are read first.
pub(super) fn tail(size: u64) -> Range<u64> {
    size.saturating_sub(TAIL)..size
}

/// Where the TOC is, as the footer says, of a blob of `size` bytes, of which those from `start` to the end have come.
pub(super) fn toc(bytes: &[u8], start: u64, size: u64) -> Result<Toc, Unusable> {
    let footer = bytes.len().checked_sub(FOOTER as usize).and_then(|at| bytes.get(at..));
    let begin = footer.and_then(offset).ok_or_else(|| Unusable::new("the layer has no eStargz footer"))?;
    let end = size.saturating_sub(FOOTER);
    if begin == 0 || begin >= end {
        return Err(Unusable::new(format!("its footer says that it begins at byte {begin} of {size}")));
    }
    if end - begin > MAX_STORED {
        return Err(Unusable::new(format!("it has {} bytes, more than the {MAX_STORED} that are read", end - begin)));
    }
    if begin < start {
        return Ok(Toc::Before(begin..start));
    }
    let at = |position: u64| usize::try_from(position - start).unwrap_or(usize::MAX);
    Ok(Toc::At(at(begin)..at(end), begin))
}

/// The offset in a footer. It is a gzip header (RFC 1952, section 2.3) whose extra field has one subfield, `SG`, of 22 bytes: sixteen hex
/// digits, and a word.
fn offset(footer: &[u8]) -> Option<u64> {
    let digits = footer
        .strip_prefix(&[0x1f, 0x8b, 8, 4])?
        .get(6..)?
        .strip_prefix(&[26, 0, b'S', b'G', 22, 0])?
        .split_at_checked(16)
        .filter(|(_, rest)| rest.starts_with(b"STARGZ"))?
        .0;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    u64::from_str_radix(digits?, 16).ok()
}

impl Promise {
    /// What these annotations of a layer promise.
    pub(super) fn of(annotations: &BTreeMap<String, String>) -> Result<Self, Unusable> {
        let digest = annotations.get(TOC_DIGEST).map(String::as_str).unwrap_or_default();
        let digest =
            digest.parse().map_err(|error| Unusable::new(format!("the manifest names it wrongly: {error}")))?;
        Ok(Promise { digest })
    }

    /// Reads the TOC, which is `stored` so, as far as to `most` bytes.
    pub(super) fn read(
        &self,
        stored: &[u8],
        most: u64,
        assembling: Assembling,
        each: &mut dyn FnMut(Listed) -> Result<(), Unusable>,
    ) -> Result<(), Unusable> {
        let damaged = |error: LayerError| Unusable::new(format!("it cannot be decompressed: {error}"));
        let mut tar = TarReader::new(Decompressed::new(stored).map_err(damaged)?);
        let member = tar.next().map_err(damaged)?;
        match member {
            Some(member) if member.path == TOC_NAME && matches!(member.kind, Kind::File { sparse: false, .. }) => {}
            _ => return Err(Unusable::new("it does not begin with stargz.index.json")),
        }
        let mut json = Hashing { inner: tar.data().take(most), hasher: self.digest.hasher() };
        let parsed =
            parse(&mut json, assembling, &mut |listed| match OWN_MEMBERS.contains(&listed.entry.path.as_slice()) {
                true => Ok(()),
                false => each(listed),
            });
        // That it is another one is the better explanation for what cannot be read.
        let rest = io::copy(&mut json, &mut io::sink());
        let Hashing { inner, hasher } = json;
        if inner.limit() == 0 {
            return Err(Unusable::new(format!("it has more than {most} bytes, as it is decompressed")));
        }
        rest.map_err(|error| damaged(error.into()))?;
        let digest = hasher.finish();
        if digest != self.digest {
            return Err(Unusable::new(format!(
                "it is not the one that the manifest means: expected {}, got {digest}",
                self.digest
            )));
        }
        parsed
    }
}

/// Hashes what is read.
struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
