//! Layers that are known by a table, and not by being read: what the table tells is taken in as the layer would be, whole or as far as it is
//! asked for, and the content of what is wanted comes by range, piece by piece, each compared with its digest, or with what the layer
//! had when it was read.

mod asking;
mod carried;
mod fetching;
mod opened;
mod own;
mod parts;
mod pieces;
mod runs;
mod spans;

use std::collections::HashMap;
use std::sync::Arc;

pub(super) use self::asking::NotTold;
pub(super) use self::carried::carried;
pub(super) use self::fetching::Fetching;
pub(super) use self::opened::{By, Opened, Origin, Told};
pub(super) use self::own::Own;
pub(super) use self::parts::{BlobParts, Parts};

use super::collect::{Collect, Collecting, Reading, lost};
use super::place;
use crate::layer::Entry;
use crate::rootfs::lookup::Passing;
use crate::rootfs::{KnownLayer, More, Refused, split};
use crate::table::Unusable;

impl<C: Collect> Collecting<C> {
    /// Takes in a layer, which messages call `name`, by its table; or says why the table is of no use.
    pub(super) fn take_in(&self, told: Told, name: &str, mut passing: Passing) -> Result<Reading<C::Kept>, NotTold> {
        let mut clash = None;
        let mut visit = |entry: &Entry| {
            // What the layer itself would be refused for is told better by the layer.
            let wanting = passing.take(entry).map_err(|refused| Unusable::new(refused.to_string()))?;
            if let Some(wanting) = wanting.filter(|wanting| self.apart && !wanting.patterns.is_empty())
                && let Some(names) = passing.namesake(&wanting.path)
            {
                clash.get_or_insert(names);
            }
            Ok(())
        };
        match &told.by {
            By::Whole(table) => table.entries(&mut visit).map_err(NotTold::Unusable)?,
            By::Own(own) if !own.is_simple() => own.entries(&mut visit)?,
            By::Own(own) => {
                let more: Arc<dyn More> = Arc::clone(own) as Arc<dyn More>;
                clash = passing.ask(&more, self.apart).map_err(|refused| untold(own, name, &refused))?;
            }
        }
        if let Some((first, second)) = clash {
            return Err(NotTold::Failed(place::clash(&first, &second, split(&second).1)));
        }
        let (known, candidates) = passing.finish();
        Ok(Reading {
            layer: KnownLayer::new(known),
            candidates,
            contents: HashMap::new(),
            vouched: told.vouched(),
            noted: None,
            told: Some(told),
            is_cut: false,
        })
    }
}

/// Why `own` did not tell what it was asked.
fn untold(own: &Own, name: &str, refused: &Refused) -> NotTold {
    own.take_trouble().unwrap_or_else(|| match refused {
        // What another layer was asked.
        Refused::Untold | Refused::Lost => NotTold::Failed(lost(name, refused)),
        refused => NotTold::Unusable(Unusable::new(refused.to_string())),
    })
}

impl Told {
    /// Why it did not tell what it was asked last, where it did not.
    pub(super) fn take_trouble(&self) -> Option<NotTold> {
        match &self.by {
            By::Whole(_) => None,
            By::Own(own) => own.take_trouble(),
        }
    }
}
