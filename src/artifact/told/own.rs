//! A layer that one of our own tables tells of: only what is asked for is read of the table.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::asking::NotTold;
use super::parts::Parts;
use crate::image::digest::Digest;
use crate::layer::content::{DataOffset, FileContent};
use crate::layer::entry::{Entry, Kind};
use crate::rootfs::{Each, Kept, More, Refused, Said};
use crate::source::SourceError;
use crate::table::Unusable;
use crate::table::own::{OwnTable, Row, Start, State, Step, Trail, Wanted};

/// Of a table that is far away, so many parts are read at most to find a name like one that is missing.
const NEAR_PARTS: usize = 8;

/// One of our own tables.
pub(in crate::artifact) struct Own {
    /// The layer's digest and its length in bytes, as stored.
    pub(super) blob: (Digest, u64),
    pub(super) table: OwnTable,
    pub(super) parts: Box<dyn Parts>,
    /// The table's file and where in it the hashes of the layer's blob are; only of a table of this machine.
    trail: Option<(File, std::ops::Range<u64>)>,
    /// Where the contents are of files that it was asked for; `None` where nobody will want any.
    places: Option<Mutex<Places>>,
    /// Paths that the layer has and nobody is shown.
    hidden: &'static [&'static [u8]],
    /// Why it could not tell what it was asked last.
    trouble: Mutex<Option<NotTold>>,
}

/// Where contents are: 64 bytes or so for each.
#[derive(Debug, Default)]
struct Places {
    /// By the compressed offsets at which they begin.
    starts: BTreeMap<u64, Start>,
    contents: HashMap<DataOffset, Place>,
}

#[derive(Clone, Debug)]
struct Place {
    /// Where the blob can be begun: bytes from its start as stored.
    start: u64,
    /// By which byte of the blob all of it has come.
    end: u64,
    digest: Option<[u8; 32]>,
}

/// A content, and where it is.
#[derive(Clone, Debug)]
pub(super) struct LocatedContent {
    pub(super) content: FileContent,
    pub(super) start: Start,
    pub(super) end: u64,
    pub(super) digest: Option<Digest>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("blob", &self.blob).field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Own {
    /// A table whose top node has been read, of the layer of this digest and length, with its trail where it has one that is believed.
    /// Unless it `locates` contents, it only tells what there is.
    pub(in crate::artifact) fn new(
        blob: (Digest, u64),
        table: OwnTable,
        parts: Box<dyn Parts>,
        trail: Option<(File, std::ops::Range<u64>)>,
        locates: bool,
    ) -> Self {
        let (places, trouble) = (locates.then(Mutex::default), Mutex::default());
        Own { blob, table, parts, trail, places, hidden: &[], trouble }
    }

    /// The same table, which tells of none of these paths.
    pub(in crate::artifact) fn hiding(self, hidden: &'static [&'static [u8]]) -> Self {
        Own { hidden, ..self }
    }

    /// Whether a layer can be known by asking for what matters. Otherwise all of it has to be taken in, in the order of the tar.
    pub(super) fn is_simple(&self) -> bool {
        self.table.is_simple()
    }

    /// Hands on all entries in the order of the tar, and takes note of where their contents are. It holds all of them in memory; such
    /// a table has few.
    pub(super) fn entries(&self, visit: &mut dyn FnMut(&Entry) -> Result<(), Unusable>) -> Result<(), NotTold> {
        let mut entries = Vec::new();
        let everything = Wanted { paths: Vec::new(), below: vec![Vec::new()] };
        self.rows(everything, &mut |row| {
            if !row.implied {
                self.note(&row);
                entries.push(row.entry);
            }
            Ok(())
        })?;
        entries.sort_by_key(|entry| entry.header_offset);
        entries.iter().try_for_each(visit).map_err(NotTold::Unusable)
    }

    /// Where these contents are, in the order in which they lie in the tar; fails where the table does not tell of one.
    pub(super) fn located(&self, wanted: &[FileContent]) -> Result<Vec<LocatedContent>, NotTold> {
        let places = self.places.as_ref().map(lock).ok_or(NotTold::Silent)?;
        let mut located = Vec::with_capacity(wanted.len());
        for content in wanted {
            let place = places.contents.get(&content.data).ok_or(NotTold::Silent)?;
            let start = places.starts.get(&place.start).cloned();
            let start =
                start.unwrap_or(Start { compressed: place.start, uncompressed: place.start, state: State::Plain });
            let fits = start.compressed <= place.end
                && place.end <= self.blob.1
                && start.uncompressed <= content.data.0
                && content.data.0.checked_add(content.size).is_some();
            if !fits {
                return Err(NotTold::Unusable(Unusable::new("it tells of content that cannot be where it says")));
            }
            if content.sparse || (place.digest.is_none() && self.trail.is_none()) {
                return Err(NotTold::Silent);
            }
            let digest = place.digest.map(Digest::of_sha256);
            located.push(LocatedContent { content: *content, start, end: place.end, digest });
        }
        located.sort_by_key(|located| located.content.data);
        Ok(located)
    }

    /// The least part of the layer's blob that holds its bytes `range` and can be compared with what was read first.
    pub(super) fn compared(&self, range: std::ops::Range<u64>) -> Result<Option<crate::source::Part>, NotTold> {
        let Some((file, trail)) = &self.trail else { return Ok(None) };
        let local = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => NotTold::Unusable(Unusable::new("it is cut off")),
            _ => NotTold::Failed(SourceError::from(error).into()),
        };
        let file = file.try_clone().map_err(local)?;
        let mut trail = Trail::new(BufReader::with_capacity(64, file), trail).map_err(NotTold::Unusable)?;
        let around = trail.around(range, (&self.blob.0, self.blob.1)).map_err(local)?;
        Ok(around.map(|around| crate::source::Part::new(around.range, around.hasher, around.expected)))
    }

    /// Why it could not tell what it was asked last.
    pub(super) fn take_trouble(&self) -> Option<NotTold> {
        lock(&self.trouble).take()
    }

    /// Hands the rows that are `wanted`, and maybe others, to `each`.
    fn rows(&self, wanted: Wanted, each: &mut dyn FnMut(Row) -> Result<(), Unusable>) -> Result<(), NotTold> {
        let mut query = self.table.query(wanted);
        let mut shown = |row: Row| match self.hidden.contains(&row.entry.path.as_slice()) {
            true => Ok(()),
            false => each(row),
        };
        while let Step::Read(parts) = query.step() {
            for (part, bytes) in parts.iter().zip(self.parts.read(&parts)?) {
                query.give(part, &bytes, &mut shown).map_err(NotTold::Unusable)?;
            }
        }
        Ok(())
    }

    /// Takes note of where the content of `row` is.
    fn note(&self, row: &Row) {
        let (Some(places), Some(located)) = (&self.places, &row.content) else { return };
        let mut places = lock(places);
        let Start { compressed, state, .. } = &located.start;
        if *state != State::Plain && !places.starts.contains_key(compressed) {
            places.starts.insert(*compressed, located.start.clone());
        }
        let digest = located.digest.as_ref().and_then(Digest::sha256);
        let place = Place { start: *compressed, end: located.end, digest };
        places.contents.insert(DataOffset(row.entry.data_offset), place);
    }

    /// What the layer says of `kept`, but for what hard links say, which comes back.
    fn told(&self, kept: &Kept, but: Option<&Kept>, each: &mut Each<'_>) -> Result<Vec<Entry>, NotTold> {
        let mut wanted = Wanted::default();
        kept.each(&mut |path, all| if all { &mut wanted.below } else { &mut wanted.paths }.push(path.to_vec()));
        let mut links = Vec::new();
        self.rows(wanted, &mut |row| {
            let said = if row.implied { Said::Implied(&row.entry.path) } else { Said::Entry(&row.entry) };
            let path = said.path();
            if !kept.contains(&path) || but.is_some_and(|but| but.contains(&path)) {
                return Ok(());
            }
            drop(path);
            if let (Said::Entry(_), Kind::HardLink(_)) = (said, &row.entry.kind) {
                links.push(row.entry);
                return Ok(());
            }
            self.note(&row);
            // What the layer itself would be refused for is told better by the layer.
            each(said).map_err(|refused| Unusable::new(refused.to_string()))
        })?;
        Ok(links)
    }

    fn more(&self, kept: &Kept, each: &mut Each<'_>) -> Result<(), NotTold> {
        let mut links = self.told(kept, None, each)?;
        let mut targets: Option<Kept> = None;
        for link in &links {
            if let Kind::HardLink(target) = &link.kind
                && !kept.contains(target)
            {
                targets.get_or_insert_default().add(target);
            }
        }
        if let Some(targets) = targets
            && !self.told(&targets, Some(kept), each)?.is_empty()
        {
            return Err(NotTold::Unusable(Unusable::new("a hard link in it does not lead to a file")));
        }
        links.sort_by_key(|link| link.header_offset);
        for link in &links {
            each(Said::Entry(link)).map_err(|refused| NotTold::Unusable(Unusable::new(refused.to_string())))?;
        }
        Ok(())
    }

    fn near_names(&self, directory: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), NotTold> {
        if self.parts.are_near() {
            return self.rows(Wanted { paths: Vec::new(), below: vec![Vec::new()] }, &mut |row| {
                each(&row.entry.path);
                Ok(())
            });
        }
        let mut query = self.table.query(Wanted { paths: Vec::new(), below: vec![directory.to_vec()] });
        let mut left = NEAR_PARTS;
        while let Step::Read(parts) = query.step() {
            let now = &parts[..parts.len().min(left)];
            for (part, bytes) in now.iter().zip(self.parts.read(now)?) {
                let given = query.give(part, &bytes, &mut |row| {
                    each(&row.entry.path);
                    Ok(())
                });
                given.map_err(NotTold::Unusable)?;
            }
            left -= now.len();
            if left == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What the lookup is told, where this is what came of a question.
    fn refused(&self, told: Result<(), NotTold>) -> Result<(), Refused> {
        told.map_err(|trouble| {
            lock(&self.trouble).get_or_insert(trouble);
            Refused::Untold
        })
    }
}

impl More for Own {
    fn more(&self, kept: &Kept, each: &mut Each<'_>) -> Result<(), Refused> {
        self.refused(self.more(kept, each))
    }

    fn names(&self, directory: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), Refused> {
        self.refused(self.near_names(directory, each))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
