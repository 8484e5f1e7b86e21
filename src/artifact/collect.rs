//! One layer as it is read: what is wanted of it is handed to a [`Collect`]or while it passes by.

use std::collections::HashMap;
use std::sync::Arc;

use super::again::Noted;
use super::error::Error;
use super::filling::Filling;
use super::layers::{self, Noting, Verify, Vouched};
use super::pace::Pace;
use super::place;
use super::remember::{Remember, Remembering};
use super::told::Told;
use crate::extract::{StageError, Stamp};
use crate::image::Layer;
use crate::layer::content::{DataOffset, FileContent};
use crate::layer::observer::Observer;
use crate::layer::{Content, Entry, Flow, Kind};
use crate::progress::Progress;
use crate::rootfs::lookup::Passing;
use crate::rootfs::{Candidates, KnownLayer, Refused, split};
use crate::source::LayerBlob;
use crate::table::own_members;

/// Where at least so many bytes of a layer are left when all has been found, it is worth saying that they are read only to be compared
/// with its digest.
const WORTH_SAYING: u64 = 16 << 20;

/// So often, for each layer, it is asked whether all has been found, at most.
const MAX_ASKED: usize = 64;

/// What becomes of the content of wanted files as it passes by.
pub trait Collect: Send + Sync + 'static {
    /// What is kept of a file.
    type Kept: Clone + Send + Sync + 'static;

    /// Whether layers are to be read so that [`Content::extent`] tells where in the blob an entry is, which is slower. Then nothing is
    /// collected on the mere chance that a link will lead to it.
    const TRACKS: bool;

    /// Takes in the content of a file, which the patterns at these positions want.
    fn collect(
        &self,
        layer: &Layer,
        patterns: &[usize],
        file: File,
        data: &mut dyn Content,
    ) -> Result<Self::Kept, StageError>;

    /// Forgets all that it has taken in, as layers are looked at from the start once more.
    fn forget(&self) {}
}

/// Lets all content pass by.
pub struct NoContent;

impl Collect for NoContent {
    type Kept = ();
    const TRACKS: bool = false;

    fn collect(&self, _: &Layer, _: &[usize], _: File, _: &mut dyn Content) -> Result<(), StageError> {
        Ok(())
    }
}

/// A file whose content passes by.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Where its content is, and how much.
    pub content: FileContent,
    /// The mode and the time that its entry has.
    pub stamp: Stamp,
}

impl File {
    /// The file that `entry` is; `None` where it is anything else.
    fn of(entry: &Entry) -> Option<Self> {
        let Kind::File { size, sparse } = entry.kind else { return None };
        let content = FileContent { data: DataOffset(entry.data_offset), size, sparse };
        Some(File { content, stamp: Stamp { mode: entry.mode, mtime: entry.mtime } })
    }
}

/// A layer with the name that messages give it.
#[derive(Clone)]
pub(super) struct NamedLayer {
    pub(super) name: String,
    pub(super) layer: Layer,
}

/// What one reading of one layer gave.
pub(super) struct Reading<K> {
    pub(super) layer: Arc<KnownLayer>,
    pub(super) candidates: Candidates,
    pub(super) contents: HashMap<DataOffset, K>,
    pub(super) vouched: Vouched,
    /// What was noted for a second look.
    pub(super) noted: Option<Noted>,
    /// What it was told by, where it was not read.
    pub(super) told: Option<Told>,
    /// Whether it ended before the layer did, as all seemed to have come that was asked for.
    pub(super) is_cut: bool,
}

/// Whose turn it is that a layer is read in.
#[derive(Clone)]
pub(super) enum Turn {
    /// Its own, as all layers above it are known. Where another one may be read beside it, its pace is told of it.
    Own(Option<Arc<Pace>>),
    /// That of a layer above it, whose pace this is, and which may yet say that something else is meant.
    Beside(Arc<Pace>),
}

/// How layers are read, and what for.
pub(super) struct Collecting<C> {
    pub(super) collector: Arc<C>,
    pub(super) verify: Verify,
    /// Whether each match of a glob is to have a base name of its own.
    pub(super) apart: bool,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) turn: Turn,
    /// What layers are remembered in that are read.
    pub(super) remember: Option<Arc<Remember>>,
}

impl<C: Collect> Collecting<C> {
    /// Reads a layer, and collects what is wanted of it.
    pub(super) fn read(
        &self,
        blob: LayerBlob,
        layer: &NamedLayer,
        mut passing: Passing,
    ) -> Result<Reading<C::Kept>, Error> {
        let mut contents = HashMap::new();
        // Going back costs a whole reading, except where content can be read by itself.
        let can_return = layers::can_return(&blob, self.verify).map_err(|error| Error::in_layer(&layer.name, error))?;
        let guesses = !can_return && !C::TRACKS;
        let noted = (guesses && passing.needs_content()).then(|| Noted::of(&blob));
        let remembering = self.remember.as_ref().and_then(|remember| remember.begin(&layer.layer, &blob, self.verify));
        let filling = remembering.as_ref().map(Remembering::filling);
        let restarts = noted.as_ref().map(|noted| Arc::clone(&noted.restarts) as Arc<dyn Observer>);
        let observers = restarts.into_iter().chain(filling.map(Filling::observer)).collect();
        let noting = Noting { extents: C::TRACKS, observers };
        let mut finding = Finding { layer, noted: noted.as_ref(), asked: 0 };
        let mut is_cut = false;
        let hidden = own_members(&layer.layer);
        let vouched = layers::scan_noting(blob, &layer.name, self.verify, noting, &mut |entry, data| {
            if let Some(filling) = filling {
                filling.entry(entry);
            }
            if hidden.contains(&entry.path.as_slice()) {
                return Ok(Flow::Continue);
            }
            let wanting = passing.take(entry);
            let wanting = wanting.map_err(|refused| Error::in_layer(&layer.name, refused.at(entry.header_offset)))?;
            let (Some(wanting), Some(file)) = (wanting, File::of(entry)) else { return Ok(Flow::Continue) };
            if wanting.patterns.is_empty() && !guesses {
                return Ok(Flow::Continue);
            }
            if self.apart
                && !wanting.patterns.is_empty()
                && let Some((first, second)) = passing.namesake(&wanting.path)
            {
                return Err(place::clash(&first, &second, split(&second).1));
            }
            if let Turn::Beside(pace) = &self.turn
                && !pace.may_keep(file.content.size)
            {
                return Ok(Flow::Continue);
            }
            let kept = self.collector.collect(&layer.layer, &wanting.patterns, file, data);
            contents.insert(file.content.data, kept.map_err(|error| Error::staging(&layer.name, error))?);
            passing.keep(file.content.data);
            is_cut = self.is_over(&mut finding, file, &mut passing)?;
            Ok(if is_cut { Flow::Stop } else { Flow::Continue })
        })?;
        if let Some(remembering) = remembering.filter(|_| vouched == Vouched::ByDigest && !is_cut) {
            remembering.end();
        }
        let (known, candidates) = passing.finish();
        Ok(Reading { layer: KnownLayer::new(known), candidates, contents, vouched, noted, told: None, is_cut })
    }

    /// Whether the layer need not be read behind `file`. Where it only has to be read to be compared with its digest, that is said.
    fn is_over(&self, finding: &mut Finding<'_>, file: File, passing: &mut Passing) -> Result<bool, Error> {
        let never = self.verify == Verify::Never;
        let pace = match &self.turn {
            Turn::Own(pace) => pace.as_ref(),
            Turn::Beside(_) => None,
        };
        let end = file.content.data.0.saturating_add(file.content.size);
        // A layer beside another cannot tell: that one may mean something else.
        let worth_saying = match self.turn {
            Turn::Own(_) if !never => finding.worth_saying(end),
            _ => None,
        };
        if !(never || pace.is_some() || worth_saying.is_some()) {
            return Ok(false);
        }
        if !passing.is_enough().map_err(|refused| lost(&finding.layer.name, &refused))? {
            return Ok(false);
        }
        pace.inspect(|pace| pace.end());
        if let Some(left) = worth_saying {
            self.progress.only_checking(&finding.layer.layer.task(), left);
            finding.asked = MAX_ASKED;
        }
        Ok(never)
    }
}

/// How far it is known that all has been found which a layer is read for.
struct Finding<'a> {
    layer: &'a NamedLayer,
    noted: Option<&'a Noted>,
    /// How often it was asked.
    asked: usize,
}

impl Finding<'_> {
    /// How many bytes of the layer are left, as stored, when the tar has been read up to `end`, if that is worth saying.
    fn worth_saying(&mut self, end: u64) -> Option<u64> {
        let noted = self.noted.filter(|_| self.asked < MAX_ASKED)?;
        let left = self.layer.layer.size().saturating_sub(noted.restarts.position(end));
        if left < WORTH_SAYING {
            return None;
        }
        self.asked += 1;
        Some(left)
    }
}

/// That what was kept of the layer of this name, or of one above it, is gone.
pub(super) fn lost(layer: &str, refused: &Refused) -> Error {
    Error::Bug(format!("{layer}: {refused}"))
}
