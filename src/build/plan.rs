//! What is fetched instead of whole images, by the names that BuildKit looks contexts up by.
//!
//! A folder that is given by a name stands for all that has the name: an image that is copied from, an image that a stage begins
//! with, a stage with its instructions. So for each name all that the needed stages do with it comes together, and the name is
//! planned if that is nothing but copying files that are known. What is not planned is built, and what it begins with is needed
//! whole; so one name that is left may leave another.
//!
//! Time and memory are about proportional to the Dockerfile, for each platform: a name is left once, and a stage is followed once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use super::context_name::is_reserved;
use super::dockerfile::Dockerfile;
use super::stages::{self, Adds, Base, Copied, Evaluated, Needed};
use super::{Context, Left, NotUnderstood, Plan, Request, Use, frontend};
use crate::image::platform::Platform;

pub use super::context_name::context_name;

/// Says which files of which images a build copies. It fails where that cannot be known of any of them.
pub fn plan(dockerfile: &Dockerfile, request: &Request) -> Result<Plan, NotUnderstood> {
    if let Some(frontend) = request.arguments.get("BUILDKIT_SYNTAX") {
        frontend::check(frontend)?;
    }
    let mut builds = Vec::with_capacity(request.platforms.len());
    for platform in &request.platforms {
        if platform.os != "linux" {
            return Err(NotUnderstood(format!("it is for {platform}")));
        }
        builds.push(stages::evaluate(dockerfile, request, platform)?);
    }
    let mut names = Names::copied(&builds, request);
    names.leave_what_is_built(request);
    let mut plan = Plan::default();
    let mut declared = HashSet::new();
    plan.declared
        .extend(builds.iter().flat_map(|build| &build.declared).filter(|name| declared.insert(*name)).cloned());
    let trigger = builds.iter().find_map(|build| build.trigger);
    let by_trigger = || Some((trigger?, "may be copied from by an ONBUILD trigger".to_owned()));
    // Those from which nothing is copied are no news.
    let mut names: Vec<_> = names.names.into_iter().filter_map(|(name, of)| Some((of.first?, name, of))).collect();
    names.sort_by_key(|(first, ..)| *first);
    for (first, name, of) in names {
        match (of.reason.or_else(by_trigger), of.image) {
            (None, Some(Image { image, .. })) => {
                let is_stage = !of.stages.is_empty();
                plan.contexts.push(Context { name, image, is_stage, platforms: of.platforms, uses: of.uses });
            }
            (reason, _) => {
                let (line, reason) = reason.unwrap_or_else(|| (first, "is not understood".to_owned()));
                plan.left.push(Left { name, line, reason: format!("it {reason}") });
            }
        }
    }
    Ok(plan)
}

/// What the needed stages do with one name.
#[derive(Debug, Default)]
struct Name {
    /// The image whose files are copied.
    image: Option<Image>,
    /// The platforms that the image is needed for: one for each build, if they differ.
    platforms: Vec<Platform>,
    /// What is copied, in each build.
    uses: Vec<Use>,
    /// The line of the first of these, or of one that is not understood.
    first: Option<usize>,
    /// Why it is left, with the line that says so.
    reason: Option<(usize, String)>,
    /// The stages that are not built if the name is planned, each with the build that it is in.
    stages: Vec<(usize, usize)>,
}

/// An image, as it is written first, and the name that is the same for all spellings of it.
#[derive(Debug)]
struct Image {
    image: String,
    name: String,
}

impl Name {
    /// Notes what one build copies from an image by this name.
    fn add(&mut self, image: Image, platform: Option<&Platform>, copied: &Copied) {
        let line = copied.line;
        self.first.get_or_insert(line);
        match &copied.what {
            Ok(copied) => self.uses.push(copied.clone()),
            Err(reason) => self.leave(line, reason),
        }
        match (platform, self.platforms.first()) {
            (None, _) => self.leave(line, "is for a platform that is not understood"),
            (Some(platform), _) if platform.os != "linux" => self.leave(line, &format!("is for {platform}")),
            (Some(platform), None) => self.platforms.push(platform.clone()),
            (Some(platform), Some(other)) if !other.is_same(platform) => {
                self.leave(line, "is needed for two platforms in one build");
            }
            _ => {}
        }
        match &self.image {
            None => self.image = Some(image),
            Some(other) if other.name != image.name => self.leave(line, "names an image, and a stage of another image"),
            Some(_) => {}
        }
    }

    /// Leaves the name to BuildKit. The first reason counts.
    fn leave(&mut self, line: usize, reason: &str) {
        self.reason.get_or_insert_with(|| (line, reason.to_owned()));
    }

    /// Takes in what another platform's build copies by this name.
    fn unite(&mut self, other: Name) {
        let image = |name: &Name| name.image.as_ref().map(|image| image.name.clone());
        if image(self) != image(&other) || self.uses != other.uses {
            self.leave(self.first.unwrap_or_default(), "is copied from differently for each platform");
        }
        self.reason = self.reason.take().or(other.reason);
        for platform in other.platforms {
            if !self.platforms.iter().any(|one| one.is_same(&platform)) {
                self.platforms.push(platform);
            }
        }
    }
}

/// All names, and what is known of their stages in each platform's build.
struct Names<'a> {
    builds: &'a [Evaluated],
    names: BTreeMap<String, Name>,
}

impl<'a> Names<'a> {
    /// The names that the builds copy from.
    fn copied(builds: &'a [Evaluated], request: &Request) -> Self {
        let mut names: BTreeMap<String, Name> = BTreeMap::new();
        for build in builds {
            for (name, of) in copied_in(build, request) {
                match names.entry(name) {
                    Entry::Vacant(entry) => drop(entry.insert(of)),
                    Entry::Occupied(mut entry) => entry.get_mut().unite(of),
                }
            }
        }
        Names { builds, names }
    }

    /// Leaves all that the stages which are built begin with, and in turn what is built because of that.
    fn leave_what_is_built(&mut self, request: &Request) {
        let mut built = Vec::new();
        for (number, build) in self.builds.iter().enumerate() {
            for (index, stage) in needed(build) {
                let is_target = index == build.target;
                match name_of(build, stage) {
                    Some(name) if !is_target && stage.adds == Adds::Nothing => {
                        self.names.entry(name.to_owned()).or_default().stages.push((number, index));
                        continue;
                    }
                    Some(name) if stage.name.is_some() => {
                        let (line, reason) = reason_to_build(stage, is_target);
                        self.names.entry(name.to_owned()).or_default().leave(line, reason);
                    }
                    _ => {}
                }
                built.push((number, index));
            }
        }
        for (name, of) in &mut self.names {
            let first = of.first.unwrap_or_default();
            if is_reserved(name) {
                of.leave(first, "is a name that no context can have");
            }
            if request.leave.contains(name) {
                of.leave(first, "is left alone, as --leave says");
            }
            // What the person gives by a name is there, whatever else is left.
            if of.reason.is_some() && !request.given.contains(name) {
                built.append(&mut of.stages);
            }
        }
        // Each stage gets here once: it is moved away from the name that it is noted at.
        while let Some((number, index)) = built.pop() {
            let Some((stage, name)) = base_of(&self.builds[number], index) else { continue };
            let of = self.names.entry(name.to_owned()).or_default();
            let adds_files = stage.adds == Adds::Files;
            let what = if adds_files {
                "is the base of a stage that adds files"
            } else {
                "is the base of a stage that is built"
            };
            of.leave(stage.line, what);
            built.append(&mut of.stages);
        }
    }
}

/// What one build copies, by name.
fn copied_in(build: &Evaluated, request: &Request) -> BTreeMap<String, Name> {
    let mut names: BTreeMap<String, Name> = BTreeMap::new();
    for copied in needed(build).flat_map(|(_, stage)| &stage.copies) {
        let Some(Source { name, image, platform }) = source_of(build, copied) else { continue };
        let of = names.entry(name.to_owned()).or_default();
        if request.given.contains(name) {
            of.leave(copied.line, "is given with --build-context");
        }
        match image {
            Some(image) => of.add(image, platform, copied),
            None => drop(of.first.get_or_insert(copied.line)),
        }
    }
    names
}

/// An image, or a stage that adds no files to one.
struct Source<'a> {
    name: &'a str,
    /// `None` where the person gives something for the stage.
    image: Option<Image>,
    /// As far as it is understood.
    platform: Option<&'a Platform>,
}

/// What is copied from, unless that is a stage that adds files.
fn source_of<'a>(build: &'a Evaluated, copied: &'a Copied) -> Option<Source<'a>> {
    let Base::Stage(index) = &copied.source else {
        let Base::Image { image, name } = &copied.source else { return None };
        let image = Image { image: image.clone(), name: name.clone() };
        return Some(Source { name, image: Some(image), platform: Some(&build.platform) });
    };
    let stage = build.stages[*index].as_ref()?;
    let name = name_of(build, stage)?;
    if stage.is_given {
        return Some(Source { name, image: None, platform: None });
    }
    let root = build.stages[stage.root].as_ref().filter(|_| stage.adds != Adds::Files)?;
    let Base::Image { image, name: image_name } = &root.base else { return None };
    let image = Image { image: image.clone(), name: image_name.clone() };
    Some(Source { name, image: Some(image), platform: root.platform.as_ref() })
}

/// The stages that are needed, and that the person gives nothing for.
fn needed(build: &Evaluated) -> impl Iterator<Item = (usize, &Needed)> {
    let needed = build.stages.iter().enumerate().filter_map(|(index, stage)| Some((index, stage.as_ref()?)));
    needed.filter(|(_, stage)| !stage.is_given)
}

/// The name by which a stage's files are replaced: its own, or that of what it begins with.
fn name_of<'a>(build: &'a Evaluated, stage: &'a Needed) -> Option<&'a str> {
    match (&stage.name, &stage.base) {
        (Some(name), _) | (None, Base::Image { name, .. }) => Some(name),
        // Only a stage with a name is one to begin with.
        (None, Base::Stage(base)) => build.stages[*base].as_ref()?.name.as_deref(),
        (None, Base::Scratch) => None,
    }
}

/// A stage, and the name of the image or of the stage that it begins with, unless that is given.
fn base_of(build: &Evaluated, index: usize) -> Option<(&Needed, &str)> {
    let stage = build.stages[index].as_ref()?;
    match &stage.base {
        Base::Scratch => None,
        Base::Image { name, .. } => Some((stage, name)),
        Base::Stage(base) => {
            let base = build.stages[*base].as_ref().filter(|base| !base.is_given)?;
            Some((stage, base.name.as_deref()?))
        }
    }
}

/// Why a stage with a name cannot be replaced.
fn reason_to_build(stage: &Needed, is_target: bool) -> (usize, &'static str) {
    match stage.adds {
        Adds::Folder(line) => (line, "has a WORKDIR, which makes a folder"),
        Adds::Triggers(line) => (line, "has ONBUILD triggers"),
        _ if is_target => (stage.line, "is the stage that is built"),
        _ => (stage.line, "is the name of a stage that adds files"),
    }
}

#[cfg(test)]
mod tests;
