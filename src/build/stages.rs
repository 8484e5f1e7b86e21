//! Which stages a target needs, and what these copy out of others and out of images.
//!
//! This follows `frontend/dockerfile/dockerfile2llb/convert.go` of BuildKit, for one platform. A stage that a context is given for
//! is that context, with nothing of what its instructions say.

use std::collections::HashMap;

use super::context_name::{context_name, is_looked_up};
use super::dockerfile::{CopyFrom, Dockerfile, Instruction, Kind, Stage};
use super::expand::{Budget, Unknown};
use super::lines::not_understood;
use super::mount::Mount;
use super::variables::{Variables, predefined};
use super::{NotUnderstood, Request, Use, paths};
use crate::image::label;
use crate::image::platform::Platform;

/// What one platform's build does.
#[derive(Debug)]
pub(super) struct Evaluated {
    /// The platform that is built for.
    pub(super) platform: Platform,
    /// For each stage of the Dockerfile what is known of it, if the target needs it.
    pub(super) stages: Vec<Option<Needed>>,
    /// The stage that is built.
    pub(super) target: usize,
    /// The line of an `ONBUILD` that may copy from anything.
    pub(super) trigger: Option<usize>,
    /// The names of the artifacts that the target declares, in the order of the Dockerfile.
    pub(super) declared: Vec<String>,
}

/// A stage that the target needs.
#[derive(Debug)]
pub(super) struct Needed {
    /// The line of its `FROM`.
    pub(super) line: usize,
    /// The name by which BuildKit looks for a context in its place, if it has a name.
    pub(super) name: Option<String>,
    /// Whether the person gives that context.
    pub(super) is_given: bool,
    pub(super) base: Base,
    /// The stage whose image this one's files are of, if it adds none: itself, or one below.
    pub(super) root: usize,
    /// Its platform, as far as it is understood. That of the root counts.
    pub(super) platform: Option<Platform>,
    pub(super) adds: Adds,
    /// What it copies, in the order of the Dockerfile.
    pub(super) copies: Vec<Copied>,
}

/// What a stage begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    /// By its place in the Dockerfile.
    Stage(usize),
    Image {
        /// As the Dockerfile names it, variables replaced.
        image: String,
        /// By which BuildKit looks for a context in its place.
        name: String,
    },
}

/// What a stage has besides the files of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Adds {
    Nothing,
    /// A folder, by the `WORKDIR` in this line.
    Folder(usize),
    /// Triggers for the stages that begin with it, in this line.
    Triggers(usize),
    /// Files: it is built.
    Files,
}

/// An instruction that copies or mounts something that is not the build context.
#[derive(Debug)]
pub(super) struct Copied {
    /// Never `scratch`.
    pub(super) source: Base,
    pub(super) line: usize,
    /// What it copies, or why that is not known, as the end of a sentence that begins with the source.
    pub(super) what: Result<Use, String>,
}

/// Follows the stages from the target.
pub(super) fn evaluate(
    dockerfile: &Dockerfile,
    request: &Request,
    platform: &Platform,
) -> Result<Evaluated, NotUnderstood> {
    let stages = &dockerfile.stages;
    let names: HashMap<&str, usize> =
        stages.iter().enumerate().filter_map(|(index, stage)| Some((stage.name.as_deref()?, index))).collect();
    let target = match &request.target {
        None => stages.len() - 1,
        // BuildKit takes no number here.
        Some(name) => *names
            .get(name.to_lowercase().as_str())
            .ok_or_else(|| NotUnderstood(format!("the Dockerfile has no stage \"{}\"", name.escape_debug())))?,
    };
    let stage_name = stages[target].name.as_deref().unwrap_or("default");
    let stage_name = request.target.as_deref().unwrap_or(stage_name);
    let mut budget = Budget::new();
    let predefined = predefined(&request.build_platform, platform, stage_name);
    let global =
        Variables::global(&dockerfile.arguments, &request.arguments, &predefined, dockerfile.escape, &mut budget)
            .map_err(|_| too_long())?;
    let mut walk = Walk { dockerfile, request, platform, names, global, budget, variables: HashMap::new() };
    let mut needed = walk.needed(target)?;
    let labels = walk.follow(&mut needed)?;
    let (declared, trigger) = (declared(&needed, labels, target), walk.trigger(&needed));
    Ok(Evaluated { platform: platform.clone(), stages: needed, target, trigger, declared })
}

struct Walk<'a> {
    dockerfile: &'a Dockerfile,
    request: &'a Request,
    platform: &'a Platform,
    /// The stages with names.
    names: HashMap<&'a str, usize>,
    /// The variables before the first `FROM`.
    global: Variables,
    budget: Budget,
    /// The variables at the end of a stage, for those that begin with it.
    variables: HashMap<usize, Variables>,
}

/// The labels of artifacts that a stage sets: names, and whether the value declares one.
type Labels = Vec<(String, bool)>;

impl Walk<'_> {
    /// The stages that `target` needs, without what they copy yet.
    fn needed(&mut self, target: usize) -> Result<Vec<Option<Needed>>, NotUnderstood> {
        let mut needed: Vec<Option<Needed>> = self.dockerfile.stages.iter().map(|_| None).collect();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if needed[index].is_some() {
                continue;
            }
            let (stage, copies) = self.stage(index)?;
            if !stage.is_given {
                open.extend(copies.iter().chain([&stage.base]).filter_map(|source| match source {
                    Base::Stage(index) => Some(*index),
                    _ => None,
                }));
            }
            needed[index] = Some(stage);
        }
        Ok(needed)
    }

    /// What a stage says of itself, and what it copies from.
    fn stage(&mut self, index: usize) -> Result<(Needed, Vec<Base>), NotUnderstood> {
        let stage = &self.dockerfile.stages[index];
        let name = match &stage.name {
            Some(name) => match context_name(name) {
                Some(name) => Some(name),
                None => return not_understood(stage.line, "names a stage that can be no context"),
            },
            None => None,
        };
        let is_given = name.as_ref().is_some_and(|name| is_looked_up(name) && self.request.given.contains(name));
        let base = self.base(index, stage)?;
        let platform = match &stage.platform {
            None => Some(self.platform.clone()),
            Some(word) => self.word(word, stage)?.parse::<Platform>().ok(),
        };
        let mut sources = Vec::new();
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::CopyFrom(copy) => sources.push(self.source(&copy.from, index, instruction.line)?),
                Kind::Run(mounts) => {
                    for mount in mounts {
                        sources.push(self.mounted(mount, index, instruction.line)?);
                    }
                }
                _ => {}
            }
        }
        let adds = if base == Base::Scratch { Adds::Files } else { adds(&stage.instructions) };
        let copies = Vec::new();
        Ok((Needed { line: stage.line, name, is_given, base, root: index, platform, adds, copies }, sources))
    }

    /// A word of a `FROM`.
    fn word(&mut self, word: &str, stage: &Stage) -> Result<String, NotUnderstood> {
        self.global.expand(word, self.dockerfile.escape, &mut self.budget).or_else(|unknown| match unknown {
            Unknown::TooLong => Err(too_long()),
            _ => not_understood(stage.line, "has a variable that is not understood"),
        })
    }

    /// What `FROM` names: a stage before it, written exactly so, or an image.
    fn base(&mut self, index: usize, stage: &Stage) -> Result<Base, NotUnderstood> {
        let base = self.word(&stage.base, stage)?;
        match self.names.get(base.as_str()) {
            Some(&before) if before < index => Ok(Base::Stage(before)),
            _ => image(base, stage.line),
        }
    }

    /// What `COPY --from` names: the number of a stage, its name, or an image.
    fn source(&self, from: &str, index: usize, line: usize) -> Result<Base, NotUnderstood> {
        let stage = match from.parse::<i64>() {
            Ok(number) => Some(usize::try_from(number).unwrap_or(usize::MAX)),
            Err(_) => self.names.get(from.to_lowercase().as_str()).copied(),
        };
        match stage {
            Some(stage) if stage < index => Ok(Base::Stage(stage)),
            Some(_) => not_understood(line, "copies from a stage that does not stand before it"),
            None => image(from.to_owned(), line),
        }
    }

    /// What a mount names: as above, except that BuildKit takes a number for the name of an image, which nobody means.
    fn mounted(&self, mount: &Mount, index: usize, line: usize) -> Result<Base, NotUnderstood> {
        if mount.from.parse::<i64>().is_ok() {
            return not_understood(line, "mounts from a number");
        }
        self.source(&mount.from, index, line)
    }

    /// Goes through the needed stages in their order with their variables, and notes what they copy. Gives the labels of each.
    fn follow(&mut self, needed: &mut [Option<Needed>]) -> Result<HashMap<usize, Labels>, NotUnderstood> {
        let mut labels = HashMap::new();
        for index in 0..needed.len() {
            let (before, rest) = needed.split_at_mut(index);
            let Some(stage) = &mut rest[0] else { continue };
            if stage.is_given {
                // It is what the person gives, and so is what begins with it.
                stage.adds = Adds::Files;
                self.variables.insert(index, Variables::of_base(true));
                continue;
            }
            let mut variables = match stage.base {
                Base::Scratch => Variables::of_base(false),
                Base::Image { .. } => Variables::of_base(true),
                Base::Stage(base) => {
                    if let Some(base) = &before[base] {
                        stage.root = base.root;
                        stage.adds = if base.adds == Adds::Nothing { stage.adds } else { Adds::Files };
                    }
                    match self.variables.get(&base) {
                        Some(variables) => variables.inherited(&mut self.budget).map_err(|_| too_long())?,
                        None => Variables::of_base(true),
                    }
                }
            };
            let mut own_labels = Labels::new();
            let instructions = &self.dockerfile.stages[index].instructions;
            for instruction in instructions {
                self.instruction(index, instruction, &mut variables, stage, &mut own_labels)?;
            }
            // What begins with this stage does first what it triggers.
            let sets_variables = |kind: &Kind| matches!(kind, Kind::Onbuild(trigger) if trigger.has_variables);
            if instructions.iter().any(|instruction| sets_variables(&instruction.kind)) {
                variables.forget();
            }
            self.variables.insert(index, variables);
            labels.insert(index, own_labels);
        }
        Ok(labels)
    }

    fn instruction(
        &mut self,
        index: usize,
        instruction: &Instruction,
        variables: &mut Variables,
        stage: &mut Needed,
        labels: &mut Labels,
    ) -> Result<(), NotUnderstood> {
        let (escape, line) = (self.dockerfile.escape, instruction.line);
        match &instruction.kind {
            Kind::Arg(arguments) => {
                for argument in arguments {
                    variables
                        .declare(argument, &self.request.arguments, &self.global, escape, &mut self.budget)
                        .map_err(|_| too_long())?;
                }
            }
            Kind::Env(pairs) => {
                let mut expand = |word: &str| variables.expand(word, escape, &mut self.budget);
                let pairs = pairs.iter().map(|pair| (expand(&pair.key), expand(&pair.value))).collect();
                variables.set_environment(pairs).map_err(|_| too_long())?;
            }
            Kind::Label(pairs) => {
                for pair in pairs {
                    let key = variables.expand(&pair.key, escape, &mut self.budget);
                    let value = variables.expand(&pair.value, escape, &mut self.budget);
                    if key == Err(Unknown::TooLong) || value == Err(Unknown::TooLong) {
                        return Err(too_long());
                    }
                    let name = key.as_deref().ok().and_then(|key| key.strip_prefix(label::PREFIX));
                    if let Some(name) = name.filter(|name| name.parse::<label::Name>().is_ok()) {
                        // A value with a variable of the base image is a path as likely as not; what it is shows in the image.
                        labels.push((name.to_owned(), value.map_or(true, |value| value.starts_with('/'))));
                    }
                }
            }
            Kind::CopyFrom(copy) => {
                let source = self.source(&copy.from, index, line)?;
                if source != Base::Scratch {
                    let what = self.copied(copy, line, variables)?;
                    stage.copies.push(Copied { source, line, what });
                }
            }
            Kind::Run(mounts) => {
                for mount in mounts {
                    let source = self.mounted(mount, index, line)?;
                    if source != Base::Scratch {
                        let what = self.bound(mount, line, variables)?;
                        stage.copies.push(Copied { source, line, what });
                    }
                }
            }
            Kind::Add | Kind::Workdir | Kind::Onbuild(_) | Kind::Config => {}
        }
        Ok(())
    }

    /// What a `COPY --from` copies.
    fn copied(
        &mut self,
        copy: &CopyFrom,
        line: usize,
        variables: &Variables,
    ) -> Result<Result<Use, String>, NotUnderstood> {
        if let Some(problem) = &copy.problem {
            return Ok(Err(problem.clone()));
        }
        let mut found = Vec::with_capacity(copy.sources.len());
        for source in &copy.sources {
            let text = match self.value(source, variables)? {
                Ok(text) => text,
                Err(problem) => return Ok(Err(problem)),
            };
            match paths::of_copy(&text, copy.with_parents) {
                Ok(path) => found.push(path),
                Err(problem) => return Ok(Err(problem.to_owned())),
            }
        }
        // With an owner, BuildKit sets user and group, whichever of them is named.
        let keeps_owner = match &copy.chown {
            Some(owner) => self.value(owner, variables)?.map_or(true, |owner| owner.is_empty()),
            None => true,
        };
        let instruction = format!("COPY --from={}", copy.from);
        Ok(Ok(Use {
            line,
            instruction,
            paths: found,
            keeps_owner,
            with_parents: copy.with_parents,
            excludes: copy.excludes,
        }))
    }

    /// What a mount binds.
    fn bound(
        &mut self,
        mount: &Mount,
        line: usize,
        variables: &Variables,
    ) -> Result<Result<Use, String>, NotUnderstood> {
        match self.value(&mount.kind, variables)? {
            Ok(kind) if kind.eq_ignore_ascii_case("bind") => {}
            Ok(kind) => return Ok(Err(format!("is mounted with type={}", kind.escape_debug()))),
            Err(problem) => return Ok(Err(problem)),
        }
        let source = match self.value(mount.source.as_deref().unwrap_or_default(), variables)? {
            Ok(source) => source,
            Err(problem) => return Ok(Err(problem)),
        };
        let instruction = format!("RUN --mount=from={}", mount.from);
        let bound = paths::of_mount(&source).map_err(str::to_owned);
        Ok(bound.map(|path| Use {
            line,
            instruction,
            paths: vec![path],
            keeps_owner: true,
            with_parents: false,
            excludes: false,
        }))
    }

    /// The value of a word, or why it has none.
    fn value(&mut self, word: &str, variables: &Variables) -> Result<Result<String, String>, NotUnderstood> {
        match variables.expand(word, self.dockerfile.escape, &mut self.budget) {
            Ok(value) => Ok(Ok(value)),
            Err(Unknown::TooLong) => Err(too_long()),
            Err(Unknown::Variable(name)) => Ok(Err(format!(
                "is copied from by a path with the variable {name}, whose value is not in the Dockerfile"
            ))),
            Err(Unknown::Syntax) => {
                Ok(Err(format!("is copied from by the path {}, which is not understood", word.escape_debug())))
            }
        }
    }

    /// The first line in a needed stage with a trigger that names something to copy from.
    fn trigger(&self, needed: &[Option<Needed>]) -> Option<usize> {
        let stages = self.dockerfile.stages.iter().zip(needed).filter(|(_, needed)| needed.is_some());
        let mut instructions = stages.flat_map(|(stage, _)| &stage.instructions);
        let has_source =
            |instruction: &&Instruction| matches!(&instruction.kind, Kind::Onbuild(trigger) if trigger.has_source);
        instructions.find(has_source).map(|instruction| instruction.line)
    }
}

/// What a `FROM`, or `--from`, that names no stage names.
fn image(image: String, line: usize) -> Result<Base, NotUnderstood> {
    if image == "scratch" {
        return Ok(Base::Scratch);
    }
    match context_name(&image) {
        Some(name) => Ok(Base::Image { image, name }),
        None => not_understood(line, "names no image"),
    }
}

/// What instructions add. The first reason counts, except that files count before all.
fn adds(instructions: &[Instruction]) -> Adds {
    let added = instructions.iter().map(|instruction| match instruction.kind {
        Kind::Run(_) | Kind::CopyFrom(_) | Kind::Add => Adds::Files,
        Kind::Onbuild(_) => Adds::Triggers(instruction.line),
        Kind::Workdir => Adds::Folder(instruction.line),
        Kind::Arg(_) | Kind::Env(_) | Kind::Label(_) | Kind::Config => Adds::Nothing,
    });
    added.fold(Adds::Nothing, |all, one| match (all, one) {
        (_, Adds::Files) | (Adds::Nothing, _) => one,
        _ => all,
    })
}

/// The artifacts that `target` declares: its labels, and those of the stages below it. The last value of each counts.
fn declared(needed: &[Option<Needed>], mut labels: HashMap<usize, Labels>, target: usize) -> Vec<String> {
    let mut chain = Vec::new();
    let mut next = Some(target);
    while let Some(index) = next {
        chain.push(labels.remove(&index).unwrap_or_default());
        next = match needed[index].as_ref() {
            Some(Needed { base: Base::Stage(base), is_given: false, .. }) => Some(*base),
            _ => None,
        };
    }
    let mut last: HashMap<String, bool> = HashMap::new();
    let mut names = Vec::new();
    for (name, is_declared) in chain.into_iter().rev().flatten() {
        if last.insert(name.clone(), is_declared).is_none() {
            names.push(name);
        }
    }
    names.retain(|name| last.get(name) == Some(&true));
    names
}

fn too_long() -> NotUnderstood {
    NotUnderstood("the variables of the Dockerfile grow too long".to_owned())
}
