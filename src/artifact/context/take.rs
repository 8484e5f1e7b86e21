//! Taking what a build copies out of an image, and putting it together as a folder that BuildKit reads as it reads the image.

use std::collections::HashMap;
use std::sync::Arc;

use super::asked::Asked;
use super::by_label;
use super::fit::Form;
use super::folder::Folder;
use super::outcome::{Failure, Stop, Taken};
use super::reading::{Hit, check_inside, read};
use super::unfit::Unfit;
use crate::artifact::error::Error;
use crate::artifact::layers::Verify;
use crate::artifact::look_up::{Stage, item};
use crate::artifact::shown::show_path;
use crate::artifact::survey::{Found, Survey};
use crate::artifact::table_index::beside;
use crate::artifact::tables::Tables;
use crate::extract::{Hashing, Item, Metadata, Staging};
use crate::image::Image;
use crate::progress::Progress;
use crate::rootfs::lookup::{Lookup, Tree};
use crate::rootfs::trail::links;
use crate::rootfs::walk::{Found as Walked, resolve};
use crate::rootfs::{Refused, View, components, join};
use crate::source::Source;

/// Taking what is asked for out of an image.
pub struct Taking<'a> {
    /// What it is to be.
    pub form: Form,
    /// Where the image is.
    pub source: &'a Arc<dyn Source>,
    /// The image.
    pub image: &'a Arc<Image>,
    /// Where content is staged.
    pub staging: &'a Arc<Staging>,
    /// Who is told of it.
    pub progress: &'a Arc<dyn Progress>,
    /// The tables of contents that are believed.
    pub tables: &'a Tables,
    /// Whether it stands in for a stage. Of a stage, BuildKit sends what all instructions need at once; of an image, what each of
    /// them needs by itself.
    pub is_stage: bool,
}

/// Something to be put into the folder.
struct Thing {
    place: Vec<u8>,
    real_path: Vec<u8>,
    item: Item,
}

/// What layers say of what was asked for.
struct Looked {
    /// What each path names.
    hits: Vec<Vec<Hit>>,
    /// The directories above that are copied, by the places that they are copied by.
    above: HashMap<Vec<u8>, Above>,
}

/// A directory that is copied without all that is in it.
struct Above {
    real_path: Vec<u8>,
    metadata: Metadata,
    /// Whether a layer that was read describes it.
    is_described: bool,
    keeps_owner: bool,
}

impl Taking<'_> {
    /// The folder with all that was `asked` for, and what that is.
    pub async fn folder(&self, asked: &[Asked]) -> Result<(Folder, Vec<Taken>), Stop> {
        let labelled = by_label::find(self.source, self.image, asked, self.staging, &**self.progress).await?;
        if let Some(found) = labelled {
            let mut taken = Vec::with_capacity(found.len());
            let mut things = Vec::with_capacity(found.len());
            let mut hits = Vec::with_capacity(found.len());
            for (asked, by_label::Found { place, real_path, item, size }) in asked.iter().zip(found) {
                self.form.check(&item, &real_path, asked.keeps_owner)?;
                taken.push(told(asked, &place, &real_path, size));
                hits.push(vec![Hit { place: place.clone(), real_path: real_path.clone(), link: None }]);
                things.push(Thing { place, real_path, item });
            }
            return Ok((self.assembled(asked, things, &hits, HashMap::new())?, taken));
        }
        let (patterns, optional) = (asked.iter().map(Asked::pattern), (0..asked.len()).collect());
        let patterns = patterns.collect::<Result<_, _>>()?;
        let lookup = Lookup { patterns, follow: true, optional, needs_content: true, lists: false };
        let stage = Arc::new(Stage { staging: Arc::clone(self.staging), hashing: Hashing::Skipped });
        let survey = Survey::new(Arc::clone(self.source), self.image, stage, lookup, Verify::Always);
        let trusts_attached = !self.source.is_pinned();
        let tables = beside(self.tables.clone(), (self.source, self.image), trusts_attached, self.progress);
        let mut survey = survey.keeping_xattrs(true).telling(self.progress).told_by(tables);
        let found = survey.complete(&self.source.name()).await?;
        self.of_layers(asked, &survey, found)
    }

    fn of_layers(&self, asked: &[Asked], survey: &Survey<Stage>, found: Found) -> Result<(Folder, Vec<Taken>), Stop> {
        let Found { planned, mut failures, notices } = found;
        // Hard links to nothing, which engines refuse.
        if let Some(problem) = notices.into_iter().next() {
            return Err(Unfit::Odd { problem }.into());
        }
        let mut trees: HashMap<(usize, Vec<u8>), Tree> = HashMap::new();
        for thing in planned {
            let place = thing.path.strip_prefix(b"/").unwrap_or(&thing.path).to_vec();
            trees.insert((thing.pattern, place), thing.tree);
        }
        let Looked { hits, above } = survey.ask(|view| look(view, asked, survey.is_over()))??;
        let (mut things, mut taken) = (Vec::new(), Vec::new());
        for (position, (asked, hits)) in asked.iter().zip(&hits).enumerate() {
            if hits.is_empty()
                && let Some(failure) = self.missing(asked, failures.remove(&position))
            {
                return Err(failure);
            }
            for Hit { place, real_path, link } in hits {
                let (item, size) = match (link, trees.remove(&(position, place.clone()))) {
                    (Some(link), _) => (link.clone(), 0),
                    (None, Some(tree)) => {
                        let size = tree.size();
                        let lost = || Error::Bug(format!("the content of {} did not come", show_path(real_path)));
                        (item(tree, survey).ok_or_else(lost)?, size)
                    }
                    // Nothing else is left out of what was looked for.
                    (None, None) => return Err(Unfit::Special { path: show_path(real_path) }.into()),
                };
                self.form.check(&item, real_path, asked.keeps_owner)?;
                taken.push(told(asked, place, real_path, size));
                things.push(Thing { place: place.clone(), real_path: real_path.clone(), item });
            }
        }
        for above in above.values() {
            let path = show_path(&above.real_path);
            if !above.is_described {
                return Err(Unfit::Undescribed { path }.into());
            }
            self.form.check_directory(&above.metadata, &above.real_path, above.keeps_owner)?;
        }
        Ok((self.assembled(asked, things, &hits, above)?, taken))
    }

    /// Why what was `asked` for is not there, where that matters; `failure` is what the lookup says.
    fn missing(&self, asked: &Asked, failure: Option<Error>) -> Option<Stop> {
        match failure {
            Some(error) if asked.literal().is_some() => {
                Some(Stop::Failed(Failure { at: Some(asked.at), error: Box::new(error) }))
            }
            // The pattern matches too much.
            Some(error @ Error::Unfetchable { .. }) => Some(Unfit::Odd { problem: error.to_string() }.into()),
            Some(_) => None,
            None if asked.literal().is_some() => Some(Unfit::Unfollowed { text: asked.text.clone() }.into()),
            None => None,
        }
    }

    /// The folder with all `things` in it, in which BuildKit finds what it finds in the image: the `hits` of each path.
    fn assembled(
        &self,
        all: &[Asked],
        mut things: Vec<Thing>,
        hits_of: &[Vec<Hit>],
        above: HashMap<Vec<u8>, Above>,
    ) -> Result<Folder, Stop> {
        let mut folder = Folder::default();
        things.sort_by(|one, other| one.place.cmp(&other.place));
        for Thing { place, real_path, item } in things {
            if !folder.put(&place, &real_path, item) {
                return Err(Unfit::Tangled { text: show_path(&place) }.into());
            }
        }
        for (place, directory) in above {
            folder.describe(&place, directory.metadata);
        }
        if self.form == Form::Folder && folder.has_at_top(b".dockerignore") {
            return Err(Unfit::Dockerignore.into());
        }
        let index = folder.index().map_err(|refused: Refused| Unfit::Odd { problem: refused.to_string() })?;
        let view = View::new(vec![&index], true);
        let mut through: HashMap<(usize, Vec<u8>), Vec<u8>> = HashMap::new();
        for (asked, hits) in all.iter().zip(hits_of) {
            let tangled = || Unfit::Tangled { text: asked.text.clone() };
            let there = read(&view, asked).map_err(|_| tangled())?;
            let is_same = |(hit, there): (&Hit, &Hit)| {
                hit.place == there.place && folder.real_path(&there.real_path).as_ref() == Some(&hit.real_path)
            };
            if there.len() != hits.len() || !hits.iter().zip(&there).all(is_same) {
                return Err(tangled().into());
            }
            if asked.literal().is_none() || asked.with_parents || asked.excludes {
                let links: Vec<Vec<u8>> = there.iter().flat_map(|hit| folder.links(&hit.place)).collect();
                check_inside(&view, asked, &there, &links)?;
            }
            let sending = if self.is_stage { 0 } else { asked.at.0 };
            for Hit { place, real_path, .. } in &there {
                let followed = if asked.with_parents { asked.followed() } else { place.clone() };
                for link in links(&view, &followed, true) {
                    // Of the paths through one link, the first alone is sent.
                    let first = through.entry((sending, link.path)).or_insert_with(|| real_path.clone());
                    if first != real_path {
                        return Err(tangled().into());
                    }
                }
            }
            // Where BuildKit looks for matches has to be there, and is sent only for what the instruction copies from there.
            let start = asked.followed();
            let of_instruction = all.iter().zip(hits_of).filter(|(other, _)| other.at.0 == asked.at.0);
            let mut places = of_instruction.flat_map(|(_, hits)| hits.iter().map(|hit| hit.place.as_slice()));
            let is_there = matches!(resolve(&view, &start, true), Walked::Directory(_));
            if hits.is_empty() && !(is_there && places.any(|place| is_sent_with(&start, place))) {
                return Err(Unfit::NoMatch { text: asked.text.clone() }.into());
            }
        }
        Ok(folder)
    }
}

/// Whether `directory` is sent where what is at `place` is: as it is above that, or part of it.
fn is_sent_with(directory: &[u8], place: &[u8]) -> bool {
    let is_in = |path: &[u8], above: &[u8]| path.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"));
    directory.is_empty() || directory == place || is_in(place, directory) || is_in(directory, place)
}

fn told(asked: &Asked, place: &[u8], real_path: &[u8], size: u64) -> Taken {
    Taken { at: asked.at, path: show_path(place), real_path: show_path(real_path), size }
}

/// Looks at what was `asked` for in the image, and at the directories above that are copied with it. Where the view is `whole`, what
/// no layer describes is as engines make it.
fn look(view: &View<'_>, asked: &[Asked], whole: bool) -> Result<Looked, Unfit> {
    let (mut all, mut above) = (Vec::with_capacity(asked.len()), HashMap::new());
    for asked in asked {
        let hits = read(view, asked)?;
        for hit in hits.iter().filter(|_| asked.with_parents) {
            let count = components(&hit.place).count();
            let (mut place, mut real_path) = (asked.followed(), pivot(view, asked));
            for name in components(&hit.place).take(count.saturating_sub(1)).skip(asked.followed_names()) {
                (place, real_path) = (join(&place, name), join(&real_path, name));
                let Walked::Directory(directory) = resolve(view, &real_path, false) else { break };
                let is_described = whole || directory.described_by.is_some();
                let entry = above.entry(place.clone()).or_insert_with(|| Above {
                    real_path: real_path.clone(),
                    metadata: view.metadata(&directory),
                    is_described,
                    keeps_owner: false,
                });
                entry.keeps_owner |= asked.keeps_owner;
            }
        }
        all.push(hits);
    }
    Ok(Looked { hits: all, above })
}

/// The canonical path of the directory below which directories are copied.
fn pivot(view: &View<'_>, asked: &Asked) -> Vec<u8> {
    match resolve(view, &asked.followed(), true) {
        Walked::Directory(directory) => directory.path,
        _ => Vec::new(),
    }
}
