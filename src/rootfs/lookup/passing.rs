//! One layer as it passes by, entry by entry: what of it is to be kept, as it may be what was asked for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::Lookup;
use crate::layer::content::DataOffset;
use crate::layer::entry::{Entry, Kind};
use crate::rootfs::depth::Depth;
use crate::rootfs::index::Inserted;
use crate::rootfs::known::{Known, KnownLayer, ask, ask_of};
use crate::rootfs::more::{More, Said};
use crate::rootfs::path::split;
use crate::rootfs::pattern::Candidates;
use crate::rootfs::refused::Refused;

/// So many names may be looked up in all, one for each layer asked, to find out where links lead while layers are being read, and
/// so many more for each entry that has passed by. What is not looked out for then is read in a second reading.
const LOOKED_UP: i64 = 1 << 20;
const LOOKED_UP_PER_ENTRY: i64 = 64;

/// So many files, of so many bytes in all, may be kept of one layer for their base name alone.
pub(super) const MAX_GUESSES: usize = 16;
const MAX_GUESSED_BYTES: u64 = 16 << 20;

/// How much may be looked up while layers are read, for all of them together.
#[derive(Debug)]
pub struct Allowance(AtomicI64);

impl Default for Allowance {
    fn default() -> Self {
        Allowance(AtomicI64::new(LOOKED_UP))
    }
}

impl Allowance {
    fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 0
    }

    fn earn(&self) {
        self.0.fetch_add(LOOKED_UP_PER_ENTRY, Ordering::Relaxed);
    }

    /// Takes off what a view was asked.
    fn spend(&self, steps: u64) {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        self.0.fetch_sub(steps, Ordering::Relaxed);
    }
}

/// A file whose content is to be kept, now that it passes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanting {
    /// Its canonical path.
    pub path: Vec<u8>,
    /// The patterns that want it, by their positions. There is none where it only has the base name of what a path names: a link
    /// that is yet to come may lead to it.
    pub patterns: Vec<usize>,
}

/// The canonical paths of two matches that have one base name.
pub type Namesakes = (Vec<u8>, Vec<u8>);

/// One layer that is being read.
#[derive(Debug)]
pub struct Passing {
    lookup: Arc<Lookup>,
    /// The layers above that had been read when this one was begun.
    above: Vec<Arc<KnownLayer>>,
    layer: Known,
    candidates: Candidates,
    /// The base names that paths have whose place is not known yet.
    names: BTreeSet<Vec<u8>>,
    guesses: usize,
    guessed_bytes: u64,
    kept: HashSet<DataOffset>,
    allowance: Arc<Allowance>,
}

impl Passing {
    /// Begins with the layer below those `above`. Its entries go into `layer`, in which there are none, as far as they can matter;
    /// `candidates` is what layers before it have left.
    pub fn new(
        lookup: Arc<Lookup>,
        above: Vec<Arc<KnownLayer>>,
        layer: Known,
        candidates: Candidates,
        allowance: Arc<Allowance>,
    ) -> Result<Self, Refused> {
        let (names, kept) = Default::default();
        let mut passing =
            Passing { lookup, above, layer, candidates, names, guesses: 0, guessed_bytes: 0, kept, allowance };
        passing.look_out()?;
        passing.layer = passing.layer.of(&passing.candidates.keep());
        Ok(passing)
    }

    /// Takes in the next entry; gives what it is wanted for where it is a file whose content is to be kept.
    pub fn take(&mut self, entry: &Entry) -> Result<Option<Wanting>, Refused> {
        let Inserted::Name(path) = self.layer.insert(entry)? else { return Ok(None) };
        if self.lookup.lists {
            return Ok(None);
        }
        self.allowance.earn();
        match entry.kind {
            Kind::File { size, .. } => {
                let patterns = self.wanting(&path)?;
                let is_wanted = !patterns.is_empty() || self.is_guess(&path, size)?;
                Ok(is_wanted.then(|| Wanting { path: path.into_owned(), patterns }))
            }
            Kind::Symlink(_) | Kind::HardLink(_) => {
                self.note_link(entry, &path)?;
                Ok(None)
            }
            Kind::Directory | Kind::Special(_) => Ok(None),
        }
    }

    /// Takes in the layer as `more` tells of it: as much as can matter, and all else when it does. Where names are to be kept `apart`,
    /// it says which two matches have one base name, where there are such.
    pub fn ask(&mut self, more: &Arc<dyn More>, apart: bool) -> Result<Option<Namesakes>, Refused> {
        let kept = self.candidates.keep();
        self.layer = std::mem::take(&mut self.layer).asking(more, &kept);
        let (mut clash, mut links) = (None, Vec::new());
        more.more(&kept, &mut |said| {
            let Inserted::Name(path) = self.layer.take(said)? else { return Ok(()) };
            let Said::Entry(entry) = said else { return Ok(()) };
            if self.lookup.lists {
                return Ok(());
            }
            self.allowance.earn();
            match entry.kind {
                Kind::File { .. } if apart && clash.is_none() && !self.wanting(&path)?.is_empty() => {
                    clash = self.candidates.namesake(&path);
                }
                Kind::Symlink(_) | Kind::HardLink(_) if self.candidates.concern(&path) => {
                    links.push((matches!(entry.kind, Kind::HardLink(_)), path.into_owned()));
                }
                _ => {}
            }
            Ok(())
        })?;
        self.note_links(&links)?;
        Ok(clash)
    }

    /// Works out where these links lead, of which it is said whether they are hard links: all of them at once, as each question may
    /// have to be put to somebody far away.
    fn note_links(&mut self, links: &[(bool, Vec<u8>)]) -> Result<(), Refused> {
        if links.is_empty() || self.allowance.is_spent() {
            return Ok(());
        }
        let shown: Vec<_> =
            ask(&self.above, false, |view| links.iter().filter(|(_, path)| !view.hides(path)).collect())?;
        let (candidates, depth) = (&self.candidates, Depth(self.above.len()));
        let (linked, steps) = ask_of(&self.above, &mut self.layer, |view| {
            let linked = shown.iter().filter_map(|(is_hard, path)| match is_hard {
                true => candidates.hard_link(view, depth, path),
                false => candidates.symlink(view, path),
            });
            (linked.collect::<Vec<_>>(), view.steps())
        })?;
        self.allowance.spend(steps);
        linked.into_iter().for_each(|link| self.candidates.note(link));
        Ok(())
    }

    /// Takes note that the content that begins there was kept.
    pub fn keep(&mut self, data: DataOffset) {
        self.kept.insert(data);
    }

    /// Where the file at the canonical `path`, which is wanted, is, or lies in, a match of a glob that has the base name of an earlier
    /// match at another path: that one and this one.
    pub fn namesake(&mut self, path: &[u8]) -> Option<Namesakes> {
        self.candidates.namesake(path)
    }

    /// Whether content is asked for, and not only what there is.
    pub fn needs_content(&self) -> bool {
        self.lookup.needs_content
    }

    /// Whether the rest of the layer need not be read, as everything asked for was kept, or lies above.
    pub fn is_enough(&mut self) -> Result<bool, Refused> {
        if self.allowance.is_spent() {
            return Ok(false);
        }
        let (lookup, kept) = (&self.lookup, &self.kept);
        let (is_enough, steps) = ask_of(&self.above, &mut self.layer, |view| {
            (lookup.is_enough(view, |data| kept.contains(&data)), view.steps())
        })?;
        self.allowance.spend(steps);
        Ok(is_enough)
    }

    /// What the layer turned out to hold, and what to look out for in those below.
    pub fn finish(self) -> (Known, Candidates) {
        (self.layer, self.candidates)
    }

    /// The positions of the patterns that want the content of the file at the canonical `path`.
    fn wanting(&self, path: &[u8]) -> Result<Vec<usize>, Refused> {
        let patterns = self.candidates.wanting(path);
        if !patterns.is_empty() && !self.is_hidden(path)? {
            return Ok(patterns);
        }
        Ok(self.candidates.wanting_by_hard_link(path))
    }

    /// Whether the file at the canonical `path` may yet turn out to be what a path names, whose links are still to come: in many an
    /// image `usr/bin/ls` comes before the link `bin`.
    fn is_guess(&mut self, path: &[u8], size: u64) -> Result<bool, Refused> {
        let bytes = self.guessed_bytes.saturating_add(size);
        let is_guess = self.guesses < MAX_GUESSES
            && bytes <= MAX_GUESSED_BYTES
            && self.names.contains(split(path).1)
            && !self.is_hidden(path)?;
        if is_guess {
            (self.guesses, self.guessed_bytes) = (self.guesses + 1, bytes);
        }
        Ok(is_guess)
    }

    /// Whether the layers above hide what this one has at the canonical `path`.
    fn is_hidden(&self, path: &[u8]) -> Result<bool, Refused> {
        ask(&self.above, false, |view| view.hides(path))
    }

    /// Works out anew which entries to look out for, where a link on the way has turned up.
    fn note_link(&mut self, entry: &Entry, path: &[u8]) -> Result<(), Refused> {
        if self.allowance.is_spent() {
            return Ok(());
        }
        if self.candidates.lead_through(path) {
            self.look_out()?;
        }
        if self.candidates.concern(path) && !self.is_hidden(path)? {
            let (candidates, depth) = (&self.candidates, Depth(self.above.len()));
            let (link, steps) = ask_of(&self.above, &mut self.layer, |view| {
                let link = match entry.kind {
                    Kind::HardLink(_) => candidates.hard_link(view, depth, path),
                    _ => candidates.symlink(view, path),
                };
                (link, view.steps())
            })?;
            self.allowance.spend(steps);
            link.into_iter().for_each(|link| self.candidates.note(link));
        }
        Ok(())
    }

    /// Works out which entries to look out for.
    fn look_out(&mut self) -> Result<(), Refused> {
        let lookup = &self.lookup;
        let (open, steps) = ask_of(&self.above, &mut self.layer, |view| {
            let open: BTreeMap<usize, _> = lookup.open(view).collect();
            (open, view.steps())
        })?;
        self.allowance.spend(steps);
        let elsewhere =
            open.iter().filter(|(position, open)| !open.is_settled && self.lookup.patterns[**position].is_literal());
        self.names = elsewhere.map(|(_, open)| split(&open.at).1.to_vec()).collect();
        self.candidates.begin(open.into_iter().map(|(position, open)| (position, open.at, open.parts)));
        Ok(())
    }
}
