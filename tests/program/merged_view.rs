//! The merged view of random stacks of layers, compared with the kernel's own, name by name and path by path.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::panic::resume_unwind;

use crate::stacks::{Merged, Place, Resolved, Seen, StackEntry, generate, get, image, write_tar};
use docker_artifact::layer::content::DataOffset;
use docker_artifact::layer::{self, Decompressed, Flow, Kind, LayerError};
use docker_artifact::rootfs::walk::{self, Found};
use docker_artifact::rootfs::{Child, Directory, LayerIndex, NodeKind, View};
use sha2::{Digest, Sha256};

/// How many stacks are compared.
const STACKS: u64 = 500;
/// How many at a time.
const THREADS: usize = 4;

/// Whether the kernel can be asked; otherwise says that `test` was skipped, and why.
///
/// # Panics
/// Where it cannot and `DOCKER_ARTIFACT_REQUIRE_REAL` is set.
fn can_run(test: &str) -> bool {
    let Some(reason) = crate::stacks::why_not() else { return true };
    assert!(std::env::var_os("DOCKER_ARTIFACT_REQUIRE_REAL").is_none(), "{test} must run here, but {reason}");
    // Straight to the descriptor: the test harness swallows what eprintln! says in a test that passes.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {reason}");
    false
}

/// A layer as the program reads it.
struct ReadLayer {
    index: LayerIndex,
    contents: HashMap<DataOffset, String>,
}

fn read(layer: &[StackEntry]) -> ReadLayer {
    let tar = write_tar(layer);
    let (mut index, mut contents) = (LayerIndex::default(), HashMap::new());
    let visited = layer::scan(Decompressed::new(&tar[..]).expect("a plain tar"), &mut |entry, data| {
        if let Kind::File { .. } = entry.kind {
            let mut content = Vec::new();
            data.read_to_end(&mut content)?;
            contents.insert(DataOffset(entry.data_offset), hex(&Sha256::digest(&content)));
        }
        index.insert(entry).expect("generated paths are not deep");
        Ok::<_, LayerError>(Flow::Continue)
    });
    visited.expect("a generated layer can be read");
    ReadLayer { index, contents }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything below a directory of the view, by path.
fn list(layers: &[ReadLayer], view: &View<'_>, directory: &Directory, listing: &mut BTreeMap<Vec<u8>, Seen>) {
    for (name, child) in view.list(directory).expect("all layers are in the view") {
        let path = if directory.path.is_empty() { name } else { [&directory.path[..], b"/", &name].concat() };
        let seen = match child {
            Child::Directory(child) => {
                list(layers, view, &child, listing);
                let described = child.described_by.and_then(|layer| view.node(layer, &path));
                Seen::Directory { mode: described.map_or(0o755, |node| node.metadata().mode) }
            }
            Child::Leaf { layer } => {
                let Found::Leaf(leaf) = walk::leaf(view, layer, &path) else {
                    panic!("{} leads nowhere", path.escape_ascii())
                };
                match &leaf.node.kind {
                    NodeKind::File(content) => Seen::File {
                        mode: leaf.node.metadata().mode,
                        sha256: layers[leaf.layer.0].contents[&content.data].clone(),
                    },
                    NodeKind::Symlink(target) => Seen::Symlink(target.to_vec()),
                    NodeKind::Special(_) => Seen::Fifo { mode: leaf.node.metadata().mode },
                    other => panic!("{} is {other:?}", path.escape_ascii()),
                }
            }
            Child::Absent { .. } | Child::Unknown => panic!("{} is listed and not there", path.escape_ascii()),
        };
        listing.insert(path, seen);
    }
}

fn resolve(view: &View<'_>, path: &str, follow: bool) -> Resolved {
    match walk::resolve(view, path.as_bytes(), follow) {
        Found::Directory(directory) => Resolved::Path(directory.path),
        Found::Leaf(leaf) => Resolved::Path(leaf.path),
        Found::Absent { .. } => Resolved::Absent,
        Found::NotADirectory { .. } => Resolved::NotADirectory,
        Found::Loop => Resolved::Loop,
        Found::BrokenLink { .. } | Found::Unknown { .. } => panic!("all layers are in the view, and all link targets"),
    }
}

/// Compares one stack, and gives how many names it shows.
fn compare(seed: u64) -> usize {
    let stack = generate(seed);
    let merged = Merged::new(&stack).unwrap_or_else(|error| panic!("stack {seed}: {error}"));
    let expected = merged.listing().expect("what is mounted can be read");
    let layers: Vec<ReadLayer> = stack.iter().rev().map(|layer| read(layer)).collect();
    let view = View::new(layers.iter().map(|layer| &layer.index).collect(), true);
    let mut listing = BTreeMap::new();
    list(&layers, &view, &view.root(), &mut listing);
    let explain = || format!("stack {seed}, the lowest layer first: {stack:#?}");
    for path in expected.keys().chain(listing.keys()) {
        let shown = path.escape_ascii();
        assert_eq!(listing.get(path), expected.get(path), "\"{shown}\" in {}", explain());
    }
    for path in paths_to_try(seed, &expected) {
        for follow in [true, false] {
            let wanted = merged.resolve(&path, follow).expect("the kernel can be asked");
            assert_eq!(resolve(&view, &path, follow), wanted, "\"{path}\" (follow: {follow}) in {}", explain());
        }
    }
    let (names, place) = (expected.len(), Place::of(seed));
    let mut written = expected;
    written.retain(|_, seen| !matches!(seen, Seen::Fifo { .. }));
    assert_eq!(get(&image(&stack, place), place, true), written, "got from {place:?}: {}", explain());
    names
}

/// Paths through all that is there: every name, and through every symlink to the others.
fn paths_to_try(seed: u64, listing: &BTreeMap<Vec<u8>, Seen>) -> Vec<String> {
    let names: Vec<String> = listing.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    let mut paths = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let other = &names[(number * 7 + seed as usize) % names.len()];
        let last = other.rsplit('/').next().unwrap_or(other);
        paths.push(format!("/{name}"));
        paths.push(format!("{name}/"));
        paths.push(format!("{name}/{last}"));
        paths.push(format!("{name}/../{last}"));
        paths.push(format!("./{name}/../../../{other}/."));
    }
    paths
}

/// Compares each stack by `compare`, and gives the sum of what that gives.
fn each_stack(compare: fn(u64) -> usize) -> usize {
    // Mounting, and starting the program, is mostly waiting.
    std::thread::scope(|scope| {
        let compare_each = move |first: u64| (first..STACKS).step_by(THREADS).map(compare).sum::<usize>();
        let threads: Vec<_> = (0..THREADS as u64).map(|first| scope.spawn(move || compare_each(first))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).sum()
    })
}

#[test]
fn the_view_of_random_stacks_is_the_kernels_and_so_is_what_each_source_gives() {
    if !can_run("the_view_of_random_stacks_is_the_kernels_and_so_is_what_each_source_gives") {
        return;
    }
    let names = each_stack(compare);
    assert!(names > 10 * STACKS as usize, "{names} names in {STACKS} stacks are too few to mean much");
}

#[test]
fn random_stacks_come_out_of_every_source_as_out_of_a_registry() {
    each_stack(|seed| {
        let (stack, place) = (generate(seed), Place::of(seed));
        let expected = get(&image(&stack, Place::Registry), Place::Registry, false);
        assert_eq!(get(&image(&stack, place), place, false), expected, "got from {place:?}: stack {seed}: {stack:#?}");
        expected.len()
    });
}
