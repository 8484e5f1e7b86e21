//! Why something that was asked for is not there.

use super::Lookup;
use crate::rootfs::depth::Depth;
use crate::rootfs::node::NodeKind;
use crate::rootfs::path::{components, join, split};
use crate::rootfs::pattern::Pattern;
use crate::rootfs::view::View;
use crate::rootfs::walk::{Found, resolve};

/// A pattern that leads to nothing that could be had.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its position.
    pub pattern: usize,
    /// Why.
    pub why: Why,
}

/// Why a pattern leads to nothing that could be had. Paths are canonical ones, except where they say that they are as typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// A name on its way is not there.
    Absent {
        /// The path of the last directory on the way that is.
        parent: Vec<u8>,
        /// The first name in it that is not.
        name: Vec<u8>,
        /// The layer whose whiteout deleted it, where one did.
        deleted_by: Option<Depth>,
    },
    /// A symlink on its way, or at its end, leads to nothing.
    Dangling {
        /// The link's path as typed, with a slash before it.
        link: Vec<u8>,
        /// Its target, as written.
        target: Vec<u8>,
        /// Whether the target is there and is such a link itself.
        leads_on: bool,
        /// What is not there.
        missing: Vec<u8>,
        /// The layer whose whiteout deleted it, where one did.
        deleted_by: Option<Depth>,
        /// Whether the link is itself what was asked for, and not only on the way.
        is_last: bool,
    },
    /// Something on its way is no directory.
    NotADirectory {
        /// The path of that thing.
        path: Vec<u8>,
    },
    /// It is a hard link to nothing.
    BrokenLink {
        /// The link's target.
        target: Vec<u8>,
    },
    /// It leads through more than 40 symlinks.
    Loop,
    /// It is a glob that nothing matches.
    NoMatch {
        /// Whether there is something under the glob's very text.
        is_there_literally: bool,
    },
    /// It is a glob that nothing matches but hard links to nothing.
    AllBroken,
    /// It is a glob that matches so many links to the same directories that they would be repeated without end.
    TooMany,
    /// It is a device node or a FIFO, or a glob that matches nothing else.
    Special {
        /// Its path, as named.
        path: Vec<u8>,
    },
}

impl Lookup {
    /// Why there is nothing at `path`, where `found` was found; `None` where there is something.
    pub(super) fn why(view: &View<'_>, path: &[u8], found: Found<'_>) -> Option<Why> {
        match found {
            Found::Directory(_) | Found::Leaf(_) | Found::Unknown { .. } => None,
            Found::NotADirectory { path } => Some(Why::NotADirectory { path }),
            Found::BrokenLink { target, .. } => Some(Why::BrokenLink { target: target.to_vec() }),
            Found::Loop => Some(Why::Loop),
            Found::Absent { parent, name, deleted_by } => {
                let missing = join(&parent.path, &name);
                let dangling = dangling(view, path, missing, deleted_by);
                Some(dangling.unwrap_or(Why::Absent { parent: parent.path, name, deleted_by }))
            }
        }
    }

    /// Why a glob has no match.
    pub(super) fn no_match(view: &View<'_>, pattern: &Pattern) -> Why {
        let found = resolve(view, pattern.text(), false);
        Why::NoMatch { is_there_literally: matches!(found, Found::Directory(_) | Found::Leaf(_)) }
    }
}

/// The first symlink in `path` that leads to nothing, with what it leads to; `missing` is what is not there.
fn dangling(view: &View<'_>, path: &[u8], missing: Vec<u8>, deleted_by: Option<Depth>) -> Option<Why> {
    let mut link = Vec::new();
    for name in components(path) {
        link = [link.as_slice(), b"/", name].concat();
        match resolve(view, &link, false) {
            Found::Directory(_) => {}
            Found::Leaf(leaf) => {
                let NodeKind::Symlink(target) = &leaf.node.kind else { return None };
                if let Found::Absent { .. } = resolve(view, &link, true) {
                    let next = match target.starts_with(b"/") {
                        true => target.to_vec(),
                        false => join(split(&leaf.path).0, target),
                    };
                    let leads_on = matches!(resolve(view, &next, false), Found::Leaf(_));
                    let is_last = components(path).eq(components(&link)) && !path.ends_with(b"/");
                    return Some(Why::Dangling {
                        link,
                        target: target.to_vec(),
                        leads_on,
                        missing,
                        deleted_by,
                        is_last,
                    });
                }
            }
            _ => return None,
        }
    }
    None
}
