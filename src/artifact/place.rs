//! Where each thing goes below the destination: under its base name, or under its whole path; and which things cannot both be
//! written, which is said as early as it is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::error::Error;
use super::shown::{show, show_path};
use crate::extract::{Item, Metadata, Node};
use crate::image::digest::Digest;
use crate::rootfs::walk::{Found, resolve};
use crate::rootfs::{Child, Directory, UNDESCRIBED, View, components, join, split};

/// What stands at the one name that a destination is, where the image has no name for it: its root.
const NAMELESS: &[u8] = b"root";

/// One thing on its way to the destination.
#[derive(Debug)]
pub struct Placed {
    /// The path in the image, as named.
    pub path: Vec<u8>,
    /// The canonical path of what it led to, where that is known.
    pub real_path: Vec<u8>,
    /// Where it goes below the destination; empty where it is what the destination is to hold.
    pub place: Vec<u8>,
    /// The metadata of the directories above it in `place`, the uppermost first.
    pub parents: Arc<[Metadata]>,
    /// Where it was looked up.
    pub origin: Origin,
    /// What it is.
    pub item: Item,
}

/// Where a thing was looked up: at one path, a layer by itself can have another thing than the image.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The one layer that it was looked up in, by its blob, where that was not the image.
    pub only_in: Option<Digest>,
    /// The layer that holds it, where it is a file.
    pub file_in: Option<Digest>,
}

impl Origin {
    /// Whether what this and `other` have at one path is one thing.
    pub fn is_same(&self, other: &Origin) -> bool {
        self.only_in == other.only_in || (self.file_in.is_some() && self.file_in == other.file_in)
    }
}

/// Where the thing at `path` (and, without links, at `real_path`) goes below the destination: under `name`, or, with
/// `parents`, under its path as named. A path with `..` in it is no place to write to; the real one is.
pub fn place(path: &[u8], real_path: &[u8], name: &[u8], parents: bool) -> Vec<u8> {
    match parents {
        false => name.to_vec(),
        true if components(path).any(|part| part == b"..") => clean(real_path),
        true => clean(path),
    }
}

/// A path without empty components and `.`.
pub fn clean(path: &[u8]) -> Vec<u8> {
    components(path).fold(Vec::new(), |path, name| join(&path, name))
}

/// Metadata for the directories above the canonical path `place`, the uppermost first, as `view` has them where links lead.
pub fn parents(view: &View<'_>, place: &[u8]) -> Arc<[Metadata]> {
    let mut directory = Some(view.root());
    let below = |directory: Directory, name: &[u8]| match view.child(&directory, name) {
        Child::Directory(below) => Some(below),
        Child::Leaf { .. } => match resolve(view, &join(&directory.path, name), true) {
            Found::Directory(below) => Some(below),
            _ => None,
        },
        Child::Absent { .. } | Child::Unknown => None,
    };
    let metadata = components(split(place).0).map(|name| {
        directory = directory.take().and_then(|directory| below(directory, name));
        directory.as_ref().map_or(UNDESCRIBED, |directory| view.metadata(directory))
    });
    metadata.collect()
}

/// Fails where two of `named`, each a path and the place that it goes to, would be written as one.
pub fn check<'a>(named: impl Iterator<Item = (&'a [u8], Vec<u8>)>) -> Result<(), Error> {
    let mut taken: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for (path, place) in named.filter(|(_, place)| !place.is_empty()) {
        let path = clean(path);
        match taken.get(&place) {
            Some(other) if *other != path => return Err(clash(other, &path, &place)),
            _ => drop(taken.insert(place, path)),
        }
    }
    Ok(())
}

/// Puts things together as they are to be written: names in the destination and what they stand for, in the order of
/// `things`. What is named twice is written once. With `one_name`, the destination is a name, and not a directory.
pub fn arrange(things: Vec<Placed>, one_name: bool) -> Result<Vec<(Vec<u8>, Item)>, Error> {
    let mut arranged = Arranged::default();
    for Placed { path, real_path, place, parents, origin, item } in things {
        match item.node {
            Node::Directory(children) if place.is_empty() && !one_name => {
                for (name, item) in children {
                    let (path, real_path) = (join(&clean(&path), &name), join(&real_path, &name));
                    let origin = Origin { file_in: None, ..origin.clone() };
                    arranged.put(Placed { path, real_path, place: name, parents: Arc::default(), origin, item })?;
                }
            }
            node => {
                let place = if place.is_empty() { NAMELESS.to_vec() } else { place };
                arranged.put(Placed { path, real_path, place, parents, origin, item: Item { node, ..item } })?;
            }
        }
    }
    Ok(arranged.into_items())
}

#[derive(Default)]
struct Arranged {
    /// The names in the destination, in the order in which they were asked for.
    names: Vec<Vec<u8>>,
    items: BTreeMap<Vec<u8>, Item>,
    /// What is at each place: its path, its real path, and where it was looked up.
    taken: HashMap<Vec<u8>, (Vec<u8>, Vec<u8>, Origin)>,
}

impl Arranged {
    fn put(&mut self, thing: Placed) -> Result<(), Error> {
        let Placed { path, real_path, place, parents, origin, item } = thing;
        if let Some((other, other_real, other_origin)) = self.taken.get(&place) {
            let is_one_path = *other_real == real_path || clean(other) == clean(&path);
            return match (is_one_path, origin.is_same(other_origin)) {
                (true, true) => Ok(()),
                (true, false) => Err(clash_of_layers(&path, &place)),
                (false, _) => Err(clash(other, &path, &place)),
            };
        }
        let (above, name) = split(&place);
        let first = components(&place).next().unwrap_or_default();
        if !self.items.contains_key(first) {
            self.names.push(first.to_vec());
        }
        let mut items = &mut self.items;
        let mut parents = parents.iter();
        let mut depth = 0;
        for name in components(above) {
            depth += 1;
            let metadata = parents.next().cloned().unwrap_or(UNDESCRIBED);
            let new = || Item { metadata, node: Node::Directory(BTreeMap::new()) };
            match &mut items.entry(name.to_vec()).or_insert_with(new).node {
                Node::Directory(children) => items = children,
                _ => {
                    let directory = components(above).take(depth).fold(Vec::new(), |path, name| join(&path, name));
                    let other = self.taken.get(&directory).map_or(&directory, |(other, ..)| other);
                    return Err(clash(other, &path, &directory));
                }
            }
        }
        match items.get_mut(name) {
            Some(there) => put_over(there, item).map_err(|()| clash(self.below(&place), &path, &place))?,
            None => drop(items.insert(name.to_vec(), item)),
        }
        self.taken.insert(place, (path, real_path, origin));
        Ok(())
    }

    /// The path of the first thing that is below `place`.
    fn below<'a>(&'a self, place: &'a [u8]) -> &'a [u8] {
        let is_below = |other: &[u8]| other.strip_prefix(place).is_some_and(|rest| rest.starts_with(b"/"));
        let below = self.taken.iter().filter(|(other, _)| is_below(other)).map(|(_, (path, ..))| path.as_slice());
        below.min().unwrap_or(place)
    }

    fn into_items(mut self) -> Vec<(Vec<u8>, Item)> {
        let items = self.names.into_iter().filter_map(|name| self.items.remove_entry(&name));
        items.collect()
    }
}

/// Puts `item` where something of the same directory is that was asked for by itself, or that came with a directory above.
fn put_over(there: &mut Item, item: Item) -> Result<(), ()> {
    let was = std::mem::replace(there, item);
    match (was.node, &mut there.node) {
        (Node::Directory(inside), Node::Directory(children)) => {
            put_all_over(children, inside);
            Ok(())
        }
        (Node::Directory(inside), _) if !inside.is_empty() => Err(()),
        _ => Ok(()),
    }
}

/// Puts what was asked for by itself over what came with its directory: a link, say, that was to be followed.
fn put_all_over(children: &mut BTreeMap<Vec<u8>, Item>, inside: BTreeMap<Vec<u8>, Item>) {
    for (name, item) in inside {
        match (children.get_mut(&name).map(|there| &mut there.node), item.node) {
            (Some(Node::Directory(children)), Node::Directory(inside)) => put_all_over(children, inside),
            (_, node) => drop(children.insert(name, Item { node, ..item })),
        }
    }
}

/// That what is at `first` and what is at `second` would both be written as `place`.
pub fn clash(first: &[u8], second: &[u8], place: &[u8]) -> Error {
    Error::Clash { first: show_path(first), second: show_path(second), name: show(place), hint: String::new() }
}

/// That what the image has at `path` and what one of its layers has there would both be written as `place`.
pub fn clash_of_layers(path: &[u8], place: &[u8]) -> Error {
    let path = show_path(path);
    let second = format!("the {path} of the layer that a label names");
    let hint = "; they differ, so get them one by one".to_owned();
    Error::Clash { first: path, second, name: show(place), hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::entry::Entry;
    use crate::rootfs::fixture;

    fn directory(children: &[(&str, Item)]) -> Item {
        let children = children.iter().map(|(name, item)| (name.as_bytes().to_vec(), item.clone()));
        Item { metadata: UNDESCRIBED, node: Node::Directory(children.collect()) }
    }

    fn link(target: &str) -> Item {
        Item { metadata: UNDESCRIBED, node: Node::Symlink(target.into()) }
    }

    fn placed(path: &str, place: &str, item: Item) -> Placed {
        let (real_path, place) = (clean(path.as_bytes()), place.as_bytes().to_vec());
        Placed { path: path.into(), real_path, place, parents: Arc::default(), origin: Origin::default(), item }
    }

    /// The paths that come out, links with their targets.
    fn arranged(things: Vec<Placed>) -> Result<Vec<String>, String> {
        fn list(path: &str, item: &Item, lines: &mut Vec<String>) {
            match &item.node {
                Node::Directory(children) if children.is_empty() => lines.push(format!("{path}/")),
                Node::Directory(children) => children
                    .iter()
                    .for_each(|(name, child)| list(&format!("{path}/{}", String::from_utf8_lossy(name)), child, lines)),
                Node::Symlink(target) => lines.push(format!("{path} -> {}", String::from_utf8_lossy(target))),
                _ => lines.push(path.to_owned()),
            }
        }
        let mut lines = Vec::new();
        for (name, item) in arrange(things, false).map_err(|error| error.to_string())? {
            list(&String::from_utf8_lossy(&name), &item, &mut lines);
        }
        Ok(lines)
    }

    #[test]
    fn with_parents_a_place_is_the_path_as_named_and_never_leads_up() {
        let place = |path: &str, parents| place(path.as_bytes(), b"usr/bin/ls", b"ls", parents);
        assert_eq!(place("/bin/ls", false), b"ls");
        assert_eq!(place("//bin/./ls/", true), b"bin/ls");
        assert_eq!(place("/lib/../bin/ls", true), b"usr/bin/ls");
    }

    #[test]
    fn what_is_inside_a_directory_that_was_asked_for_goes_into_it_in_any_order() {
        let doc = || directory(&[("l", link("x")), ("sub", directory(&[("a", link("y"))]))]);
        let explicit = || link("followed");
        let one = arranged(vec![placed("/d", "s/d", doc()), placed("/d/l", "s/d/l", explicit())]);
        let other = arranged(vec![placed("/d/l", "s/d/l", explicit()), placed("/d", "s/d", doc())]);
        assert_eq!(one, Ok(vec!["s/d/l -> followed".to_owned(), "s/d/sub/a -> y".to_owned()]));
        assert_eq!(one, other);
    }

    #[test]
    fn two_things_in_one_place_are_refused_and_one_thing_twice_is_not() {
        let twice = arranged(vec![placed("/a/x", "x", link("1")), placed("a//x", "x", link("1"))]);
        assert_eq!(twice, Ok(vec!["x -> 1".to_owned()]));
        let both = arranged(vec![placed("/a/x", "x", link("1")), placed("/b/x", "x", link("2"))]);
        assert_eq!(both, Err("both /a/x and /b/x would be written as x".to_owned()));
        let under_a_link = arranged(vec![placed("/a", "a", link("1")), placed("/a/x", "a/x", link("2"))]);
        assert!(under_a_link.is_err());
        let over_a_directory = arranged(vec![placed("/a/x", "a/x", link("2")), placed("/a", "a", link("1"))]);
        assert!(over_a_directory.is_err());
    }

    #[test]
    fn what_has_no_name_goes_into_the_destination() {
        let things = vec![placed("/d/.", "", directory(&[("b", link("1"))])), placed("/a", "a", link("2"))];
        assert_eq!(arranged(things), Ok(vec!["b -> 1".to_owned(), "a -> 2".to_owned()]));
    }

    #[test]
    fn what_is_named_by_two_paths_for_one_place_is_refused_before_anything_is_read() {
        let check = |named: &[(&str, &str)]| {
            let named = named.iter().map(|(path, place)| (path.as_bytes(), place.as_bytes().to_vec()));
            check(named).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[("/a/x", "x"), ("a//x", "x"), ("/b/y", "y")]), Ok(()));
        assert_eq!(check(&[("/a/.", ""), ("/b/.", "")]), Ok(()), "what is in them may differ");
        assert_eq!(check(&[("/a/x", "x"), ("/b/x", "x")]), Err("both /a/x and /b/x would be written as x".to_owned()));
    }

    #[test]
    fn one_path_of_the_image_and_of_a_layer_is_one_thing_only_where_it_is_the_same_file() {
        let [layer, other] = [b"layer", b"other"].map(|bytes| Some(Digest::of(bytes)));
        let of_image = |file_in: &Option<Digest>| Origin { only_in: None, file_in: file_in.clone() };
        let of_layer = Origin { only_in: layer.clone(), file_in: layer.clone() };
        for (origin, is_one) in [(of_image(&layer), true), (of_image(&other), false), (of_image(&None), false)] {
            let one = Placed { origin, ..placed("/a/x", "x", link("1")) };
            let two = Placed { origin: of_layer.clone(), ..placed("/a/x", "x", link("1")) };
            let outcome = arranged(vec![one, two]);
            assert_eq!(outcome.is_ok(), is_one, "{outcome:?}");
        }
    }

    #[test]
    fn the_directories_above_a_place_are_described_as_the_image_has_them_where_links_lead() {
        let described = |path: &str, mode| Entry { mode, ..fixture::directory(path) };
        let entries = [described("usr", 0o711), described("usr/bin", 0o750), fixture::symlink("bin", "usr/bin")];
        let layer = fixture::index(&entries);
        let view = View::new(vec![&layer], true);
        let modes = |place: &str| -> Vec<u32> {
            parents(&view, place.as_bytes()).iter().map(|metadata| metadata.mode).collect()
        };
        assert_eq!(modes("usr/bin/ls"), [0o711, 0o750]);
        assert_eq!(modes("bin/ls"), [0o750]);
        assert_eq!(modes("nowhere/at/all"), [0o755, 0o755], "what is not known is as engines make it");
        assert!(modes("ls").is_empty());
    }
}
