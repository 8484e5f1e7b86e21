//! Our own tables with every field of every structure changed, one at a time, under digests that are right: a reader has to notice, or what
//! comes out is something that the layer has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use docker_artifact::artifact::get::{Proof, Report};
use docker_artifact::artifact::{Error, Tables};
use docker_artifact::progress::Silent;
use docker_artifact::source::SourceError;
use tokio::runtime::Runtime;

use crate::support::apart::{Apart, Value};
use crate::support::labelled::client;
use crate::support::library::{directory_in_memory, get_by};
use crate::support::own_table::table_of;
use crate::support::*;

/// What a table says of names may be another thing than what the layer says: whoever could write that can say that something is not there.
const NAMES: [&str; 5] = ["first", "key", "length of key", "shared", "target"];

fn layer() -> Layer {
    Layer::new([
        dir("etc").mtime(1_600_000_000),
        file("etc/before", noise(1, 70_000)),
        file("etc/config", "deep = true\n").mode(0o600).owner(7, 8).xattr("user.x", b"y"),
        file("usr/bin/tool", noise(2, 50_000)).mode(0o755),
        hardlink("usr/bin/same", "usr/bin/tool"),
        symlink("usr/bin/link", "tool"),
        char_device("usr/null", 1, 3),
        fifo("usr/pipe"),
        whiteout("etc/gone"),
        opaque("srv/opaque"),
        file("usr/lib/empty", ""),
        file("usr/lib/after", noise(3, 70_000)),
    ])
}

/// An image of that layer, what it is like, and how it is got.
struct Case {
    registry: Registry,
    reference: String,
    packed: Packed,
    runtime: Runtime,
    truth: BTreeMap<String, Vec<u8>>,
}

impl Case {
    fn new(layer: Layer) -> Self {
        let (registry, reference, packed) = Registry::serving(&Image::new().layer(layer));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut case = Case { registry, reference, packed, runtime, truth: BTreeMap::new() };
        let (report, truth) = case.get(Tables::default());
        assert!(report.is_ok() && truth.len() > 1, "{:?}", truth.keys());
        case.truth = truth;
        case
    }

    fn stored(&self) -> &[u8] {
        &self.packed.layers[0].bytes
    }

    /// What comes of getting everything, and the files that are there then.
    fn get(&self, tables: Tables) -> (Result<Report, Error>, BTreeMap<String, Vec<u8>>) {
        let directory = directory_in_memory();
        let got = get_by(directory.path(), client(&self.reference), &["/"], false, tables, Arc::new(Silent));
        let report = self.runtime.block_on(got);
        let found = if report.is_ok() { contents(directory.path()) } else { BTreeMap::new() };
        (report, found)
    }

    /// Gets everything by this table, as one that is attached and as one that the image's digest covers.
    fn attached(&self, apart: &Apart) -> [Result<(Proof, bool), Error>; 2] {
        let (table, top) = apart.together();
        let attached = OwnTables::of(&self.packed, [(table.as_slice(), &top)].into_iter(), &self.registry, "team/app");
        [attached.tables(), attached.vouched_for().tables()].map(|tables| self.outcome(tables))
    }

    /// The proof, and whether all files are the layer's. A content that no file of the layer has fails the test.
    fn outcome(&self, tables: Tables) -> Result<(Proof, bool), Error> {
        let (report, found) = self.get(tables);
        let contents: BTreeSet<&Vec<u8>> = self.truth.values().collect();
        assert!(found.values().all(|content| contents.contains(content)));
        Ok((report?.files[0].proof, found == self.truth))
    }
}

/// All files below `directory`.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What a field is made to say.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let near = [number.wrapping_add(1), number.wrapping_sub(1), number.wrapping_add(1024)];
            let all: BTreeSet<u64> = near.into_iter().chain([0, 1 << 32, 1 << 63, u64::MAX]).collect();
            all.into_iter().filter(|other| other != number).map(Value::Number).collect()
        }
        Value::Byte(byte) => (0..8).map(|bit| Value::Byte(byte ^ (1 << bit))).collect(),
        Value::Bytes(bytes) if bytes.is_empty() => Vec::new(),
        Value::Bytes(bytes) => {
            let with = |at: usize, byte: u8| [&bytes[..at], &[byte], &bytes[at + 1..]].concat();
            let last = bytes.len() - 1;
            let all = [with(0, b'/'), with(0, 0), with(last, 0), with(0, b'z'), vec![b'.'; bytes.len()]];
            all.into_iter().filter(|other| other != bytes).map(Value::Bytes).collect()
        }
    }
}

/// Changes each field of these blocks of the table, of each name at most `most` in a block.
fn change(layer: Layer, blocks: impl Fn(usize, usize) -> bool, most: usize) {
    let case = Case::new(layer);
    let table = table_of(case.stored(), true).0;
    let apart = Apart::of(&table);
    assert!(apart.together().0 == table, "a table that is put together again is the same");
    let (mut seen, mut noticed) = (BTreeMap::new(), 0);
    for at in apart.fields().filter(|at| blocks(at.0, apart.blocks.len())) {
        let field = &apart.blocks[at.0].fields[at.1];
        let count: &mut usize = seen.entry((at.0, field.name)).or_default();
        *count += 1;
        if *count > most {
            continue;
        }
        for value in others(&field.value) {
            let what = format!("{} {:?} -> {value:?}", field.name, field.value);
            let is_named = NAMES.contains(&field.name);
            for (outcome, is_covered) in case.attached(&apart.with(at, value)).into_iter().zip([false, true]) {
                match outcome {
                    Ok((Proof::Layer, is_right)) => {
                        assert!(is_right, "{what}");
                        noticed += 1;
                    }
                    Ok((_, is_right)) => assert!(is_right || is_named, "{what}"),
                    Err(Error::Source(SourceError::Mismatch { .. })) if is_covered => noticed += 1,
                    Err(error) => assert!(is_named, "{what}: {error}"),
                }
            }
        }
    }
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn every_field_of_the_top_node() {
    change(layer(), |block, count| block == count - 1, 10);
}

#[test]
fn every_field_of_a_middle_node() {
    change(layer(), |block, count| block == count - 2, 10);
}

#[test]
fn every_field_of_a_leaf() {
    change(layer(), |block, count| block < count - 2, 3);
}

#[test]
fn every_field_of_a_leaf_where_the_layer_is_plain() {
    change(layer().plain(), |block, count| block < count - 2, 1);
}

#[test]
fn every_field_of_a_leaf_where_the_layer_is_of_zstd_frames() {
    change(layer().zstd_frames(5), |block, count| block < count - 2, 1);
}

/// Whoever can write to the cache decides what comes out of it; what is wrong at the end of a table, and in what its blob's hash had come to,
/// is seen all the same.
#[test]
fn every_number_of_the_trailer_and_of_the_trail() {
    let case = Case::new(layer());
    let (table, digest) = (table_of(case.stored(), false).0, case.packed.layers[0].digest());
    let (trailer, trail) = (table.len() - 72, u64::from_le_bytes(table[table.len() - 56..][..8].try_into().unwrap()));
    let numbers = (trailer..trailer + 32).step_by(8).chain((trail as usize..trailer).step_by(40));
    for at in numbers {
        let number = u64::from_le_bytes(table[at..at + 8].try_into().unwrap());
        for other in others(&Value::Number(number)) {
            let Value::Number(other) = other else { panic!("a number") };
            let tables = OwnTables::cached(&case.packed);
            tables.edit(&digest, |bytes| bytes[at..at + 8].copy_from_slice(&other.to_le_bytes()));
            let (_, is_right) = case.outcome(tables.tables()).unwrap();
            assert!(is_right, "{number} at {at} of {} -> {other}", table.len());
        }
    }
}

#[test]
fn a_table_that_says_simple_of_a_layer_that_is_not() {
    let noise = || file("noise", noise(9, 70_000));
    for entries in [
        vec![file("twice", "first"), file("twice", "second"), noise()],
        vec![file("file", "x"), file("file/below", "y"), noise()],
        vec![hardlink("link", "later"), file("later", "l"), noise()],
        vec![file("file", "x"), dir("file"), file("file/below", "y"), noise()],
        vec![symlink("link", "d"), file("link/below", "y"), dir("d"), noise()],
    ] {
        let case = Case::new(Layer::new(entries));
        let apart = Apart::of(&table_of(case.stored(), true).0);
        let top = apart.blocks.len() - 1;
        let is_simple = apart.blocks[top].fields.iter().position(|field| field.name == "is simple").unwrap();
        assert_eq!(apart.blocks[top].fields[is_simple].value, Value::Byte(0));
        for outcome in case.attached(&apart.with((top, is_simple), Value::Byte(1))) {
            let (proof, is_right) = outcome.unwrap();
            assert!(proof != Proof::Layer || is_right, "{:?}", case.truth.keys());
        }
    }
}
