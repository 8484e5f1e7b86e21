//! What a table tells of a layer makes the same index as the layer itself, all of it and for what is asked alone.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::*;
use crate::layer::entry::Metadata;
use crate::rootfs::{Inserted, LayerIndex, Node, NodeKind, UNDESCRIBED, split};

const NAMES: [&str; 6] = ["a", "b", "a-", "bb", "c.d", "e"];

/// A path of few names, so that they collide.
fn path(random: &mut Random) -> String {
    (0..1 + random.below(4)).map(|_| *random.one_of(&NAMES)).collect::<Vec<_>>().join("/")
}

/// An entry that fits what is there or does not.
fn any(random: &mut Random) -> Entry {
    let path = path(random);
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
    match random.below(12) {
        0 | 1 => directory(&path),
        2..5 => file(&path),
        5 | 6 => symlink(&path, ["a", "../b", "/a/b", ".", "e/.."][random.below(5)]),
        7..10 => hard_link(&path, &self::path(random)),
        10 => file(format!("{parent}/.wh.{name}").trim_start_matches('/')),
        _ => file(&format!("{path}/.wh..wh..opq")),
    }
}

/// A layer that is simple but for what chance adds.
fn layer(random: &mut Random) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut things = BTreeMap::<String, Kind>::new();
    for _ in 0..random.below(60) {
        let path = path(random);
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let is_file = |path: &str| things.get(path).is_some_and(|kind| *kind != Kind::Directory);
        let is_blocked =
            (0..parent.len()).any(|end| parent.as_bytes()[end] == b'/' && is_file(&parent[..end])) || is_file(parent);
        let is_there = things.contains_key(&path);
        let has_below = things.keys().any(|other| other.starts_with(&format!("{path}/")));
        let files: Vec<&String> =
            things.iter().filter(|(_, kind)| matches!(kind, Kind::File { .. })).map(|(path, _)| path).collect();
        let one = match random.below(14) {
            0 if random.one_in(9) => directory(&self::path(random)),
            1..5 if !is_there && !is_blocked && !has_below => file(&path),
            5 if !is_there && !is_blocked && !has_below => symlink(&path, "x"),
            6 if !is_there && !is_blocked && !has_below && !files.is_empty() => {
                hard_link(&path, random.one_of(&files).as_str())
            }
            7..9 if !is_blocked && !is_file(&path) => directory(&path),
            9 if !is_blocked => file(format!("{parent}/.wh.{name}").trim_start_matches('/')),
            10 if !is_blocked && !is_file(&path) => file(&format!("{path}/.wh..wh..opq")),
            11 if random.one_in(4) => file(["", "a/.wh..wh.plnk", "a/.wh.", ".wh..wh..opq"][1 + random.below(3)]),
            12 if random.one_in(40) => any(random),
            13 if random.one_in(10) => directory(""),
            _ => continue,
        };
        if !one.path.is_empty() && !split(&one.path).1.starts_with(b".wh.") {
            things.insert(String::from_utf8(one.path.clone()).unwrap(), one.kind.clone());
        }
        entries.push(Entry { mode: random.next() as u32 & 0o7777, ..one });
    }
    numbered(entries)
}

/// Whether a layer is simple, by what that means.
fn is_simple(entries: &[Entry]) -> bool {
    let mut things = BTreeMap::<&[u8], Vec<&Entry>>::new();
    let mut inside = HashSet::<&[u8]>::new();
    for entry in entries {
        let (parent, base) = split(&entry.path);
        match base.strip_prefix(b".wh.") {
            None => things.entry(&entry.path).or_default().push(entry),
            Some(b".wh..opq") => drop(inside.insert(parent)),
            Some(name) if name.is_empty() || name.starts_with(b".wh.") => continue,
            Some(_) => drop(inside.insert(parent)),
        }
        let mut above = &entry.path[..];
        while !above.is_empty() {
            above = split(above).0;
            inside.insert(above);
        }
    }
    things.iter().all(|(path, all)| {
        let are_directories = all.iter().all(|entry| entry.kind == Kind::Directory);
        are_directories || (all.len() == 1 && !inside.contains(path))
    }) && things.values().flatten().all(|entry| match &entry.kind {
        Kind::HardLink(target) => things.get(&target[..]).is_some_and(|all| {
            matches!(all[..], [file] if matches!(file.kind, Kind::File { .. }) && file.header_offset < entry.header_offset)
        }),
        _ => true,
    })
}

fn whole(entries: &[Entry]) -> LayerIndex {
    let mut index = LayerIndex::keeping_xattrs(true);
    entries.iter().for_each(|entry| drop::<Inserted<'_>>(index.insert(entry).unwrap()));
    index
}

/// The index of rows, and the directories that are only implied.
fn indexed(rows: &[Row], is_simple: bool) -> (LayerIndex, BTreeSet<Vec<u8>>) {
    let (implied, mut rows): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.implied);
    match is_simple {
        true => rows.sort_by_key(|row| matches!(row.entry.kind, Kind::HardLink(_))),
        false => rows.sort_by_key(|row| row.entry.header_offset),
    }
    let entries: Vec<Entry> = rows.into_iter().map(|row| row.entry.clone()).collect();
    (whole(&entries), implied.into_iter().map(|row| row.entry.path.clone()).collect())
}

/// All paths that entries speak of, with those above them.
fn spoken_of(entries: &[Entry]) -> BTreeSet<Vec<u8>> {
    let mut paths = BTreeSet::from([Vec::new()]);
    for entry in entries {
        let (parent, base) = split(&entry.path);
        let meant = match base.strip_prefix(b".wh.") {
            None => entry.path.clone(),
            Some(b".wh..opq") => parent.to_vec(),
            Some(name) if name.is_empty() || name.starts_with(b".wh.") => continue,
            Some(name) => [parent, b"/", name].concat(),
        };
        let mut path = meant.strip_prefix(b"/").unwrap_or(&meant).to_vec();
        while !path.is_empty() {
            let parent = split(&path).0.to_vec();
            paths.insert(std::mem::replace(&mut path, parent));
        }
    }
    paths
}

/// Entries in few words.
fn said<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let said = |entry: &Entry| format!("{}: {:?}\n", entry.path.escape_ascii(), entry.kind);
    entries.into_iter().map(said).collect()
}

fn implied() -> Node {
    Node::new(NodeKind::Directory { implied: true }, Metadata { ..UNDESCRIBED })
}

#[test]
fn all_rows_of_a_table_make_the_index_of_the_layer() {
    let (mut simple, mut others) = (0, 0);
    for seed in 0..800 {
        let mut random = Random::new(seed);
        let entries = if random.one_in(4) {
            numbered((0..random.below(30)).map(|_| any(&mut random)).collect())
        } else {
            layer(&mut random)
        };
        let table = table(&entries, [SMALL, Sizes::default()][random.below(2)]);
        let expected = is_simple(&entries);
        assert_eq!(table.open().unwrap().is_simple(), expected, "{seed}: {}", said(&entries));
        let rows = table.all();
        let (index, _) = indexed(&rows, expected);
        let whole = whole(&entries);
        for path in spoken_of(&entries) {
            let explain = || format!("{seed}: {} of\n{}", path.escape_ascii(), said(&entries));
            assert_eq!(index.get(&path), whole.get(&path), "{}", explain());
            assert_eq!(index.hides_below(&path), whole.hides_below(&path), "{}", explain());
            if expected && !path.is_empty() {
                let is_implied = rows.iter().any(|row| row.implied && row.entry.path == path);
                assert_eq!(is_implied, whole.get(&path) == Some(&implied()), "{}", explain());
            }
        }
        *(if expected { &mut simple } else { &mut others }) += 1;
    }
    assert!(simple > 250 && others > 150, "{simple} {others}");
}

#[test]
fn the_rows_that_come_for_some_paths_tell_of_them_what_the_layer_does() {
    let mut compared = 0;
    for seed in 0..1000 {
        let mut random = Random::new(!seed);
        let entries = layer(&mut random);
        let sizes = Sizes { rows: 1 + random.below(4) as u64, ..SMALL };
        let table = table(&entries, [sizes, Sizes::default()][random.below(8) / 7]);
        let (paths, whole) = (spoken_of(&entries), whole(&entries));
        let all: Vec<Vec<u8>> = paths.iter().cloned().collect();
        let some = |random: &mut Random, most: usize| -> Vec<Vec<u8>> {
            let one = |random: &mut Random| match random.one_in(3) {
                true => path(random).into_bytes(),
                false => random.one_of(&all).clone(),
            };
            (0..random.below(most)).map(|_| one(random)).collect()
        };
        let mut wanted = Wanted { paths: some(&mut random, 4), below: some(&mut random, 3) };
        wanted.below.retain(|path| !path.is_empty());
        let rows = table.rows(wanted.clone()).unwrap();
        let mut seen = HashSet::new();
        assert!(rows.iter().all(|row| seen.insert((&row.entry.path, row.implied, row.entry.header_offset))), "{seed}");
        let is_simple = table.open().unwrap().is_simple();
        let (index, are_implied) = indexed(&rows, is_simple);
        let is_below = |path: &[u8]| {
            let mut below = wanted.below.iter();
            below.any(|above| path.strip_prefix(&above[..]).is_some_and(|rest| rest.starts_with(b"/")))
        };
        let mut asked: BTreeSet<Vec<u8>> = paths.iter().filter(|path| is_below(path)).cloned().collect();
        for path in wanted.paths.iter().chain(&wanted.below) {
            let mut path = path.clone();
            while !path.is_empty() {
                let parent = split(&path).0.to_vec();
                asked.insert(std::mem::replace(&mut path, parent));
            }
        }
        for path in asked {
            let explain = || {
                let (path, rows) = (path.escape_ascii(), rows.iter().map(|row| &row.entry));
                format!("{seed}: {path} in {wanted:?} of\n{}from\n{}", said(&entries), said(rows))
            };
            let implied = (is_simple && are_implied.contains(&path)).then(implied);
            assert_eq!(index.get(&path).or(implied.as_ref()), whole.get(&path), "{}", explain());
            assert_eq!(index.hides_below(&path), whole.hides_below(&path), "{}", explain());
            compared += 1;
        }
    }
    assert!(compared > 4_000, "{compared}");
}
