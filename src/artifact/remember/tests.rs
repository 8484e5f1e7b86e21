use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{Cursor, Read, Seek};

use super::*;
use crate::artifact::collect::NoContent;
use crate::artifact::fixture::{As, Member, Memory, file, gzip, tar};
use crate::artifact::survey::Survey;
use crate::artifact::tables::Tables;
use crate::artifact::tabulate::tabulate;
use crate::image::Image;
use crate::layer::Kind;
use crate::layer::checkpoint::ExtentReader;
use crate::rootfs::Pattern;
use crate::rootfs::lookup::Lookup;
use crate::source::{Source, StoredLayer};
use crate::support::random::Random;
use crate::table::own::{OwnTable, Row, Step, Trail as OwnTrail, Trailer, Wanted};

/// Tables in memory.
#[derive(Default)]
struct Kept {
    tables: Arc<Mutex<HashMap<Digest, Vec<u8>>>>,
    /// Whether the disk is full.
    is_full: bool,
}

impl TableStore for Kept {
    fn room(&self, blob: &Digest) -> io::Result<Option<Room>> {
        if self.tables.lock().unwrap().contains_key(blob) {
            return Ok(None);
        }
        let file = match self.is_full {
            true => OpenOptions::new().write(true).open("/dev/full")?,
            false => tempfile::tempfile()?,
        };
        let (mut written, tables, blob) = (file.try_clone()?, Arc::clone(&self.tables), blob.clone());
        let keep = move || {
            let mut table = Vec::new();
            written.rewind()?;
            written.read_to_end(&mut table)?;
            tables.lock().unwrap().insert(blob, table);
            Ok(())
        };
        Ok(Some(Room { file, scratch: Box::new(tempfile::tempfile), keep: Box::new(keep) }))
    }
}

/// Looks up `path` in `memory`, remembers in `kept` what is read for it, and says what somebody who looks for faults hears.
async fn look(memory: Memory, path: &str, verify: Verify, kept: Kept) -> (Result<(), String>, Vec<String>) {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let hears = Arc::clone(&heard);
    let remember = Remember::new(Arc::new(kept), move |line| hears.lock().unwrap().push(line.to_owned()));
    let remember = Arc::new(remember);
    let lookup = Lookup { patterns: [Pattern::parse(path.as_bytes()).unwrap()].into(), ..Lookup::default() };
    let image = Arc::clone(&memory.image);
    let source: Arc<dyn Source> = Arc::new(memory);
    let tables = Tables { remember: Some(Arc::clone(&remember)), ..Tables::default() };
    let mut survey = Survey::new(source, &image, Arc::new(NoContent), lookup, verify).told_by(tables);
    let outcome = survey.outline("memory").await.map(|_| ()).map_err(|error| error.to_string());
    drop(survey);
    remember.settle();
    let heard = heard.lock().unwrap().clone();
    (outcome, heard)
}

/// All rows of a table of this blob.
fn rows(table: &[u8], blob: (&Digest, u64)) -> Vec<Row> {
    let bytes = |part: &crate::table::own::Part| &table[part.range.0 as usize..part.range.1 as usize];
    let trailer = Trailer::read(&table[table.len() - Trailer::LENGTH..], table.len() as u64).unwrap();
    let mut query = OwnTable::of(bytes(&trailer.top), &trailer.top, blob)
        .unwrap()
        .query(Wanted { paths: Vec::new(), below: vec![Vec::new()] });
    let mut rows = Vec::new();
    while let Step::Read(parts) = query.step() {
        for part in parts {
            query
                .give(&part, bytes(&part), &mut |row| {
                    rows.push(row);
                    Ok(())
                })
                .unwrap();
        }
    }
    rows
}

/// What the table says is the content of `row`, read of `blob` alone as far as that is said.
fn content(table: &[u8], blob: &[u8], row: &Row) -> Vec<u8> {
    let Kind::File { size, .. } = row.entry.kind else { return Vec::new() };
    let Some(located) = &row.content else { return Vec::new() };
    let window = located.start.state.window();
    let window = window.map_or(&[][..], |part| &table[part.range.0 as usize..part.range.1 as usize]);
    let stored = &blob[located.start.compressed as usize..located.end as usize];
    let mut reader = ExtentReader::new(&located.start.state.checkpoint(window).unwrap(), stored).unwrap();
    let before = row.entry.data_offset - located.start.uncompressed;
    io::copy(&mut (&mut reader).take(before), &mut io::sink()).unwrap();
    let mut content = Vec::new();
    reader.take(size).read_to_end(&mut content).unwrap();
    content
}

/// Files of noise, some of which are long, and others.
fn contents() -> Vec<(String, Vec<u8>)> {
    let random = &mut Random::new(5);
    let length = |random: &mut Random| if random.one_in(5) { 300_000 } else { 1 + random.below(5_000) };
    (0..60)
        .map(|nth| {
            (format!("d/{nth:02}"), {
                let length = length(random);
                random.bytes(length)
            })
        })
        .collect()
}

fn layer(contents: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<_> = contents.iter().map(|(path, content)| Member::File(path, content)).collect();
    tar(&[&[Member::Directory("d")], files.as_slice(), &[file("empty", ""), Member::Link("link", "d")]].concat())
}

/// That `table` of `blob` tells of all of `contents`; digests where it `has_digests`.
fn assert_tells(table: &[u8], blob: &[u8], contents: &[(String, Vec<u8>)], has_digests: bool) {
    let told: HashMap<Vec<u8>, Row> = rows(table, (&Digest::of(blob), blob.len() as u64))
        .into_iter()
        .map(|row| (row.entry.path.clone(), row))
        .collect();
    for (path, expected) in contents {
        let row = &told[path.as_bytes()];
        assert!(content(table, blob, row) == *expected, "{path}");
        let digest = row.content.as_ref().unwrap().digest.clone();
        assert_eq!(digest, has_digests.then(|| Digest::of(expected)), "{path}");
    }
    for path in ["d", "empty", "link"] {
        assert!(told[path.as_bytes()].content.is_none(), "{path}");
    }
}

#[tokio::test]
async fn a_layer_that_was_read_to_its_end_leaves_a_table_that_tells_of_all_of_it() {
    let contents = contents();
    let tar = layer(&contents);
    let zstd = tar.chunks(100_000).flat_map(|frame| zstd::encode_all(frame, 1).unwrap()).collect::<Vec<_>>();
    for (blob, stored) in [
        (gzip(&tar), As::Streams),
        (gzip(&tar), As::Stored),
        (zstd.clone(), As::Streams),
        (zstd, As::Stored),
        (tar.clone(), As::Streams),
    ] {
        let kept = Kept::default();
        let tables = Arc::clone(&kept.tables);
        // The lower layer is not looked at, and leaves nothing.
        let lower = gzip(&self::tar(&[file("d/00", "lower")]));
        let memory = Memory::new(vec![lower, blob.clone()], stored);
        assert_eq!(look(memory, "/d/30", Verify::WhereRead, kept).await, (Ok(()), Vec::new()));
        let tables = tables.lock().unwrap();
        assert!(tables.len() <= 2);
        let table = &tables[&Digest::of(&blob)];
        assert_tells(table, &blob, &contents, false);
        if stored == As::Stored {
            assert_compares(table, &blob);
        }
    }
}

/// That any part of `blob` can be compared by the trail of `table`.
fn assert_compares(table: &[u8], blob: &[u8]) {
    let trailer = Trailer::read(&table[table.len() - Trailer::LENGTH..], table.len() as u64).unwrap();
    let mut trail = OwnTrail::new(Cursor::new(table), &trailer.trail).unwrap();
    let digest = Digest::of(blob);
    for start in (0..blob.len() as u64 - 10).step_by(99_999) {
        let around = trail.around(start..start + 10, (&digest, blob.len() as u64)).unwrap().unwrap();
        assert!(around.range.end - around.range.start <= 64 << 10, "{:?}", around.range);
        let mut hasher = around.hasher;
        hasher.update(&blob[around.range.start as usize..around.range.end as usize]);
        assert_eq!(hasher.finish(), around.expected);
    }
}

#[tokio::test]
async fn a_layer_that_was_not_read_to_its_end_or_is_another_one_leaves_no_table() {
    let blob = gzip(&layer(&contents()));
    let memory = |blob: &[u8], stored| Memory::new(vec![blob.to_vec()], stored);
    let mut other = memory(&blob, As::Stored);
    let mut image = Image::clone(&other.image);
    image.layers[0].blob.digest = Some(Digest::of(b"another"));
    other.image = Arc::new(image);
    for (what, memory, verify, is_found) in [
        ("stopped", memory(&blob, As::Streams), Verify::Never, true),
        ("cut", memory(&blob[..blob.len() / 2], As::Streams), Verify::WhereRead, false),
        ("damaged", memory(&[&blob[..blob.len() - 6], &[1; 6]].concat(), As::Stored), Verify::WhereRead, false),
        ("another", other, Verify::WhereRead, false),
        ("stepped through", memory(&layer(&contents()), As::Stored), Verify::WhereRead, true),
    ] {
        let kept = Kept::default();
        let tables = Arc::clone(&kept.tables);
        let (outcome, heard) = look(memory, "/d/30", verify, kept).await;
        assert_eq!((outcome.is_ok(), heard), (is_found, Vec::new()), "{what}: {outcome:?}");
        assert!(tables.lock().unwrap().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_to_whoever_looks_for_faults_and_to_nobody_else() {
    let blob = gzip(&layer(&contents()));
    let kept = Kept { is_full: true, ..Kept::default() };
    let tables = Arc::clone(&kept.tables);
    let (outcome, heard) = look(Memory::new(vec![blob], As::Streams), "/d/30", Verify::WhereRead, kept).await;
    assert_eq!(outcome, Ok(()));
    assert!(matches!(heard.as_slice(), [line] if line.contains("No space left on device")), "{heard:?}");
    assert!(tables.lock().unwrap().is_empty());
}

#[test]
fn a_table_for_others_has_the_digest_of_each_file_and_is_always_the_same() {
    let contents = contents();
    let tar = layer(&contents);
    for blob in [gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap(), tar] {
        let memory = Memory::new(vec![blob.clone()], As::Streams);
        let layer = &memory.image.layers[0];
        let write = |read: LayerBlob| {
            let written = tabulate(read, (layer, 1), tempfile::tempfile().unwrap(), Box::new(tempfile::tempfile));
            let mut written = written.unwrap().unwrap();
            let mut table = Vec::new();
            written.file.rewind().unwrap();
            written.file.read_to_end(&mut table).unwrap();
            assert_eq!((written.length, written.rows), (table.len() as u64, contents.len() as u64 + 3));
            table
        };
        let table = write(LayerBlob::Stream(Box::new(Cursor::new(blob.clone())), Arc::default()));
        let promise = Some(Promise::Blob(Digest::of(&blob)));
        assert!(write(LayerBlob::Stored(StoredLayer::of(&blob, promise))) == table);
        assert_tells(&table, &blob, &contents, true);
        let other = StoredLayer::of(&blob, Some(Promise::Blob(Digest::of(b"another"))));
        let file = tempfile::tempfile().unwrap();
        assert!(tabulate(LayerBlob::Stored(other), (layer, 1), file, Box::new(tempfile::tempfile)).is_err());
    }
}
