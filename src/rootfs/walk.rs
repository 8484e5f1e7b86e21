//! Resolving a path in the merged view, as the kernel would inside a container whose root is the image.
//!
//! Symlinks are followed in every component, `..` stops at the root, and 40 links are a loop (path_resolution(7)).

use super::depth::Depth;
use super::node::{Node, NodeKind};
use super::path::{MAX_SYMLINKS, components, join, next_component, push, split};
use super::spread::Directory;
use super::tree::{NodeId, Place};
use super::view::{LinkEnd, Seen, View};
use super::ways::{DirectoryId, End, Followed, LinkId};

/// How many components the targets of symlinks may put into one path. Forty links of the kernel's length have more, and no
/// image has a hundred.
const MAX_STEPS: usize = 4096;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// To a directory.
    Directory(Directory),
    /// To something else.
    Leaf(Leaf<'a>),
    /// To nothing: `name` does not exist in `parent`.
    Absent {
        /// The last directory on the way that exists.
        parent: Directory,
        /// The first component that does not.
        name: Vec<u8>,
        /// The layer whose whiteout deleted it, where one did.
        deleted_by: Option<Depth>,
    },
    /// Through something that is no directory.
    NotADirectory {
        /// The canonical path of that thing.
        path: Vec<u8>,
    },
    /// To a hard link whose target is nowhere.
    BrokenLink {
        /// The canonical path of the link.
        path: Vec<u8>,
        /// Its target.
        target: &'a [u8],
    },
    /// Through more than 40 symlinks.
    Loop,
    /// Only layers that are not in the view can tell.
    Unknown {
        /// Where the path leads if no further symlink is on the way.
        path: Vec<u8>,
    },
}

/// Something in the rootfs that is not a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Its canonical path.
    pub path: Vec<u8>,
    /// The layer that holds it; for a hard link to a lower layer's file, that lower layer.
    pub layer: Depth,
    /// What the layer says of it; never a hard link.
    pub node: &'a Node,
}

/// Resolves `path` (relative paths are from the root). A symlink in the last component is followed where `follow` says so
/// or a trailing slash asks for a directory.
pub fn resolve<'a>(view: &View<'a>, path: &[u8], follow: bool) -> Found<'a> {
    linking(view, || walk(view, Depth::TOP, path, follow))
}

/// The node behind a leaf of the view, with a hard link to a lower layer's file followed down to it.
pub fn leaf<'a>(view: &View<'a>, layer: Depth, path: &[u8]) -> Found<'a> {
    match view.layer(layer).and_then(|index| index.find(path)) {
        Some(place) => linking(view, || leaf_at(view, (layer, place), path)),
        None => Found::Unknown { path: path.to_vec() },
    }
}

/// A hard link that has not been followed yet: what a walk cannot do without.
struct Unfollowed<'a> {
    layer: Depth,
    node: NodeId,
    target: &'a [u8],
}

/// Takes `walk` to its end, following each hard link that it meets before it is begun anew.
///
/// A link leads to lower layers only, so that this ends, and each is followed once in a view. Beginning anew costs little: a
/// walk meets at most one link that is no symlink, and 40 that are. What it must not do is to descend from link to link on
/// the stack, as there may be thousands, or to follow one again for each path that leads through it.
fn linking<'a>(view: &View<'a>, walk_on: impl Fn() -> Result<Found<'a>, Unfollowed<'a>>) -> Found<'a> {
    let mut links: Vec<Unfollowed<'a>> = Vec::new();
    loop {
        let found = match links.last() {
            None => walk_on(),
            Some(link) => walk(view, link.layer.below(), link.target, false),
        };
        match (found, links.last()) {
            (Err(link), _) => links.push(link),
            (Ok(found), None) => return found,
            (Ok(found), Some(link)) => {
                let end = match found {
                    Found::Leaf(leaf) => LinkEnd::Leaf(leaf.layer, leaf.node),
                    Found::Unknown { path } => LinkEnd::Unknown(path),
                    _ => LinkEnd::Nowhere,
                };
                view.set_link_end(link.layer, link.node, end);
                links.pop();
            }
        }
    }
}

/// What the leaf at `place` of `layer`, whose canonical path is `path`, is.
fn leaf_at<'a>(view: &View<'a>, (layer, place): (Depth, Place), path: &[u8]) -> Result<Found<'a>, Unfollowed<'a>> {
    let path = path.to_vec();
    let Some(node) = view.layer(layer).and_then(|index| index.tree().get(place)) else {
        return Ok(Found::Unknown { path });
    };
    let target = match &node.kind {
        NodeKind::LinkNowhere(target) => return Ok(Found::BrokenLink { path, target }),
        NodeKind::LinkBelow(target) => target,
        _ => return Ok(Found::Leaf(Leaf { path, layer, node })),
    };
    if !view.layer(layer).is_some_and(|index| index.knows(target)) {
        // The layer may well have it.
        view.miss(layer, target);
        return Ok(Found::Unknown { path });
    }
    match view.link_end(layer, place.node()) {
        None => Err(Unfollowed { layer, node: place.node(), target }),
        Some(LinkEnd::Leaf(layer, node)) => Ok(Found::Leaf(Leaf { path, layer, node })),
        Some(LinkEnd::Unknown(path)) => Ok(Found::Unknown { path }),
        Some(LinkEnd::Nowhere) => Ok(Found::BrokenLink { path, target }),
    }
}

/// Resolves `path` in the layers from `top` down. Each step is a name of `path`, or one of at most [`MAX_STEPS`] that links
/// add; it asks each layer that has the directory, unless a walk through this view came that way before.
fn walk<'a>(view: &View<'a>, top: Depth, path: &[u8], follow: bool) -> Result<Found<'a>, Unfollowed<'a>> {
    let must_be_directory = path.ends_with(b"/") || path.ends_with(b"/.");
    let mut walk = Walk::new(view, top, path);
    loop {
        let rest = match walk.pending.pop() {
            None => return Ok(Found::Directory(walk.directory())),
            Some(Pending::End(link)) => {
                walk.remember(link, End::Directory(walk.at));
                continue;
            }
            Some(Pending::Names(rest)) => rest,
        };
        let Some((name, rest)) = next_component(rest) else { continue };
        if next_component(rest).is_some() {
            walk.pending.push(Pending::Names(rest));
        }
        walk.steps += usize::from(walk.links > 0);
        if walk.steps > MAX_STEPS {
            return Ok(walk.fail(End::Loop));
        }
        if name == b".." {
            walk.go_up();
            continue;
        }
        let (mut layer, mut place, mut path) = match walk.look(name) {
            None => continue,
            Some(Seen::Leaf { layer, place }) => (layer, place, join(&walk.here, name)),
            Some(Seen::Absent { deleted_by }) => {
                return Ok(walk.fail(End::Absent { directory: walk.at, name: name.into(), deleted_by }));
            }
            Some(Seen::Unknown | Seen::Directory(_)) => {
                let rest: Vec<&[u8]> = walk.names().collect();
                let path = assume(&walk.here, name, &rest);
                view.expect(&path);
                return Ok(Found::Unknown { path });
            }
        };
        loop {
            let found = match leaf_at(view, (layer, place), &path)? {
                Found::Unknown { path } => return Ok(Found::Unknown { path }),
                found => found,
            };
            let is_last = walk.names().next().is_none();
            if let Found::Leaf(Leaf { node: Node { kind: NodeKind::Symlink(target), .. }, .. }) = &found
                && (!is_last || follow || must_be_directory)
            {
                match walk.follow((top, layer, place.node()), target) {
                    Next::Directory => break,
                    Next::Leaf { layer: next, place: at, path: to } => (layer, place, path) = (next, at, to),
                    Next::Nothing(found) => return Ok(found),
                }
                continue;
            }
            let name = split(&path).1.into();
            walk.close(&End::Leaf { directory: walk.at, name, layer, place });
            if !is_last || must_be_directory {
                return Ok(walk.fail(End::NotADirectory { path: path.into() }));
            }
            return Ok(found);
        }
    }
}

/// A walk on its way.
struct Walk<'v, 'a, 'p> {
    view: &'v View<'a>,
    at: DirectoryId,
    /// The canonical path of `at`.
    here: Vec<u8>,
    /// What is left of the path, and of the targets of links in it, the innermost last.
    pending: Vec<Pending<'p>>,
    links: usize,
    /// How many names of targets have been walked.
    steps: usize,
}

/// What a walk still has before it.
enum Pending<'p> {
    /// These names: at least one, except in a target that has just been put here.
    Names(&'p [u8]),
    /// The end of a link's target.
    End(Open),
}

/// A link that is being followed, with the links and steps that the walk had made when it came to it.
#[derive(Clone, Copy)]
struct Open {
    link: LinkId,
    links: usize,
    steps: usize,
}

/// What comes after a link.
enum Next<'a> {
    /// A directory, or the link's target.
    Directory,
    /// Something else, at this canonical path.
    Leaf { layer: Depth, place: Place, path: Vec<u8> },
    /// The end of the walk.
    Nothing(Found<'a>),
}

impl<'v, 'a: 'v, 'p> Walk<'v, 'a, 'p> {
    fn new(view: &'v View<'a>, top: Depth, path: &'p [u8]) -> Self {
        let at = view.ways.borrow_mut().root(top, || view.root_below(top));
        Walk { view, at, here: Vec::new(), pending: vec![Pending::Names(path)], links: 0, steps: 0 }
    }

    fn directory(&self) -> Directory {
        Directory::new(self.here.clone(), self.view.ways.borrow().spread(self.at).clone())
    }

    /// Goes into the directory `name`; if it is not a directory, gives what it is.
    fn look(&mut self, name: &[u8]) -> Option<Seen> {
        let known = self.view.ways.borrow().below(self.at, name);
        let below = match known {
            Some(below) => below,
            None => {
                let seen = self.view.look(self.view.ways.borrow().spread(self.at), &self.here, name);
                let Seen::Directory(spread) = seen else { return Some(seen) };
                self.view.ways.borrow_mut().add(self.at, name, spread)
            }
        };
        push(&mut self.here, name);
        self.at = below;
        None
    }

    fn go_up(&mut self) {
        if let Some(above) = self.view.ways.borrow().above(self.at) {
            self.at = above;
            self.here.truncate(split(&self.here).0.len());
        }
    }

    fn go_to(&mut self, directory: DirectoryId) {
        self.here = self.view.ways.borrow().path(directory);
        self.at = directory;
    }

    /// What is left of the path, the innermost first.
    fn names(&self) -> impl Iterator<Item = &'p [u8]> {
        self.pending.iter().rev().filter_map(|pending| match pending {
            Pending::Names(names) => Some(*names),
            Pending::End(_) => None,
        })
    }

    /// Follows `link`, which leads to `target`.
    fn follow(&mut self, link: LinkId, target: &'a [u8]) -> Next<'a>
    where
        'a: 'p,
    {
        self.links += 1;
        if self.links > MAX_SYMLINKS {
            return Next::Nothing(self.fail(End::Loop));
        }
        let followed = self.view.ways.borrow().followed(link).cloned();
        match followed {
            Some(Followed { end: End::Loop, links, steps }) if links <= self.links && steps <= self.steps => {
                return Next::Nothing(self.fail(End::Loop));
            }
            None | Some(Followed { end: End::Loop, .. }) => {}
            Some(Followed { end, links, steps }) => {
                self.links += links;
                self.steps += steps;
                if self.links > MAX_SYMLINKS || self.steps > MAX_STEPS {
                    return Next::Nothing(self.fail(End::Loop));
                }
                return match end {
                    End::Directory(directory) => {
                        self.go_to(directory);
                        Next::Directory
                    }
                    End::Leaf { directory, name, layer, place } => {
                        self.go_to(directory);
                        Next::Leaf { layer, place, path: join(&self.here, &name) }
                    }
                    end => Next::Nothing(self.fail(end)),
                };
            }
        }
        self.pending.push(Pending::End(Open { link, links: self.links, steps: self.steps }));
        if target.starts_with(b"/") {
            while self.view.ways.borrow().above(self.at).is_some() {
                self.go_up();
            }
        }
        self.pending.push(Pending::Names(target));
        Next::Directory
    }

    /// Notes that `open` leads to `end`.
    fn remember(&self, open: Open, end: End) {
        let (links, steps) = match end {
            End::Loop => (open.links, open.steps),
            _ => (self.links - open.links, self.steps - open.steps),
        };
        self.view.ways.borrow_mut().follow(open.link, Followed { end, links, steps });
    }

    /// Comes to the end of the links whose targets end here.
    fn close(&mut self, end: &End) {
        while let Some(Pending::End(open)) = self.pending.last() {
            self.remember(*open, end.clone());
            self.pending.pop();
        }
    }

    /// Ends the walk inside all links that it has come to and not to the end of.
    fn fail(&self, end: End) -> Found<'a> {
        for pending in &self.pending {
            if let Pending::End(open) = pending {
                self.remember(*open, end.clone());
            }
        }
        let ways = self.view.ways.borrow();
        match end {
            End::Absent { directory, name, deleted_by } => {
                let parent = Directory::new(ways.path(directory), ways.spread(directory).clone());
                Found::Absent { parent, name: name.into(), deleted_by }
            }
            End::NotADirectory { path } => Found::NotADirectory { path: path.into() },
            End::Directory(_) | End::Leaf { .. } | End::Loop => Found::Loop,
        }
    }
}

/// The canonical path of `name` in `directory` followed by what is still `pending`.
fn assume(directory: &[u8], name: &[u8], pending: &[&[u8]]) -> Vec<u8> {
    let mut path = join(directory, name);
    for component in pending.iter().flat_map(|rest| components(rest)) {
        if component == b".." {
            path.truncate(split(&path).0.len());
        } else {
            push(&mut path, component);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{directory, file, hard_link, index, symlink};
    use super::super::index::LayerIndex;
    use super::*;

    fn debian() -> LayerIndex {
        index(&[
            symlink("bin", "usr/bin"),
            directory("usr"),
            directory("usr/bin"),
            symlink("usr/bin/awk", "/etc/alternatives/awk"),
            symlink("etc/alternatives/awk", "/usr/bin/mawk"),
            file("usr/bin/mawk"),
            symlink("loop", "pool"),
            symlink("pool", "loop"),
            symlink("up", "../../../usr/bin"),
        ])
    }

    fn real_path(view: &View<'_>, path: &str) -> String {
        match resolve(view, path.as_bytes(), true) {
            Found::Directory(directory) => format!("{}/", String::from_utf8_lossy(&directory.path)),
            Found::Leaf(leaf) => String::from_utf8_lossy(&leaf.path).into_owned(),
            Found::Absent { name, .. } => format!("absent {}", String::from_utf8_lossy(&name)),
            Found::NotADirectory { path } => format!("not a directory {}", String::from_utf8_lossy(&path)),
            Found::BrokenLink { target, .. } => format!("broken link to {}", String::from_utf8_lossy(target)),
            Found::Loop => "loop".to_owned(),
            Found::Unknown { path } => format!("unknown {}", String::from_utf8_lossy(&path)),
        }
    }

    #[test]
    fn symlinks_are_followed_in_every_component() {
        let base = debian();
        let view = View::new(vec![&base], true);
        for (path, leads_to) in [
            ("/bin/awk", "usr/bin/mawk"),
            ("bin", "usr/bin/"),
            ("/bin/", "usr/bin/"),
            ("/up/mawk", "usr/bin/mawk"),
            ("/../../bin/./mawk", "usr/bin/mawk"),
            ("/bin/..", "usr/"),
            ("/bin/mawk/", "not a directory usr/bin/mawk"),
            ("/bin/mawk/x", "not a directory usr/bin/mawk"),
            ("/bin/gone", "absent gone"),
            ("/gone/x", "absent gone"),
            ("/loop", "loop"),
            ("/", "/"),
            ("", "/"),
        ] {
            assert_eq!(real_path(&view, path), leads_to, "{path}");
        }
    }

    #[test]
    fn a_last_symlink_is_kept_when_asked_but_not_before_a_slash() {
        let base = debian();
        let view = View::new(vec![&base], true);
        assert!(matches!(resolve(&view, b"/bin", false), Found::Leaf(_)));
        assert!(matches!(resolve(&view, b"/bin/", false), Found::Directory(_)));
    }

    #[test]
    fn what_a_missing_layer_could_decide_is_unknown() {
        let top = index(&[symlink("bin", "usr/bin"), file("usr/bin/new")]);
        let view = View::new(vec![&top], false);
        assert_eq!(real_path(&view, "/bin/new"), "usr/bin/new");
        assert_eq!(real_path(&view, "/bin/ls"), "unknown usr/bin/ls");
        assert_eq!(real_path(&view, "/lib/x/../y"), "unknown lib/y");
    }

    #[test]
    fn a_hard_link_may_lead_to_a_lower_layer() {
        let top = index(&[hard_link("b", "a")]);
        let base = index(&[file("a")]);
        let partial = View::new(vec![&top], false);
        assert_eq!(real_path(&partial, "/b"), "unknown a");
        let view = View::new(vec![&top, &base], true);
        let Found::Leaf(leaf) = resolve(&view, b"b", true) else { panic!("a file") };
        assert_eq!((leaf.path, leaf.layer), (b"b".to_vec(), Depth(1)));
    }

    #[test]
    fn forty_links_are_followed_and_no_more() {
        let chain = |length: usize| {
            let mut entries = vec![file("l0")];
            entries.extend((1..=length).map(|i| symlink(&format!("l{i}"), &format!("l{}", i - 1))));
            index(&entries)
        };
        let (forty, more) = (chain(40), chain(41));
        assert_eq!(real_path(&View::new(vec![&forty], true), "/l40"), "l0");
        assert_eq!(real_path(&View::new(vec![&more], true), "/l41"), "loop");
    }
}
