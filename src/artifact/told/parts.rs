//! The bytes of a table that is read in parts, and where they come from: a file of this machine, or a blob where the image is.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::asking::{NotTold, SIDE_BY_SIDE, read};
use crate::artifact::blocking::blocking;
use crate::artifact::error::Error;
use crate::image::manifest::Descriptor;
use crate::source::{Source, SourceError};
use crate::table::Unusable;
use crate::table::own::Part;

/// Parts that lie no more than so many bytes apart come in one request.
const JOINED: u64 = 4 << 10;

/// So many bytes of a blob's parts are kept, those that came last.
const MAX_KEPT: usize = 4 << 20;

/// No part of a table is longer, in bytes.
const MAX_PART: u64 = 16 << 20;

/// Gives parts of a table.
pub(in crate::artifact) trait Parts: fmt::Debug + Send + Sync {
    /// The bytes of these parts, in their order; they are compared with nothing. It may block, and has to be called where that is allowed:
    /// on a thread for it, or in a runtime of several threads.
    fn read(&self, parts: &[Part]) -> Result<Vec<Bytes>, NotTold>;

    /// Whether all of them can be had for little.
    fn are_near(&self) -> bool;
}

/// How many bytes of a table `part` has, if it can be any.
fn length(part: &Part) -> Result<usize, NotTold> {
    let length = part.range.1.checked_sub(part.range.0).filter(|length| *length <= MAX_PART);
    let length = length.and_then(|length| usize::try_from(length).ok());
    length.ok_or_else(|| NotTold::Unusable(Unusable::new("it names a part of itself that is not there")))
}

impl Parts for File {
    fn read(&self, parts: &[Part]) -> Result<Vec<Bytes>, NotTold> {
        let read = |part: &Part| {
            let mut bytes = vec![0; length(part)?];
            match self.read_exact_at(&mut bytes, part.range.0) {
                Ok(()) => Ok(Bytes::from(bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Err(NotTold::Unusable(Unusable::new("it is cut off")))
                }
                Err(error) => Err(NotTold::Failed(SourceError::from(error).into())),
            }
        };
        parts.iter().map(read).collect()
    }

    fn are_near(&self) -> bool {
        true
    }
}

/// A table that is a blob in the place where the image is.
pub(in crate::artifact) struct BlobParts {
    source: Arc<dyn Source>,
    blob: Descriptor,
    runtime: Handle,
    kept: Mutex<Kept>,
}

/// Parts that came.
#[derive(Default)]
struct Kept {
    parts: HashMap<Part, Bytes>,
    order: VecDeque<Part>,
    bytes: usize,
}

impl fmt::Debug for BlobParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlobParts").field(&self.blob.digest).finish()
    }
}

impl BlobParts {
    /// The table in this blob of `source`. Parts are asked for in the runtime that this is called in.
    pub(in crate::artifact) fn new(source: &Arc<dyn Source>, blob: Descriptor) -> Self {
        BlobParts { source: Arc::clone(source), blob, runtime: Handle::current(), kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for `missing`, which are sorted, several requests at a time.
    async fn fetch(&self, missing: &[Part]) -> Result<Vec<(Part, Bytes)>, Error> {
        let mut groups: Vec<&[Part]> = Vec::new();
        let mut rest = missing;
        while let Some(first) = rest.first() {
            let mut end = first.range.1;
            let joins = |part: &&Part| {
                let joins = part.range.0 <= end.saturating_add(JOINED);
                end = end.max(part.range.1);
                joins
            };
            let (group, behind) = rest.split_at(rest.iter().take_while(joins).count().max(1));
            groups.push(group);
            rest = behind;
        }
        let mut fetched = Vec::with_capacity(missing.len());
        for groups in groups.chunks(SIDE_BY_SIDE) {
            fetched.extend(try_join_all(groups.iter().map(|group| self.request(group))).await?.into_iter().flatten());
        }
        Ok(fetched)
    }

    /// Asks for neighbours.
    async fn request(&self, group: &[Part]) -> Result<Vec<(Part, Bytes)>, Error> {
        let store = self.source.store().ok_or_else(|| Error::Bug("a table is where no blobs are".to_owned()))?;
        let start = group.iter().map(|part| part.range.0).min().unwrap_or_default();
        let end = group.iter().map(|part| part.range.1).max().unwrap_or_default();
        let part = store.blob_range(&self.blob, start..end).await?;
        let bytes = Bytes::from(blocking(move || read(part, &[])).await?);
        let place = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX).min(bytes.len());
        // Not as slices, each of which would keep all that came with it.
        let part = |part: &Part| Bytes::copy_from_slice(&bytes[place(part.range.0)..place(part.range.1)]);
        Ok(group.iter().map(|one| (one.clone(), part(one))).collect())
    }
}

impl Kept {
    /// Keeps a part, and drops those that came first where there are too many.
    fn keep(&mut self, part: Part, bytes: Bytes) {
        self.bytes += bytes.len();
        match self.parts.insert(part.clone(), bytes) {
            Some(other) => self.bytes -= other.len(),
            None => self.order.push_back(part),
        }
        while self.bytes > MAX_KEPT {
            let Some(first) = self.order.pop_front() else { return };
            self.bytes -= self.parts.remove(&first).map_or(0, |bytes| bytes.len());
        }
    }
}

impl Parts for BlobParts {
    fn read(&self, parts: &[Part]) -> Result<Vec<Bytes>, NotTold> {
        let mut found: HashMap<&Part, Bytes> = HashMap::new();
        let mut missing = Vec::new();
        for part in parts {
            length(part)?;
            match self.kept().parts.get(part) {
                Some(bytes) => drop(found.insert(part, bytes.clone())),
                None => missing.push(part.clone()),
            }
        }
        missing.sort();
        let fetched = match missing.as_slice() {
            [] => Ok(Vec::new()),
            missing => block_in_place(|| self.runtime.block_on(self.fetch(missing))),
        };
        let fetched = fetched.map_err(|error| match error {
            // It was deleted, or never there: that says nothing about other tables.
            Error::Source(error @ SourceError::NotFound { .. }) => NotTold::Unusable(Unusable::new(error.to_string())),
            error => NotTold::because(error),
        })?;
        found.extend(fetched.iter().map(|(part, bytes)| (part, bytes.clone())));
        let gone = || NotTold::Failed(Error::Bug("a part of a table did not come".to_owned()));
        let bytes = parts.iter().map(|part| found.get(part).cloned().ok_or_else(gone)).collect();
        let mut kept = self.kept();
        fetched.iter().for_each(|(part, bytes)| kept.keep(part.clone(), bytes.clone()));
        bytes
    }

    fn are_near(&self) -> bool {
        false
    }
}
