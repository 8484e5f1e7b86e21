//! What is asked for next, and what is said in the end: on trees alone, with no layer to be read.

use crate::support::random::Random;
use std::sync::Arc;

use super::super::adversaries::image;
use super::super::fixture::{directory, entry, file, hard_link, index, symlink};
use super::super::{Candidates, Depth, Known, KnownLayer, LayerIndex, Pattern, View, ask};
use super::{Allowance, Lookup, Missing, Next, Outcome, Passing, Tree, TreeKind, Why};
use crate::layer::content::DataOffset;
use crate::layer::entry::{Entry, Kind, Special};

/// Asks for these, links followed.
fn asking(patterns: &[&str]) -> Lookup {
    let patterns = patterns.iter().map(|pattern| Pattern::parse(pattern.as_bytes()).unwrap()).collect();
    Lookup { patterns, follow: true, needs_content: true, ..Lookup::default() }
}

/// What is said of these layers, the uppermost first, below which there are others.
fn so_far(lookup: &Lookup, layers: &[LayerIndex]) -> String {
    words(lookup.next(&View::new(layers.iter().collect(), false)))
}

/// What is said of these layers, the uppermost first, which are all.
fn of_all(lookup: &Lookup, layers: &[LayerIndex]) -> String {
    words(lookup.next(&View::new(layers.iter().collect(), true)))
}

fn words(next: Result<Next, Missing>) -> String {
    match next {
        Ok(Next::Read { any_order: false }) => "read the next".to_owned(),
        Ok(Next::Read { any_order: true }) => "read in any order".to_owned(),
        Ok(Next::Done(outcome)) => done(&outcome),
        Err(missing) => format!("{}: {}", missing.pattern, reason(&missing.why)),
    }
}

/// The canonical paths of what is there, each with the layer that has it; `/` after a directory.
fn done(outcome: &Outcome) -> String {
    fn list(path: &str, tree: &Tree, words: &mut Vec<String>) {
        let layer = tree.layer.map_or("?".to_owned(), |Depth(depth)| depth.to_string());
        match &tree.kind {
            TreeKind::Directory(children) => {
                words.push(format!("{path}/@{layer}"));
                for (name, child) in children {
                    list(&format!("{path}/{}", String::from_utf8_lossy(name)), child, words);
                }
            }
            TreeKind::Symlink(target) => words.push(format!("{path}->{}@{layer}", String::from_utf8_lossy(target))),
            _ => words.push(format!("{path}@{layer}")),
        }
    }
    let mut words = Vec::new();
    outcome.planned.iter().for_each(|thing| list(&String::from_utf8_lossy(&thing.real_path), &thing.tree, &mut words));
    words.extend(outcome.left_out.iter().map(|link| format!("without {}", String::from_utf8_lossy(&link.path))));
    words.extend(outcome.missing.iter().map(|missing| format!("{}: {}", missing.pattern, reason(&missing.why))));
    words.join(" ")
}

fn reason(why: &Why) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let by =
        |deleted_by: &Option<Depth>| deleted_by.map_or(String::new(), |Depth(depth)| format!(", deleted by {depth}"));
    match why {
        Why::Absent { parent, name, deleted_by } => {
            format!("no {} in /{}{}", text(name), text(parent), by(deleted_by))
        }
        Why::Dangling { link, target, leads_on, missing, deleted_by, is_last } => format!(
            "{} -> {}{}, no {}{}{}",
            text(link),
            text(target),
            if *leads_on { " and on" } else { "" },
            text(missing),
            by(deleted_by),
            if *is_last { "" } else { ", on the way" }
        ),
        Why::NotADirectory { path } => format!("{} is no directory", text(path)),
        Why::BrokenLink { target } => format!("broken link to {}", text(target)),
        Why::Special { path } => format!("{} is special", text(path)),
        other => format!("{other:?}"),
    }
}

fn device(path: &str) -> Entry {
    entry(path, Kind::Special(Special::CharDevice(1, 3)))
}

fn whiteout(path: &str) -> Entry {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    file(format!("{parent}/.wh.{name}").trim_start_matches('/'))
}

fn opaque(path: &str) -> Entry {
    file(&format!("{path}/.wh..wh..opq"))
}

#[test]
fn the_uppermost_layer_is_asked_for_first_and_none_below_the_one_that_decides() {
    let ls = asking(&["/bin/ls"]);
    assert_eq!(so_far(&ls, &[]), "read the next");
    assert_eq!(so_far(&ls, &[index(&[file("etc/x")])]), "read the next");
    assert_eq!(so_far(&ls, &[index(&[file("etc/x")]), index(&[file("bin/ls")])]), "bin/ls@1");
    let several = asking(&["/a", "/b"]);
    assert_eq!(so_far(&several, &[index(&[file("a")])]), "read the next");
    assert_eq!(so_far(&several, &[index(&[file("a")]), index(&[file("b"), file("a")])]), "a@0 b@1");
}

#[test]
fn what_was_deleted_or_emptied_is_not_looked_for_below() {
    let layers = [index(&[whiteout("d/f"), opaque("o"), file("o/new")])];
    assert_eq!(so_far(&asking(&["/d/f"]), &layers), "0: no f in /d, deleted by 0");
    assert_eq!(so_far(&asking(&["/d/f/x"]), &layers), "0: no f in /d, deleted by 0");
    assert_eq!(so_far(&asking(&["/o/old"]), &layers), "0: no old in /o");
    assert_eq!(so_far(&asking(&["/d"]), &layers), "read in any order");
    // All that is in it is known, and what the directory itself is, only a lower layer says.
    assert_eq!(so_far(&asking(&["/o"]), &layers), "read in any order");
    assert_eq!(so_far(&asking(&["/o"]), &[index(&[directory("o"), opaque("o"), file("o/new")])]), "o/@0 o/new@0");
    assert_eq!(so_far(&asking(&["/o/n*"]), &layers), "o/new@0");
    let whole = [index(&[whiteout("d/f")]), index(&[file("d/f"), file("d/g")])];
    assert_eq!(of_all(&asking(&["/d"]), &whole), "d/@? d/g@1");
}

#[test]
fn one_thing_that_is_known_to_be_missing_decides_for_all() {
    let layers = [index(&[whiteout("gone")])];
    assert_eq!(so_far(&asking(&["/yet/unknown", "/gone", "/b*"]), &layers), "1: no gone in /, deleted by 0");
}

#[test]
fn a_link_whose_target_lies_below_is_followed_there() {
    let top = || index(&[symlink("bin", "usr/bin"), symlink("current", "v1")]);
    assert_eq!(so_far(&asking(&["/bin/ls"]), &[top()]), "read the next");
    assert_eq!(so_far(&asking(&["/bin/ls"]), &[top(), index(&[file("usr/bin/ls")])]), "usr/bin/ls@1");
    assert_eq!(so_far(&asking(&["/current"]), &[top(), index(&[file("v1")])]), "v1@1");
    let kept = Lookup { follow: false, ..asking(&["/current"]) };
    assert_eq!(so_far(&kept, &[top()]), "current->v1@0");
    let slash = Lookup { follow: false, ..asking(&["/bin/."]) };
    assert_eq!(so_far(&slash, &[top()]), "read the next", "a slash asks for the directory");
}

#[test]
fn layers_may_be_read_in_any_order_only_when_none_can_change_where_to_look() {
    let known = [index(&[directory("opt"), file("opt/a")])];
    assert_eq!(so_far(&asking(&["/opt"]), &known), "read in any order");
    assert_eq!(so_far(&asking(&["/"]), &[]), "read in any order");
    assert_eq!(so_far(&asking(&["/opt", "/opt/a"]), &known), "read in any order");
    // Whether opt/b is a link, a lower layer says; and a glob may match links.
    assert_eq!(so_far(&asking(&["/opt", "/opt/b"]), &known), "read the next");
    assert_eq!(so_far(&asking(&["/opt/*"]), &known), "read the next");
}

#[test]
fn a_glob_needs_every_layer_that_could_add_to_it() {
    let layers = [index(&[file("a1")]), index(&[file("a2"), file("b")])];
    assert_eq!(so_far(&asking(&["/a*"]), &layers), "read the next");
    assert_eq!(of_all(&asking(&["/a*"]), &layers), "a1@0 a2@1");
    assert_eq!(of_all(&asking(&["/x*"]), &layers), "0: NoMatch { is_there_literally: false }");
    assert_eq!(of_all(&asking(&["/[b]*"]), &[index(&[file("[b]*")])]), "0: NoMatch { is_there_literally: true }");
}

#[test]
fn why_something_is_missing_is_told() {
    let layers = [
        index(&[whiteout("v2"), symlink("late", "v2")]),
        index(&[
            file("plain"),
            file("v2"),
            symlink("one", "two"),
            symlink("two", "nowhere"),
            symlink("dir", "gone/far"),
            symlink("loop", "loop"),
            hard_link("d/broken", "d/nothing"),
        ]),
    ];
    for (path, expected) in [
        ("/plain/x", "0: plain is no directory"),
        ("/plain/", "0: plain is no directory"),
        ("/nope", "0: no nope in /"),
        ("/one", "0: /one -> two and on, no nowhere"),
        ("/dir/x", "0: /dir -> gone/far, no gone, on the way"),
        ("/dir/", "0: /dir -> gone/far, no gone, on the way"),
        ("/late", "0: /late -> v2, no v2, deleted by 0"),
        ("/loop", "0: Loop"),
        ("/d/broken", "0: broken link to d/nothing"),
        ("/d/*", "0: AllBroken"),
        ("/d", "d/@? without d/broken"),
    ] {
        assert_eq!(of_all(&asking(&[path]), &layers), expected, "{path}");
    }
}

#[test]
fn a_hard_link_to_a_lower_layers_file_waits_for_that_layer() {
    let top = || index(&[directory("d"), opaque("d"), hard_link("d/b", "old")]);
    for path in ["/d/b", "/d", "/d/*"] {
        assert!(so_far(&asking(&[path]), &[top()]).starts_with("read"), "{path}");
        let found = so_far(&asking(&[path]), &[top(), index(&[file("etc/x")]), index(&[file("old")])]);
        assert!(found.ends_with("d/b@2"), "{path}: {found}");
    }
    assert_eq!(so_far(&asking(&["/d"]), &[top(), index(&[file("old")])]), "d/@0 d/b@1");
}

#[test]
fn what_need_not_be_there_is_told_beside_what_is() {
    let lookup = Lookup { optional: [0, 2].into(), ..asking(&["/gone", "/a", "/dev/null"]) };
    let layers = [index(&[file("a"), device("dev/null")])];
    assert_eq!(of_all(&lookup, &layers), "a@0 0: no gone in / 2: /dev/null is special");
    assert_eq!(so_far(&lookup, &layers), "read the next");
}

#[test]
fn device_nodes_alone_are_nothing_to_be_had_and_beside_others_are_left_to_the_caller() {
    let layers = [index(&[device("dev/null"), device("dev/tty"), file("dev/x")])];
    assert_eq!(of_all(&asking(&["/dev/null"]), &layers), "0: /dev/null is special");
    assert_eq!(of_all(&asking(&["/dev/[nt]*"]), &layers), "0: /dev/null is special");
    assert_eq!(of_all(&asking(&["/dev/[nx]*"]), &layers), "dev/null@0 dev/x@0");
    let listing = Lookup { needs_content: false, ..asking(&["/dev/null"]) };
    assert_eq!(of_all(&listing, &layers), "dev/null@0");
}

#[test]
fn a_link_that_a_glob_matches_and_that_leads_nowhere_is_kept_with_the_reason() {
    let layers = [index(&[symlink("l/gone", "nowhere"), symlink("l/loop", "loop"), symlink("l/ok", "/f"), file("f")])];
    let view = View::new(layers.iter().collect(), true);
    let Ok(Next::Done(outcome)) = asking(&["/l/*"]).next(&view) else { panic!("all is there") };
    let kept: Vec<Option<bool>> =
        outcome.planned.iter().map(|thing| thing.kept.as_ref().map(|link| link.is_loop)).collect();
    assert_eq!(kept, [Some(false), Some(true), None]);
    assert_eq!(done(&outcome), "l/gone->nowhere@0 l/loop->loop@0 f@0");
}

#[test]
fn links_that_would_repeat_a_tree_without_end_are_refused() {
    let mut entries: Vec<Entry> = (0..1000).map(|i| file(&format!("d/{i}"))).collect();
    entries.extend((0..1000).map(|i| symlink(&format!("l{i}"), "d")));
    assert_eq!(of_all(&asking(&["/l*"]), &[index(&entries)]), "0: TooMany");
}

/// How many layers are read, and which contents of those asked for passed by without being kept, when `image` (the uppermost layer
/// first) is read as it is asked for. The answer comes beside.
fn driven(lookup: Lookup, image: &[Vec<Entry>]) -> (usize, usize, String) {
    let lookup = Arc::new(lookup);
    let allowance: Arc<Allowance> = Arc::default();
    let mut candidates = Candidates::new(Arc::clone(&lookup.patterns), lookup.follow);
    let (mut known, mut kept): (Vec<Arc<KnownLayer>>, Vec<(Depth, DataOffset)>) = Default::default();
    loop {
        let next = ask(&known, known.len() == image.len(), |view| lookup.next(view)).unwrap();
        if !matches!(next, Ok(Next::Read { .. })) {
            let mut missed = 0;
            if let Ok(Next::Done(outcome)) = &next {
                outcome.planned.iter().for_each(|thing| {
                    thing.tree.files(&mut |depth, content, _| {
                        missed += usize::from(!kept.contains(&(depth, content.data)));
                    });
                });
            }
            return (known.len(), missed, words(next));
        }
        let depth = Depth(known.len());
        let passing =
            Passing::new(Arc::clone(&lookup), known.clone(), Known::default(), candidates, Arc::clone(&allowance));
        let mut passing = passing.unwrap();
        for entry in &image[depth.0] {
            if passing.take(entry).unwrap().is_some() {
                passing.keep(DataOffset(entry.data_offset));
                kept.push((depth, DataOffset(entry.data_offset)));
            }
        }
        let (layer, left) = passing.finish();
        candidates = left;
        known.push(KnownLayer::new(layer));
    }
}

#[test]
fn a_target_that_comes_after_its_link_or_has_the_paths_own_name_is_kept_as_it_passes_by() {
    let numbered = |entries: &[Entry]| -> Vec<Entry> {
        entries.iter().enumerate().map(|(at, entry)| Entry { data_offset: at as u64, ..entry.clone() }).collect()
    };
    let base = [symlink("bin", "usr/bin"), directory("usr/bin"), file("usr/bin/dash"), symlink("usr/bin/sh", "dash")];
    let in_order = numbered(&[&base[..], &[file("usr/bin/zsh")]].concat());
    assert_eq!(driven(asking(&["/bin/zsh"]), std::slice::from_ref(&in_order)), (1, 0, "usr/bin/zsh@0".to_owned()));
    let link_last = numbered(&[file("usr/bin/ls"), file("opt/ls"), symlink("bin", "usr/bin")]);
    assert_eq!(driven(asking(&["/bin/ls"]), &[link_last]), (1, 0, "usr/bin/ls@0".to_owned()));
    // By another name, and before its link: that takes a second reading.
    assert_eq!(driven(asking(&["/bin/sh"]), &[in_order]), (1, 1, "usr/bin/dash@0".to_owned()));
}

#[test]
fn what_a_path_may_turn_out_to_be_by_its_name_alone_is_bounded() {
    let many: Vec<Entry> = (0..1000).map(|i| file(&format!("d{i}/ls"))).collect();
    let huge = Entry { kind: Kind::File { size: 1 << 40, sparse: false }, ..file("usr/bin/ls") };
    let kept = |entries: &[Entry]| {
        let lookup = Arc::new(asking(&["/bin/ls"]));
        let candidates = Candidates::new(Arc::clone(&lookup.patterns), true);
        let passing = Passing::new(lookup, Vec::new(), Known::default(), candidates, Arc::default());
        let mut passing = passing.unwrap();
        entries.iter().filter(|entry| passing.take(entry).unwrap().is_some()).count()
    };
    assert_eq!(kept(&many), super::passing::MAX_GUESSES);
    assert_eq!(kept(&[huge]), 0);
}

#[test]
fn random_images_come_to_the_same_however_few_of_their_layers_are_read() {
    let (mut saved, mut missed_in_all, mut answers) = (0, 0, [0; 2]);
    for seed in 0..600 {
        let mut layers = image(seed);
        layers.reverse();
        let mut random = Random::new(!seed);
        let glob = format!("/{}/*", random.path().split('/').next().unwrap());
        let patterns = [[random.path(), random.path()], [random.path(), glob]];
        for (optional, patterns) in patterns.iter().enumerate() {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let optional = if optional == 0 { [].into() } else { [0, 1].into() };
            let lookup = Lookup { optional, follow: seed % 3 > 0, ..asking(&patterns) };
            let explain = || format!("image {seed}, {patterns:?}, the uppermost layer first: {layers:#?}");
            let indexes: Vec<LayerIndex> = layers
                .iter()
                .map(|entries| {
                    let mut index = LayerIndex::default();
                    entries.iter().for_each(|entry| drop(index.insert(entry).unwrap()));
                    index
                })
                .collect();
            let expected = of_all(&lookup, &indexes);
            let (read, missed, answer) = driven(lookup.clone(), &layers);
            let is_error = lookup.next(&View::new(indexes.iter().collect(), true)).is_err();
            // What is missing first may be known later than what is missing second.
            if !is_error {
                assert_eq!(answer, expected, "{}", explain());
            }
            answers[usize::from(is_error)] += 1;
            for depth in read..indexes.len() {
                let with_more = lookup.next(&View::new(indexes[..depth].iter().collect(), false));
                assert!(with_more.is_err() == is_error, "no layer more changes it: {}", explain());
                assert!(is_error || words(with_more) == answer, "no layer more changes it: {}", explain());
            }
            saved += indexes.len() - read;
            missed_in_all += missed;
            let has_links =
                layers.iter().flatten().any(|entry| matches!(entry.kind, Kind::Symlink(_) | Kind::HardLink(_)));
            assert!(has_links || missed == 0, "nothing passes by without links: {}", explain());
        }
    }
    assert!(saved > 300 && answers.iter().all(|count| *count > 200), "{saved} {answers:?}");
    assert!(missed_in_all < 100, "{missed_in_all}");
}

#[test]
fn a_layer_can_be_left_when_all_that_was_asked_for_has_been_kept_or_lies_above() {
    let lookup = Arc::new(asking(&["/a", "/b"]));
    let above = vec![KnownLayer::new(index(&[file("b")]))];
    let candidates = Candidates::new(Arc::clone(&lookup.patterns), true);
    let mut passing = Passing::new(lookup, above, Known::default(), candidates, Arc::default()).unwrap();
    assert_eq!(passing.is_enough(), Ok(false));
    let [other, wanted] = [file("x"), Entry { data_offset: 2048, ..file("a") }];
    assert_eq!(passing.take(&other), Ok(None));
    let wanting = passing.take(&wanted).unwrap().unwrap();
    assert_eq!((wanting.path.as_slice(), wanting.patterns.as_slice()), (b"a".as_slice(), [0].as_slice()));
    assert_eq!(passing.is_enough(), Ok(false), "it has not been kept");
    passing.keep(DataOffset(2048));
    assert_eq!(passing.is_enough(), Ok(true));
}
