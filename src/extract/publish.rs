//! From staging to final names, in two steps: look what is there and build everything complete in staging; then move each item to its name by one rename. A directory that exists is merged into, as `cp -r` does: what it has beyond the
//! image's stays, and so do its own mode and owner.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, renameat};
use rustix::io::Errno;

use super::attributes::set_mode;
use super::descent::Descent;
use super::destination::Destination;
use super::error::ExtractError;
use super::handle::open_directory;
use super::options::PublishOptions;
use super::staging::Staging;
use super::tar_stream::write_stdout;
use super::tree::{Builder, kind_at, path_of, survey};
use super::warnings::Warnings;
use super::{Item, Node};

/// So many files are flushed to the disk before they get their names. More of them, and trees, are left to the system, as `cp` and
/// `tar` leave them: flushing costs milliseconds each, or, all at once, waits for whatever else the machine has to write.
const MOST_FLUSHES: usize = 64;

/// What a directory needs to be renamed by whoever is not root (rename(2): its `..` changes), and to be opened.
const MOVABLE: u32 = 0o700;

/// What was written.
#[derive(Debug, Default)]
pub struct Published {
    /// The final path of each item that was written; a directory counts as one. Empty for standard output.
    pub written: Vec<PathBuf>,
    /// What a person should know: one line each, safe for a terminal.
    pub warnings: Vec<String>,
}

/// Writes `items`, raw base names and what they stand for, to the destination that `staging` was made for: into the
/// directory, under the one name given, or to standard output as [`write_stdout`] does it. Others may still be staging what nobody
/// needs.
///
/// # Errors
///
/// Names that are none, things in the way and metadata that cannot be kept are found before the first item gets its final
/// name; then the destination is as it was. A failure after that leaves every file either as it was or new and whole.
pub fn publish(
    staging: impl Borrow<Staging>,
    items: Vec<(Vec<u8>, Item)>,
    options: &PublishOptions,
) -> Result<Published, ExtractError> {
    let staging = staging.borrow();
    options.check(staging.destination())?;
    let places = match staging.destination() {
        Destination::Stdout => {
            let warnings = write_stdout(&items, options, &mut std::io::stdout().lock())?;
            return Ok(Published { written: Vec::new(), warnings });
        }
        Destination::File(path) if items.len() > 1 => {
            return Err(ExtractError::SeveralThings { path: path.clone() });
        }
        Destination::File(path) => {
            let name = path.file_name().ok_or_else(|| ExtractError::InvalidDestination { path: path.clone() })?;
            vec![(name.as_bytes().to_owned(), path.clone())]
        }
        Destination::Directory(_) => {
            items.iter().map(|(name, _)| (name.clone(), place_in(staging.target_path(), name))).collect()
        }
    };

    let mut publication = Publication::new(staging, &items, *options)?;
    let mut steps = Vec::with_capacity(items.len());
    for ((name, path), (_, item)) in places.iter().zip(&items) {
        steps.push(publication.prepare(&mut Descent::new(staging.target()), name, item, path)?);
    }

    let mut written = Vec::new();
    for ((name, path), step) in places.iter().zip(steps) {
        if publication.carry_out(step, &mut Descent::new(staging.target()), name, path)? {
            written.push(path.clone());
        }
    }
    publication.builder.flush(staging.target(), staging.target_path())?;
    Ok(Published { written, warnings: publication.builder.warnings.into_lines() })
}

/// Removes the tree at `path`, which [`publish`] wrote, whatever its modes: it moves back into staging, and goes with that.
///
/// # Errors
///
/// When it cannot be moved there; then it is as it was.
pub fn remove(path: &Path) -> Result<(), ExtractError> {
    let name = path.file_name().ok_or_else(|| ExtractError::InvalidDestination { path: path.to_owned() })?;
    let staging = Staging::new(&Destination::File(path.to_owned()))?;
    let to = staging.fresh_name();
    let moved = staging.moving(|| renameat(staging.target(), name.as_bytes(), staging.directory(), to))?;
    moved.map_err(|error| ExtractError::write(path, error))
}

/// How one item gets to its place.
#[derive(Debug)]
enum Step<'a> {
    /// Nothing is to be written.
    Skip,
    /// What was built in staging under the name `from` is renamed, and then its mode is taken back to what it should be.
    Move { from: String, then_mode: Option<u32> },
    /// The directory is there; these go into it.
    Merge(Vec<(&'a [u8], Step<'a>)>),
}

struct Publication<'a> {
    staging: &'a Staging,
    builder: Builder,
}

impl<'a> Publication<'a> {
    fn new(staging: &'a Staging, items: &[(Vec<u8>, Item)], options: PublishOptions) -> Result<Self, ExtractError> {
        let uses = survey(items)?;
        let builder = Builder {
            options,
            flushes: items.len() <= MOST_FLUSHES
                && !items.iter().any(|(_, item)| matches!(item.node, Node::Directory(_))),
            uses,
            settled: HashSet::new(),
            warnings: Warnings::default(),
        };
        Ok(Self { staging, builder })
    }

    /// Builds whatever of `item` is not yet there, which is all of it unless it is a directory that exists. It is to be `name`
    /// in the directory that `way` has come to, and comes back to.
    fn prepare(
        &mut self,
        way: &mut Descent<'_>,
        name: &'a [u8],
        item: &'a Item,
        path: &Path,
    ) -> Result<Step<'a>, ExtractError> {
        let there = kind_at(way.here(), name).map_err(|error| ExtractError::write(path, error))?;
        let then_mode = match (&item.node, there) {
            (Node::Special, _) => {
                self.builder.skip(path);
                return Ok(Step::Skip);
            }
            (Node::Directory(children), Some(FileType::Directory)) => {
                enter_existing(way, name, path)?;
                let mut steps = Vec::with_capacity(children.len());
                for (name, child) in children {
                    let step = self.prepare(way, name, child, &path.join(path_of(name)))?;
                    steps.push((name.as_slice(), step));
                }
                way.leave().map_err(|error| ExtractError::write(path, error))?;
                return Ok(Step::Merge(steps));
            }
            (Node::Directory(_), Some(kind)) => return Err(in_the_way(kind, path)),
            (_, Some(FileType::Directory)) => return Err(in_the_way(FileType::Directory, path)),
            (Node::Directory(_), None) => {
                let mode = self.builder.options.mode(&item.metadata);
                (mode & MOVABLE != MOVABLE).then_some(mode)
            }
            (_, None | Some(FileType::RegularFile | FileType::Symlink)) => None,
            (_, Some(_)) => return Err(ExtractError::SpecialInTheWay { path: path.to_owned() }),
        };
        let from = self.staging.fresh_name();
        self.builder.build(self.staging.directory(), from.as_bytes(), item, path, MOVABLE)?;
        Ok(Step::Move { from, then_mode })
    }

    /// Moves what [`prepare`](Self::prepare) built for the same place. Gives whether anything was written.
    fn carry_out(
        &mut self,
        step: Step<'_>,
        way: &mut Descent<'_>,
        name: &[u8],
        path: &Path,
    ) -> Result<bool, ExtractError> {
        let failed = |error: Errno| ExtractError::write(path, error);
        match step {
            Step::Skip => return Ok(false),
            Step::Move { from, then_mode } => {
                let staging = self.staging.directory();
                // The handle stays with the directory; its name could be somebody else's a moment later.
                let moved = then_mode
                    .map(|mode| open_directory(staging, &from).map(|handle| (handle, mode)))
                    .transpose()
                    .map_err(failed)?;
                self.staging.moving(|| renameat(staging, &from, way.here(), name))?.map_err(failed)?;
                if let Some((handle, mode)) = moved {
                    set_mode(handle.as_fd(), mode, path, &mut self.builder.warnings);
                    self.builder.flush(handle.as_fd(), path)?;
                }
            }
            Step::Merge(steps) => {
                enter_existing(way, name, path)?;
                for (name, step) in steps {
                    self.carry_out(step, way, name, &path.join(path_of(name)))?;
                }
                if let Some(merged) = way.leave().map_err(failed)? {
                    self.builder.flush(merged.as_fd(), path)?;
                }
            }
        }
        Ok(true)
    }
}

/// Goes down into a directory to write into, which must be one itself: what it was a moment ago does not count.
fn enter_existing(way: &mut Descent<'_>, name: &[u8], path: &Path) -> Result<(), ExtractError> {
    way.enter(name).map_err(|error| match (error, kind_at(way.here(), name)) {
        // Which of the two it is for a symbolic link differs between systems.
        (Errno::LOOP | Errno::NOTDIR, Ok(Some(kind))) => in_the_way(kind, path),
        (error, _) => ExtractError::write(path, error),
    })
}

fn in_the_way(kind: FileType, path: &Path) -> ExtractError {
    let path = path.to_owned();
    match kind {
        FileType::Directory => ExtractError::DirectoryInTheWay { path },
        FileType::Symlink => ExtractError::SymlinkInTheWay { path },
        _ => ExtractError::FileInTheWay { path },
    }
}

/// Where `name` will be, without a `./` that nobody typed.
fn place_in(directory: &Path, name: &[u8]) -> PathBuf {
    if directory == Path::new(".") { path_of(name) } else { directory.join(path_of(name)) }
}

#[cfg(test)]
mod tests;
