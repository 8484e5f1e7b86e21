//! An index that keeps little says the same as one that keeps everything, whatever is in the layers and whatever is asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::depth::Depth;
use super::super::fixture::{directory, file, symlink};
use super::super::more::Each;
use super::super::nearest::nearest;
use super::super::node::{Node, NodeKind};
use super::super::path::{join, split};
use super::super::pattern::Pattern;
use super::super::tree::{Marks, Place};
use super::super::view::Child;
use super::super::walk::{Found, leaf, resolve};
use super::*;
use crate::layer::entry::Kind;
use crate::support::random::Random;

/// A random layer of at most so many entries.
fn layer(random: &mut Random, most: usize) -> Vec<Entry> {
    let count = random.below(most);
    let entry = |number| Entry { data_offset: number as u64, mode: number as u32 % 0o777, ..random.entry() };
    (0..count).map(entry).collect()
}

fn index(entries: &[Entry], kept: &Kept) -> LayerIndex {
    let mut index = LayerIndex::of(kept, false);
    entries.iter().for_each(|entry| drop(index.insert(entry).unwrap()));
    index
}

fn known(entries: &[Entry], kept: &Kept) -> Known {
    let mut known = Known::default().of(kept);
    entries.iter().for_each(|entry| drop(known.insert(entry).unwrap()));
    known
}

/// Everything that an index has.
fn all(index: &LayerIndex) -> BTreeMap<Vec<u8>, (Option<Node>, Marks)> {
    let mut all = BTreeMap::new();
    let mut pending = vec![(Vec::new(), Place::ROOT)];
    while let Some((path, place)) = pending.pop() {
        let children = index.tree().children(place);
        pending.extend(children.map(|(name, child)| (join(&path, name), child)));
        all.insert(path, (index.tree().get(place).cloned(), index.tree().marks(place)));
    }
    all
}

#[test]
fn an_index_has_exactly_what_the_layer_says_of_the_paths_that_it_keeps_and_all_symlinks() {
    let (mut dropped, mut compared) = (0, 0);
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let entries = layer(&mut random, 40);
        let mut kept = Kept::default();
        for _ in 0..1 + random.below(3) {
            if random.one_in(3) { kept.add_all(random.path().as_bytes()) } else { kept.add(random.path().as_bytes()) }
        }
        let (some, whole) = (all(&index(&entries, &kept)), all(&index(&entries, &Kept::everything())));
        let explain = |path: &[u8]| format!("{} of {entries:#?}, keeping {kept:?}", String::from_utf8_lossy(path));
        for (path, (node, marks)) in &whole {
            let is_symlink = node.as_ref().is_some_and(|node| matches!(node.kind, NodeKind::Symlink(_)));
            let same_kind = |(one, _): &(Option<Node>, Marks)| {
                one.as_ref().map(|node| &node.kind) == node.as_ref().map(|node| &node.kind)
            };
            if kept.contains(path) {
                let (one, other) = some.get(path).cloned().unwrap_or_default();
                // What a hard link shares is known where its target is.
                match one.as_ref().map(|node| &node.kind) {
                    Some(NodeKind::LinkBelow(target)) if !kept.contains(target) => {}
                    _ => assert_eq!((&one, &other), (node, marks), "{}", explain(path)),
                }
                compared += 1;
            } else if is_symlink {
                assert!(some.get(path).is_some_and(same_kind), "{}", explain(path));
            }
        }
        for (path, (node, _)) in &some {
            let is_symlink = node.as_ref().is_some_and(|node| matches!(node.kind, NodeKind::Symlink(_)));
            let is_there = node.is_some() && (kept.contains(path) || is_symlink);
            assert!(!is_there || whole.get(path).is_some_and(|(node, _)| node.is_some()), "{}", explain(path));
        }
        dropped += whole.len().saturating_sub(some.len());
    }
    assert!(dropped > 3000 && compared > 3000, "{dropped} {compared}");
}

/// What is said of a path, in words.
fn told(view: &View<'_>, path: &[u8], follow: bool) -> String {
    let found = resolve(view, path, follow);
    match &found {
        Found::Directory(directory) => {
            let mut told = format!("{:?} {:?}\n", directory.path, view.metadata(directory));
            for (name, child) in view.list(directory).into_iter().flatten() {
                let path = join(&directory.path, &name);
                match child {
                    Child::Directory(child) => {
                        told += &format!("{path:?}/ {:?} {:?}\n", child.described_by, view.metadata(&child))
                    }
                    Child::Leaf { layer } => told += &format!("{path:?} {:?}\n", words(&leaf(view, layer, &path))),
                    other => told += &format!("{other:?}\n"),
                }
            }
            told
        }
        Found::Absent { parent, name, .. } => {
            format!(
                "{} {:?}",
                words(&found),
                nearest(view, &parent.path, name, path.strip_prefix(b"/").unwrap_or(path))
            )
        }
        found => words(found),
    }
}

/// What was found, without places in trees, which are each index's own.
fn words(found: &Found<'_>) -> String {
    match found {
        Found::Directory(directory) => format!("{:?} {:?}", directory.path, directory.described_by),
        Found::Absent { parent, name, deleted_by } => format!("no {name:?} in {:?}, {deleted_by:?}", parent.path),
        found => format!("{found:?}"),
    }
}

#[test]
fn whatever_is_asked_of_layers_that_keep_little_is_answered_as_by_layers_that_keep_everything() {
    let mut answers = BTreeMap::<&str, usize>::new();
    for seed in 0..1000 {
        let mut random = Random::new(seed);
        let layers: Vec<Vec<Entry>> = (0..1 + random.below(4)).map(|_| layer(&mut random, 25)).collect();
        let whole: Vec<_> = layers.iter().map(|entries| KnownLayer::new(index(entries, &Kept::everything()))).collect();
        let is_whole = !random.one_in(3);
        let some = |random: &mut Random| -> Vec<_> {
            let mut kept = Kept::default();
            kept.add(random.path().as_bytes());
            layers.iter().map(|entries| KnownLayer::new(known(entries, &kept))).collect()
        };
        for _ in 0..3 {
            let (few, path, follow) = (some(&mut random), random.path(), random.one_in(2));
            let answer =
                |layers: &[Arc<KnownLayer>]| ask(layers, is_whole, |view| told(view, path.as_bytes(), follow)).unwrap();
            assert_eq!(answer(&few), answer(&whole), "{path} {follow} {is_whole} of {layers:#?}");
            let hides = |layers: &[Arc<KnownLayer>]| ask(layers, false, |view| view.hides(path.as_bytes())).unwrap();
            assert_eq!(hides(&few), hides(&whole), "{path} of {layers:#?}");
            let found = ask(&whole, is_whole, |view| match resolve(view, path.as_bytes(), follow) {
                Found::Directory(_) => "directory",
                Found::Leaf(_) => "leaf",
                Found::Absent { .. } => "absent",
                Found::Unknown { .. } => "unknown",
                _ => "other",
            });
            *answers.entry(found.unwrap()).or_default() += 1;
        }
        let few = some(&mut random);
        let glob = format!(
            "/{}/{}",
            split(random.path().as_bytes()).0.escape_ascii(),
            random.one_of(&["*", "a*/*", "**/b", "*/../*"])
        );
        let pattern = Pattern::parse(glob.as_bytes()).unwrap();
        let expand = |layers: &[Arc<KnownLayer>]| ask(layers, is_whole, |view| pattern.expand(view)).unwrap();
        assert_eq!(expand(&few), expand(&whole), "{glob} of {layers:#?}");
    }
    assert!(answers.len() == 5 && answers.values().all(|count| *count > 60), "{answers:?}");
}

#[test]
fn what_is_known_from_the_start_is_answered_from_what_was_kept() {
    let mut kept = Kept::default();
    kept.add_all(b"etc/passwd");
    let many = (0..10_000).map(|i| file(&format!("opt/d{}/f{i}", i / 100)));
    let entries: Vec<Entry> = [directory("etc"), file("etc/passwd")].into_iter().chain(many).collect();
    let layer = known(&entries, &kept);
    assert!(all(layer.index()).len() < 10, "{:?}", all(layer.index()));
    let layer = [KnownLayer::new(layer)];
    let found = ask(&layer, true, |view| words(&resolve(view, b"/etc/passwd", true))).unwrap();
    assert!(found.starts_with("Leaf"), "{found}");
    assert_eq!(layer[0].0.read().unwrap().replayed, 0);
    let absent = ask(&layer, true, |view| words(&resolve(view, b"/opt/d7/none", true))).unwrap();
    assert!(absent.starts_with("no "), "{absent}");
    assert_eq!(layer[0].0.read().unwrap().replayed, entries.len(), "the whole of a path is looked for at once");
}

/// Tells of a layer, and counts how often it was asked.
#[derive(Debug)]
struct Telling {
    rows: BTreeMap<Vec<u8>, Vec<Option<Entry>>>,
    asked: AtomicUsize,
}

impl Telling {
    /// Of as many of the `entries` as do not depend on one another; these are given back.
    fn of(entries: Vec<Entry>) -> (Arc<Self>, Vec<Entry>) {
        let mut rows = BTreeMap::<Vec<u8>, Vec<Option<Entry>>>::new();
        let mut simple = Vec::new();
        for entry in entries {
            let path = Said::Entry(&entry).path().into_owned();
            let is_mark = existing(&entry.path) != entry.path;
            let kind = |path: &[u8]| kind_of(&rows, path);
            let exists = existing(&entry.path);
            let ends = (0..exists.len()).filter(|at| exists[*at] == b'/').chain(is_mark.then_some(exists.len()));
            let above: Vec<Vec<u8>> = ends.map(|at| exists[..at].to_vec()).filter(|above| !above.is_empty()).collect();
            let is_below = above.iter().all(|above| kind(above).is_none_or(|kind| kind == Kind::Directory));
            let leads = match &entry.kind {
                Kind::HardLink(target) => matches!(kind(target), Some(Kind::File { .. })),
                _ => true,
            };
            let is_known = |row: &Option<Entry>| row.as_ref().is_some_and(|row| row.path == entry.path);
            let is_new = match is_mark {
                true => !rows.get(&path).is_some_and(|rows| rows.iter().any(is_known)),
                false => kind(&path).is_none(),
            };
            if !leads || !is_below || !is_new || entry.path.is_empty() {
                continue;
            }
            for above in above {
                if kind_of(&rows, &above).is_none() {
                    rows.entry(above).or_default().push(None);
                }
            }
            rows.entry(path).or_default().push(Some(entry.clone()));
            simple.push(entry);
        }
        (Arc::new(Telling { rows, asked: AtomicUsize::new(0) }), simple)
    }
}

fn is_a_mark(row: &Option<Entry>) -> bool {
    row.as_ref().is_some_and(|row| existing(&row.path) != row.path)
}

/// What is at a path, other than marks.
fn kind_of(rows: &BTreeMap<Vec<u8>, Vec<Option<Entry>>>, path: &[u8]) -> Option<Kind> {
    let row = rows.get(path)?.iter().find(|row| !is_a_mark(row))?;
    Some(row.as_ref().map_or(Kind::Directory, |entry| entry.kind.clone()))
}

impl More for Telling {
    fn more(&self, kept: &Kept, each: &mut Each<'_>) -> Result<(), Refused> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut told = kept.clone();
        let mut links = Vec::new();
        for (path, row) in self.rows.iter().flat_map(|(path, rows)| rows.iter().map(move |row| (path, row))) {
            match row {
                _ if !kept.contains(path) => {}
                Some(entry) if matches!(entry.kind, Kind::HardLink(_)) => links.push(entry),
                Some(entry) => each(Said::Entry(entry))?,
                None => each(Said::Implied(path))?,
            }
        }
        for link in &links {
            let Kind::HardLink(target) = &link.kind else { continue };
            told.add(target);
            for (path, row) in self.rows.iter().flat_map(|(path, rows)| rows.iter().map(move |row| (path, row))) {
                if told.contains(path) && !kept.contains(path) {
                    each(row.as_ref().map_or(Said::Implied(path), Said::Entry))?;
                }
            }
        }
        links.into_iter().try_for_each(|link| each(Said::Entry(link)))
    }

    fn names(&self, _: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), Refused> {
        self.rows.values().flatten().flatten().for_each(|entry| each(&entry.path));
        Ok(())
    }
}

#[test]
fn whatever_is_asked_of_layers_that_somebody_tells_of_is_answered_as_by_layers_that_keep_everything() {
    let mut links = 0;
    for seed in 0..1000 {
        let mut random = Random::new(seed);
        let layers: Vec<_> = (0..1 + random.below(4)).map(|_| Telling::of(layer(&mut random, 60))).collect();
        let whole: Vec<_> = layers.iter().map(|(_, own)| KnownLayer::new(index(own, &Kept::everything()))).collect();
        links += layers.iter().flat_map(|(_, own)| own).filter(|own| matches!(own.kind, Kind::HardLink(_))).count();
        let some: Vec<_> = layers
            .iter()
            .map(|(telling, _)| {
                let telling: Arc<dyn More> = Arc::clone(telling) as Arc<dyn More>;
                let mut known = Known::default().asking(&telling, &Kept::default());
                telling.more(&Kept::default(), &mut |said| known.take(said).map(drop)).unwrap();
                KnownLayer::new(known)
            })
            .collect();
        for _ in 0..4 {
            let (path, follow, is_whole) = (random.path(), random.one_in(2), !random.one_in(3));
            let answer =
                |layers: &[Arc<KnownLayer>]| ask(layers, is_whole, |view| told(view, path.as_bytes(), follow)).unwrap();
            assert_eq!(answer(&some), answer(&whole), "{path} {follow} {is_whole} of {layers:#?}");
        }
        let glob = format!("/{}", random.one_of(&["*", "a*/*", "**/b", "*/../*"]));
        let pattern = Pattern::parse(glob.as_bytes()).unwrap();
        let expand = |layers: &[Arc<KnownLayer>]| ask(layers, true, |view| pattern.expand(view)).unwrap();
        assert_eq!(expand(&some), expand(&whole), "{glob} of {layers:#?}");
    }
    assert!(links > 150, "{links}");
}

#[test]
fn however_many_ways_links_lead_a_layer_is_indexed_anew_a_few_times_and_then_known_whole() {
    let links = (0..1000).map(|i| symlink(&format!("l/{i}"), &format!("/d/{i}")));
    let entries: Vec<Entry> = links.chain((0..1000).map(|i| file(&format!("d/{i}/f")))).collect();
    let layer = [KnownLayer::new(known(&entries, &Kept::default()))];
    for i in 0..1000 {
        let path = format!("/l/{i}/f");
        assert!(ask(&layer, true, |view| matches!(resolve(view, path.as_bytes(), true), Found::Leaf(_))).unwrap());
    }
    let known = layer[0].0.read().unwrap();
    assert!(known.replayed <= (MAX_REPLAYED + 1) * entries.len(), "{}", known.replayed);
    assert!(known.index.kept().is_none() && matches!(known.rest, Rest::Nothing));
    let depth = Depth::TOP;
    drop(known);
    assert!(ask(&layer, true, |view| view.node(depth, b"d/1/f").is_some()).unwrap());
}
