//! Generated layers that mean harm, each compared with a plain, slow merging of whole paths: random trees of hard and symbolic
//! links, whiteouts and random deep names. And the images that once cost more than they were long, with their steps counted.

use std::collections::BTreeMap;

use super::depth::Depth;
use super::fixture::{directory, entry, file, hard_link, index, symlink};
use super::index::LayerIndex;
use super::node::{Node, NodeKind};
use super::path::MAX_SYMLINKS;
use super::spread::Directory;
use super::view::{Child, View};
use super::walk::{Found, leaf, resolve};
use crate::layer::entry::{Entry, Kind};
use crate::support::random::Random;

/// How many random images are compared.
const IMAGES: u64 = 1500;

type Path = Vec<String>;

/// What is at a path of the plain model.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Directory,
    /// The file that this entry of this layer (from the bottom) is.
    File(usize, u64),
    Symlink(String),
    /// A hard link to what may be in the layers below.
    Below(Path),
    /// A hard link to nothing.
    Broken,
}

/// Where a path of the plain model leads.
#[derive(Debug, PartialEq, Eq)]
enum End {
    To(Path, Thing),
    Absent,
    NotADirectory,
    Loop,
}

/// One layer of the plain model: whole paths, and marks.
#[derive(Default)]
struct Layer {
    things: BTreeMap<Path, Thing>,
    deleted: Vec<Path>,
    opaque: Vec<Path>,
}

fn names(path: &str) -> Path {
    path.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect()
}

fn is_below(path: &Path, directory: &Path) -> bool {
    path.len() > directory.len() && path.starts_with(directory)
}

fn remove_below(things: &mut BTreeMap<Path, Thing>, directory: &Path) {
    things.retain(|path, _| !is_below(path, directory));
}

impl Layer {
    /// Where the directory `path` is in the layer alone; or as it is named if a link leads to nothing.
    fn real(&self, path: &Path) -> Path {
        let mut left: Vec<String> = path.iter().rev().cloned().collect();
        let (mut real, mut links) = (Path::new(), 0);
        while let Some(name) = left.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            real.push(name);
            if let Some(Thing::Symlink(target)) = self.things.get(&real) {
                links += 1;
                if links > MAX_SYMLINKS {
                    return path.clone();
                }
                real.pop();
                if target.starts_with('/') {
                    real.clear();
                }
                left.extend(names(target).into_iter().rev());
            }
        }
        real
    }

    fn is_blocked(&self, parent: &Path) -> bool {
        (1..=parent.len()).any(|end| self.things.get(&parent[..end]).is_some_and(|thing| *thing != Thing::Directory))
    }

    fn replace(&mut self, path: &Path, thing: Thing) {
        if thing != Thing::Directory {
            remove_below(&mut self.things, path);
            self.deleted.retain(|deleted| !is_below(deleted, path));
            self.opaque.retain(|opaque| !is_below(opaque, path));
        }
        self.things.insert(path.clone(), thing);
    }

    fn make(&mut self, directory: &Path) {
        for end in 1..=directory.len() {
            let parent = directory[..end].to_vec();
            if self.things.get(&parent) != Some(&Thing::Directory) {
                self.replace(&parent, Thing::Directory);
            }
        }
    }

    fn add(&mut self, number: usize, entry: &Entry) {
        let mut path = names(std::str::from_utf8(&entry.path).unwrap());
        let name = path.pop().unwrap();
        let parent = self.real(&path);
        if let Some(name) = name.strip_prefix(".wh.") {
            if self.is_blocked(&parent) {
                return;
            }
            self.make(&parent);
            match name {
                ".wh..opq" => self.opaque.push(parent),
                name => self.deleted.push([parent, vec![name.to_owned()]].concat()),
            }
            return;
        }
        let path = [parent.clone(), vec![name]].concat();
        let thing = match &entry.kind {
            Kind::Directory => Thing::Directory,
            Kind::Symlink(target) => Thing::Symlink(String::from_utf8(target.clone()).unwrap()),
            Kind::HardLink(target) => {
                let mut target = names(std::str::from_utf8(target).unwrap());
                let name = target.pop().unwrap();
                let parent = self.real(&target);
                let target = [parent.clone(), vec![name]].concat();
                match self.things.get(&target) {
                    _ if target.starts_with(&path) || self.is_blocked(&parent) => Thing::Broken,
                    Some(Thing::Directory) => Thing::Broken,
                    Some(thing) => thing.clone(),
                    None => Thing::Below(target),
                }
            }
            _ => Thing::File(number, entry.data_offset),
        };
        self.make(&parent);
        self.replace(&path, thing);
    }

    /// Lays the layer over `below`.
    fn over(&self, below: &BTreeMap<Path, Thing>) -> BTreeMap<Path, Thing> {
        let mut merged = below.clone();
        for path in &self.deleted {
            merged.remove(path);
            remove_below(&mut merged, path);
        }
        self.opaque.iter().for_each(|path| remove_below(&mut merged, path));
        for (path, thing) in &self.things {
            let thing = match thing {
                Thing::Below(target) => match plain(below, target, false) {
                    End::To(_, thing) if thing != Thing::Directory => thing,
                    _ => Thing::Broken,
                },
                thing => thing.clone(),
            };
            if thing != Thing::Directory || merged.get(path) != Some(&Thing::Directory) {
                remove_below(&mut merged, path);
            }
            merged.insert(path.clone(), thing);
        }
        merged
    }
}

/// Resolves `path` in a merged tree, name by name.
fn plain(merged: &BTreeMap<Path, Thing>, path: &Path, follow: bool) -> End {
    let mut left: Vec<String> = path.iter().rev().cloned().collect();
    let (mut real, mut links) = (Path::new(), 0);
    while let Some(name) = left.pop() {
        if name == ".." {
            real.pop();
            continue;
        }
        real.push(name);
        match merged.get(&real) {
            None => return End::Absent,
            Some(Thing::Directory) => {}
            Some(Thing::Symlink(target)) if follow || !left.is_empty() => {
                links += 1;
                if links > MAX_SYMLINKS {
                    return End::Loop;
                }
                real.pop();
                if target.starts_with('/') {
                    real.clear();
                }
                left.extend(names(target).into_iter().rev());
            }
            Some(thing) if left.is_empty() => return End::To(real, thing.clone()),
            Some(_) => return End::NotADirectory,
        }
    }
    End::To(real, Thing::Directory)
}

/// What an image is made of.
impl Random {
    /// A path of few names, so that they collide; now and then a deep one.
    pub(super) fn path(&mut self) -> String {
        let depth = if self.below(12) == 0 { 8 + self.below(40) } else { 1 + self.below(4) };
        let names: Vec<&str> = (0..depth).map(|_| ["a", "b", "a-", "bb"][self.below(4)]).collect();
        names.join("/")
    }

    fn target(&mut self) -> String {
        match self.below(6) {
            0 => format!("/{}", self.path()),
            1 => format!("../{}", self.path()),
            2 => format!("{}/..", self.path()),
            3 => ".".to_owned(),
            4 => ["a", "b", "../a"][self.below(3)].to_owned(),
            _ => self.path(),
        }
    }

    pub(super) fn entry(&mut self) -> Entry {
        let path = self.path();
        match self.below(12) {
            0 | 1 => directory(&path),
            2..5 => file(&path),
            5..7 => symlink(&path, &self.target()),
            7..10 => hard_link(&path, &self.path()),
            10 => {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
                file(format!("{parent}/.wh.{name}").trim_start_matches('/'))
            }
            _ => file(&format!("{path}/.wh..wh..opq")),
        }
    }
}

/// A random image, the lowest layer first.
pub(super) fn image(seed: u64) -> Vec<Vec<Entry>> {
    let mut random = Random::new(seed);
    let layers = 1 + random.below(5);
    let numbered = |(number, entry): (usize, Entry)| Entry { data_offset: number as u64, ..entry };
    (0..layers).map(|_| (0..1 + random.below(14)).map(|_| random.entry()).enumerate().map(numbered).collect()).collect()
}

fn shown(layers: usize, layer: Depth, node: &Node) -> Thing {
    match &node.kind {
        NodeKind::File(content) => Thing::File(layers - 1 - layer.0, content.data.0),
        NodeKind::Symlink(target) => Thing::Symlink(String::from_utf8(target.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn list(view: &View<'_>, directory: &Directory, all: &mut BTreeMap<Path, Thing>) {
    for (name, child) in view.list(directory).unwrap() {
        assert_eq!(view.child(directory, &name), child, "a name alone is what it is in the listing");
        let (thing, path) = match child {
            Child::Directory(child) => {
                list(view, &child, all);
                (Thing::Directory, child.path)
            }
            Child::Leaf { layer } => {
                let path = super::join(&directory.path, &name);
                match leaf(view, layer, &path) {
                    Found::Leaf(leaf) => (shown(view.layers().len(), leaf.layer, leaf.node), path),
                    Found::BrokenLink { .. } => (Thing::Broken, path),
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        };
        all.insert(names(std::str::from_utf8(&path).unwrap()), thing);
    }
}

fn resolved(view: &View<'_>, path: &str, follow: bool) -> End {
    let path_of = |path: &[u8]| names(std::str::from_utf8(path).unwrap());
    match resolve(view, path.as_bytes(), follow) {
        Found::Directory(directory) => End::To(path_of(&directory.path), Thing::Directory),
        Found::Leaf(leaf) => End::To(path_of(&leaf.path), shown(view.layers().len(), leaf.layer, leaf.node)),
        Found::BrokenLink { path, .. } => End::To(path_of(&path), Thing::Broken),
        Found::Absent { .. } => End::Absent,
        Found::NotADirectory { .. } => End::NotADirectory,
        Found::Loop => End::Loop,
        Found::Unknown { .. } => panic!("all layers are in the view"),
    }
}

#[test]
fn random_trees_of_links_and_deep_names_are_what_a_plain_merging_makes_of_them() {
    let (mut things, mut broken, mut links_below) = (0, 0, 0);
    for seed in 0..IMAGES {
        let image = image(seed);
        let explain = || {
            let layers = image.iter().map(|layer| {
                let entries = layer.iter().map(|entry| format!("{} {:?}", entry.path.escape_ascii(), entry.kind));
                entries.collect::<Vec<_>>()
            });
            format!("image {seed}, the lowest layer first: {:#?}", layers.collect::<Vec<_>>())
        };
        let mut merged = BTreeMap::new();
        let mut indexes = Vec::new();
        for (number, entries) in image.iter().enumerate() {
            let (mut layer, mut index) = (Layer::default(), LayerIndex::default());
            for entry in entries {
                layer.add(number, entry);
                index.insert(entry).unwrap();
            }
            let bytes: usize = entries.iter().map(|entry| entry.path.len() + 4096).sum();
            assert!(index.tree().size().0 <= 2 * entries.len() + 1, "two nodes for an entry: {}", explain());
            assert!(index.tree().size().1 <= bytes, "no more bytes than the names have: {}", explain());
            links_below += layer.things.values().filter(|thing| matches!(thing, Thing::Below(_))).count();
            merged = layer.over(&merged);
            indexes.insert(0, index);
        }
        let view = View::new(indexes.iter().collect(), true);
        let mut listed = BTreeMap::new();
        list(&view, &view.root(), &mut listed);
        assert_eq!(listed, merged, "{}", explain());
        things += merged.len();
        broken += merged.values().filter(|thing| **thing == Thing::Broken).count();
        let mut random = Random::new(!seed);
        for _ in 0..20 {
            let (path, follow) = (random.path(), random.below(2) == 0);
            let expected = plain(&merged, &names(&path), follow);
            assert_eq!(resolved(&view, &path, follow), expected, "{path} (follow: {follow}) in {}", explain());
        }
        let entries: usize = image.iter().map(Vec::len).sum();
        let lookups = 20 + listed.len() as u64;
        let bound = lookups * (entries as u64 + 1) * 100 * image.len() as u64;
        assert!(view.steps() <= bound, "{} steps, more than {bound}: {}", view.steps(), explain());
    }
    assert!(things > 10 * IMAGES as usize && broken > 100 && links_below > 500, "{things} {broken} {links_below}");
}

/// `layers`, the uppermost first, as a whole view.
fn whole(layers: &[LayerIndex]) -> View<'_> {
    View::new(layers.iter().collect(), true)
}

#[test]
fn hard_links_that_lead_through_hard_links_take_no_more_steps_than_they_have_names() {
    // Whoever follows each anew takes 8^40 steps.
    let (names, count) = (8, 40);
    let through = |name: &str| vec![name; names].join("/");
    let mut layers: Vec<LayerIndex> = (0..count)
        .map(|layer| {
            let (this, other) = if layer % 2 == 0 { ("a", "b") } else { ("b", "a") };
            index(&[hard_link(this, &through(other))])
        })
        .collect();
    layers.push(index(&[symlink("a", "."), symlink("b", ".")]));
    let view = whole(&layers);
    let Found::Leaf(end) = resolve(&view, b"a", false) else { panic!("a link") };
    assert!(matches!(&end.node.kind, NodeKind::Symlink(_)) && end.layer == Depth(count));
    let input = (names * count) as u64;
    assert!(view.steps() <= 4 * input, "{} steps", view.steps());
}

#[test]
fn a_chain_of_hard_links_through_two_thousand_layers_takes_a_few_steps_for_each() {
    let count = 2000;
    let link = |layer: usize| hard_link(["a", "b"][layer % 2], ["b", "a"][layer % 2]);
    let mut layers: Vec<LayerIndex> = (0..count).map(|layer| index(&[link(layer)])).collect();
    layers.push(index(&[file("a"), file("b")]));
    let view = whole(&layers);
    let Found::Leaf(end) = resolve(&view, b"a", true) else { panic!("a file") };
    assert_eq!((end.path, end.layer), (b"a".to_vec(), Depth(count)));
    assert!(view.steps() <= 4 * count as u64, "{} steps", view.steps());
    // Without its end it is a link to nothing, and that too is found without descending on the stack.
    let view = View::new(layers[..count].iter().collect(), true);
    assert!(matches!(resolve(&view, b"a", true), Found::BrokenLink { .. }));
}

#[test]
fn a_name_is_asked_only_of_the_layers_that_hold_its_directory() {
    let mut layers: Vec<LayerIndex> = (0..2000).map(|layer| index(&[file(&format!("other{layer}"))])).collect();
    layers.push(index(&[file("d/e/f/g/x")]));
    let view = whole(&layers);
    assert!(matches!(resolve(&view, b"d/e/f/g/x", true), Found::Leaf(_)));
    // Each layer holds the root, and one the rest.
    assert_eq!(view.steps(), 2001 + 4);
}

#[test]
fn a_symlink_with_thousands_of_names_is_given_up() {
    let long = "d/../".repeat(3000);
    let layers = [index(&[directory("d"), symlink("l", &long)])];
    let view = whole(&layers);
    assert_eq!(resolve(&view, b"l/x", true), Found::Loop);
    assert!(view.steps() <= 4100, "{} steps", view.steps());
}

#[test]
fn many_links_that_lead_through_one_are_followed_together_however_long_its_way_and_many_the_layers() {
    for (end, leads_somewhere) in [("f", true), ("", true), ("none", false), ("f/x", false), ("l0", false)] {
        let far = format!("{}d/{end}", "d/../".repeat(1500));
        let mut base = vec![directory("d"), file("d/f"), symlink("d/l0", "l0"), symlink("far", &far)];
        base.extend((0..1000).map(|i| symlink(&format!("l{i}"), "far")));
        let mut layers: Vec<LayerIndex> = (0..100).map(|_| index(&[directory("d")])).collect();
        layers.push(index(&base));
        let view = whole(&layers);
        for i in 0..1000 {
            let found = resolve(&view, format!("l{i}").as_bytes(), true);
            assert_eq!(matches!(found, Found::Leaf(_) | Found::Directory(_)), leads_somewhere, "{end}: {found:?}");
        }
        // Two names in the root for each, and the way once; a way that came to nothing costs its last name anew.
        assert!(view.steps() <= 1000 * 3 * 101 + 4000, "{end}: {} steps", view.steps());
    }
}

#[test]
fn lone_deep_names_cost_what_they_are_long() {
    let mut index = LayerIndex::default();
    let deep = vec!["d"; 1000].join("/");
    for entry in (0..60).map(|i| file(&format!("{i}/{deep}"))) {
        index.insert(&entry).unwrap();
    }
    let (nodes, bytes) = index.tree().size();
    assert!(nodes <= 121 && bytes <= 60 * (deep.len() + 3), "{nodes} nodes, {bytes} bytes");
    let view = View::new(vec![&index], true);
    assert!(matches!(resolve(&view, format!("7/{deep}").as_bytes(), true), Found::Leaf(_)));
}

#[test]
fn names_behind_a_link_to_a_deep_directory_cost_what_they_are_long() {
    let deep = vec!["d"; 250].join("/");
    let mut index = index(&[symlink("l", &deep)]);
    let before = index.tree().size().1;
    for i in 0..1000 {
        index.insert(&file(&format!("l/{i}"))).unwrap();
    }
    let (nodes, bytes) = index.tree().size();
    assert!(nodes <= 1004 && bytes - before <= deep.len() + 4000, "{nodes} nodes, {} bytes", bytes - before);
}

#[test]
fn links_do_not_make_a_path_deeper_or_longer_than_any_could_be() {
    let deep = vec!["d"; 250].join("/");
    let mut twice = index(&[symlink("l", &deep), symlink("l/m", &deep)]);
    // Too many names to follow, so that it stays as it is named.
    assert!(twice.insert(&file("l/m/x")).is_ok() && twice.get(b"l/m/x").is_some());
    let long = "n".repeat(250);
    let mut links = index(&[symlink("l", &vec![long.as_str(); 17].join("/"))]);
    assert!(links.insert(&file("l/x")).unwrap_err().to_string().contains("4268 bytes when its links are followed"));
}

#[test]
fn extended_attributes_are_kept_only_where_they_are_wanted_and_no_more_than_can_be() {
    let with = |path: &str| Entry { xattrs: vec![(b"user.x".to_vec(), vec![7; 1 << 20])], ..file(path) };
    let mut dropping = LayerIndex::default();
    dropping.insert(&with("f")).unwrap();
    assert!(dropping.get(b"f").unwrap().metadata().xattrs.is_empty());
    let mut keeping = LayerIndex::keeping_xattrs(true);
    keeping.insert(&with("f")).unwrap();
    // Links share what they link to, in this layer or one below it, whatever they say themselves.
    for i in 0..1000 {
        let linked = with(&format!("l{i}"));
        let target = if i % 2 == 1 { "f" } else { "below" };
        keeping.insert(&Entry { kind: Kind::HardLink(target.into()), ..linked }).unwrap();
    }
    assert_eq!(keeping.get(b"l999").unwrap().metadata().xattrs.len(), 1);
    let refused = (0..64).find_map(|i| keeping.insert(&with(&format!("g{i}"))).err()).unwrap();
    assert!(refused.at(0).to_string().contains("more than 64 MiB of extended attributes"), "{refused}");
}

#[test]
fn a_layer_of_one_name_again_and_again_is_taken_in() {
    let entries = (0..20_000).map(|i| match i % 3 {
        0 => file("x"),
        1 => directory("x"),
        _ => entry("x/y", Kind::Directory),
    });
    let index = index(&entries.collect::<Vec<_>>());
    assert!(
        matches!(index.get(b"x").unwrap().kind, NodeKind::Directory { implied: false }) && index.get(b"x/y").is_none()
    );
}
