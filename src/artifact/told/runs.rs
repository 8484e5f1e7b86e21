//! Contents that one of our own tables tells of, put together to what one request gets, with what a decoder has to know for that.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::asking::NotTold;
use super::own::{LocatedContent, Own};
use super::pieces::{Place, Stretch, Within};
use crate::artifact::error::Error;
use crate::layer::checkpoint::Checkpoint;
use crate::layer::content::DataOffset;
use crate::table::own::{Part, Start};
use crate::table::{Piece, Pieces};

/// What lies no more than so many bytes apart comes in one request.
const JOINED: u64 = 64 << 10;

/// Contents that come in one request, and are decoded in one go.
#[derive(Debug)]
pub(super) struct Run {
    start: Start,
    range: Range<u64>,
    contents: Vec<LocatedContent>,
}

/// The requests that it takes to get these contents, which are in the order of the tar.
pub(super) fn runs(located: Vec<LocatedContent>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for content in located {
        let begin = content.start.compressed;
        match runs.last_mut() {
            Some(last) if last.range.start <= begin && begin <= last.range.end.saturating_add(JOINED) => {
                last.range.end = last.range.end.max(content.end);
                last.contents.push(content);
            }
            _ => runs.push(Run { start: content.start.clone(), range: begin..content.end, contents: vec![content] }),
        }
    }
    runs
}

impl Run {
    /// How many bytes of the blob are asked for, about.
    pub(super) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Makes some `runs` ready to be read. With `places`, each content says where in the blob it is.
pub(super) fn stretches(own: &Own, runs: &[Run], places: bool) -> Result<Vec<Stretch>, NotTold> {
    let mut starts: BTreeMap<u64, &Start> = BTreeMap::new();
    for run in runs {
        starts.insert(run.start.compressed, &run.start);
        if places {
            starts.extend(run.contents.iter().map(|content| (content.start.compressed, &content.start)));
        }
    }
    let checkpoints = checkpoints(own, &starts)?;
    let checkpoint = |start: &Start| {
        let checkpoint = checkpoints.get(&start.compressed).cloned();
        checkpoint.ok_or_else(|| NotTold::Failed(Error::Bug("a checkpoint is missing".to_owned())))
    };
    let mut stretches = Vec::with_capacity(runs.len());
    for run in runs {
        let begin = checkpoint(&run.start)?;
        let mut contents = Vec::with_capacity(run.contents.len());
        let mut is_compared = false;
        for LocatedContent { content, start, end, digest } in &run.contents {
            is_compared |= digest.is_none();
            let piece = Piece {
                stored: Some(run.range.clone()),
                checkpoint: Some(Arc::clone(&begin)),
                skip: content.data.0 - run.start.uncompressed,
                size: content.size,
                digest: None,
            };
            let place = match places {
                true => Some(Place {
                    compressed: start.compressed..*end,
                    uncompressed: start.uncompressed..content.data.0.saturating_add(content.size),
                    checkpoint: checkpoint(start)?,
                }),
                false => None,
            };
            let pieces = Pieces { pieces: vec![piece], digest: digest.clone() };
            contents.push(Within { data: content.data, pieces, place });
        }
        let compared = match is_compared {
            true => Some(own.compared(run.range.clone())?.ok_or(NotTold::Silent)?),
            false => None,
        };
        stretches.push(Stretch::new(Some(run.range.clone()), contents, compared));
    }
    Ok(stretches)
}

/// Contents that are empty.
pub(super) fn empty(contents: impl Iterator<Item = DataOffset>) -> Stretch {
    let within = |data| Within { data, pieces: Pieces { pieces: Vec::new(), digest: None }, place: None };
    Stretch::new(None, contents.map(within).collect(), None)
}

/// What a decoder has to know at each of these starts, by their compressed offsets.
fn checkpoints(own: &Own, starts: &BTreeMap<u64, &Start>) -> Result<HashMap<u64, Arc<Checkpoint>>, NotTold> {
    let windows: Vec<Part> = starts.values().filter_map(|start| start.state.window().cloned()).collect();
    let mut read = own.parts.read(&windows)?.into_iter();
    let mut checkpoints = HashMap::with_capacity(starts.len());
    for (at, start) in starts {
        let window = start.state.window().and_then(|_| read.next()).unwrap_or_default();
        let checkpoint = start.state.checkpoint(&window).map_err(NotTold::Unusable)?;
        checkpoints.insert(*at, Arc::new(checkpoint));
    }
    Ok(checkpoints)
}
