//! The examples of `docs/formats.md` against the program: what it writes of that layer, and what it reads. And the tests that
//! `docs/trust.md` names: each is there.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use docker_artifact::artifact::range_index::{Listed, Part, StoredExtent, listing_digest};
use docker_artifact::artifact::table_index;
use docker_artifact::image::digest::{ChainId, DiffId, Digest};
use docker_artifact::image::label::Record;
use docker_artifact::layer::checkpoint::ExtentReader;
use docker_artifact::layer::{self, Content, Flow, LayerError, Tracked};

const FORMATS: &str = include_str!("../../docs/formats.md");
const TRUST: &str = include_str!("../../docs/trust.md");

/// The text of the example `name`.
fn example(name: &str) -> &'static str {
    let (_, block) = FORMATS.split_once(&format!("<!-- example: {name} -->\n```")).unwrap();
    let (_, text) = block.split_once('\n').unwrap();
    text.split_once("\n```").unwrap().0
}

fn blob() -> Vec<u8> {
    STANDARD.decode(example("blob").replace('\n', "")).unwrap()
}

fn part() -> Part {
    serde_json::from_str(example("part")).unwrap()
}

#[test]
fn the_label_is_written_as_in_the_example() {
    let record: Record = serde_json::from_str(example("label")).unwrap();
    assert_eq!(record.to_label(), example("label"));
    assert_eq!(part().record, record);
}

#[test]
fn the_chain_is_that_of_the_only_layer() {
    let record = part().record;
    let Record::File { layer, chain, .. } = &record else { panic!("a file") };
    assert_eq!(ChainId::of(std::slice::from_ref(layer)).as_ref(), Some(chain));
}

#[test]
fn the_extent_is_measured_as_in_the_example() {
    let blob = blob();
    let Record::File { layer, .. } = part().record else { panic!("a file") };
    let mut extents = Vec::new();
    layer::scan(Tracked::new(&blob[..]).unwrap(), &mut |entry, data: &mut dyn Content| {
        std::io::copy(data, &mut std::io::sink()).map_err(LayerError::Io)?;
        if entry.path == b"bin/hello" {
            extents.push(StoredExtent::new(layer.clone(), Digest::of(&blob), &data.extent().unwrap()));
        }
        Ok::<_, LayerError>(Flow::Continue)
    })
    .unwrap();
    assert_eq!(extents, part().extents, "{}", serde_json::to_string_pretty(&extents).unwrap());
}

#[test]
fn the_file_is_read_through_the_extent_as_in_the_example() {
    let (blob, part) = (blob(), part());
    let Record::File { size, digest, offset, layer, .. } = &part.record else { panic!("a file") };
    let [stored] = &part.extents[..] else { panic!("one extent") };
    let extent = stored.extent(blob.len() as u64).unwrap();
    let range = extent.compressed.start as usize..extent.compressed.end as usize;
    assert!(FORMATS.contains(&format!("the bytes {} to {} of the blob", range.start, range.end - 1)));
    let mut reader = ExtentReader::new(&extent.checkpoint, &blob[range]).unwrap();
    let mut header = [0; 512];
    reader.read_exact(&mut header).unwrap();
    assert_eq!(extent.uncompressed.start + 512, *offset);
    let mut content = vec![0; *size as usize];
    reader.read_exact(&mut content).unwrap();
    assert_eq!(Digest::of(&content), *digest);

    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
    assert_eq!(DiffId(Digest::of(&tar)), *layer);
}

#[test]
fn a_part_is_stored_and_read_back_with_fields_that_nobody_knows() {
    assert_eq!(Part::from_bytes(&part().to_bytes().unwrap()).unwrap(), part());
    let mut json: serde_json::Value = serde_json::from_str(example("part")).unwrap();
    for place in ["", "/record", "/entries/0", "/entries/0/place", "/extents/0", "/extents/0/checkpoint"] {
        json.pointer_mut(place).unwrap().as_object_mut().unwrap().insert("later".into(), [1].as_slice().into());
    }
    assert_eq!(serde_json::from_value::<Part>(json).unwrap(), part());
}

#[test]
fn the_directory_has_the_digest_of_its_lines() {
    let lines = example("listing");
    let entries: Vec<Listed> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let digest = Digest::of(format!("{lines}\n").as_bytes());
    assert_eq!(listing_digest(&entries), digest);
    assert!(FORMATS.contains(&format!("its digest is `{digest}`")));
}

#[test]
fn listings_escape_no_more_than_json_must() {
    let name = "a\"\\\u{8}\t\n\u{c}\r\u{1}\u{7f}/é";
    let line = r#"{"path":"a\"\\\b\t\n\f\r\u0001"#.to_owned()
        + "\u{7f}"
        + r#"/é","type":"directory","mode":"0755","mtime":-1}"#;
    let entry: Listed = serde_json::from_str(&line).unwrap();
    assert_eq!(entry.path, name);
    assert_eq!(listing_digest(&[entry]), Digest::of((line + "\n").as_bytes()));
}

/// The rows of trust.md's table: what could be tried, and the names of the tests.
fn attempts() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let (_, section) = TRUST.split_once("## Who could try what\n").unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix('|'));
    rows.skip(2).map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, attempt, _, tests, ""] = cells[..] else { panic!("a row of four cells: {row}") };
        (attempt, tests.split('`').skip(1).step_by(2).collect())
    })
}

/// Whether the source has the test that cargo calls `name`.
fn is_a_test(name: &str) -> bool {
    let (modules, function) = name.rsplit_once("::").unwrap();
    let path = modules.replace("::", "/");
    let beside = path.trim_end_matches("/tests");
    let places = [format!("tests/program/{path}.rs"), format!("src/{path}.rs"), format!("src/{beside}.rs")];
    places.iter().any(|place| {
        let source = std::fs::read_to_string(format!("{}/{place}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
        let before =
            source.split_once(&format!("fn {function}()")).map(|(before, _)| before.trim_end_matches("async "));
        before.is_some_and(|before| before.trim_end().ends_with("test]"))
    })
}

#[test]
fn everybody_who_could_try_something_is_met_by_a_test_that_is_there() {
    let attempts: Vec<_> = attempts().collect();
    let all: Vec<&str> = attempts.iter().map(|(attempt, _)| *attempt).collect();
    assert_eq!(all.len(), 6 * 7);
    assert!(all.chunks(7).all(|one| one == &all[..7]), "each could try the same: {all:#?}");
    for (attempt, tests) in attempts {
        assert!(!tests.is_empty(), "{attempt} has no test");
        for test in tests {
            assert!(is_a_test(test), "{attempt}: there is no test {test}");
        }
    }
    assert!(!is_a_test("hostile::paths::a_name_that_no_test_has"));
}

#[test]
fn a_table_index_is_read_as_in_the_example() {
    let text = example("tables");
    let index: serde_json::Value = serde_json::from_str(text).unwrap();
    let subject = index["subject"]["digest"].as_str().unwrap().parse().unwrap();
    let (tables, revision) = table_index::of_manifest(text.as_bytes(), &subject).unwrap();
    assert_eq!(revision, 1);
    let [table] = tables.told.as_slice() else { panic!("{:?}", tables.told) };
    assert_eq!((&table.layer, table.size, table.top.range), (&Digest::of(&blob()), 812_345, (810_100, 812_273)));
    // And it is written so.
    let written: serde_json::Value =
        serde_json::from_str(&table_index::manifest(&tables, None, &index["subject"], revision)).unwrap();
    assert_eq!(written, index);
}
