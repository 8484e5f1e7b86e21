//! Tables made by hand: what they tell, and what is not believed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::image::Blob;
use crate::image::digest::Digest;
use crate::layer::Kind;
use crate::layer::entry::Special;

/// As long as the blobs are said to be here, and where the table begins.
const SIZE: u64 = 1_000_000;
const AT: u64 = 900_000;

fn digest(of: &str) -> String {
    Digest::of(of.as_bytes()).to_string()
}

/// A layer with these annotations.
fn layer(annotations: &[(&str, String)], size: u64) -> Layer {
    let annotations: BTreeMap<String, String> =
        annotations.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let descriptor = Descriptor { annotations: Some(annotations), ..Descriptor::default() };
    let blob = Blob { size, descriptor: Some(descriptor), ..Blob::default() };
    Layer { index: 0, blob, diff_id: None, created_by: None }
}

/// The table that is this JSON, of a zstd:chunked layer.
fn chunked(json: &[u8]) -> Result<Table, Unusable> {
    let stored = zstd::bulk::compress(json, 1).unwrap();
    let position = format!("{AT}:{}:{}:1", stored.len(), json.len());
    let checksum = Digest::of(&stored).to_string();
    let size = SIZE.max(AT + stored.len() as u64);
    let layer = layer(&[(zstd_chunked::POSITION, position), (zstd_chunked::CHECKSUM, checksum)], size);
    match Offer::of(&layer).unwrap()?.next(AT, stored)? {
        Next::Table(table) => Ok(table),
        Next::Read(..) => panic!("nothing else is to be read"),
    }
}

fn of(entries: &Value) -> Table {
    chunked(&serde_json::to_vec(&json!({"version": 1, "entries": entries})).unwrap()).unwrap()
}

fn entries(table: &Table) -> Result<Vec<Entry>, Unusable> {
    let mut entries = Vec::new();
    table.entries(&mut |entry| {
        entries.push(entry.clone());
        Ok(())
    })?;
    Ok(entries)
}

fn file(fields: &Value) -> Value {
    let mut file =
        json!({"type": "reg", "name": "f", "size": 100, "offset": 10, "endOffset": 50, "digest": digest("f")});
    file.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    file
}

/// The pieces of these contents.
fn located(table: &Table, wanted: &HashSet<DataOffset>) -> HashMap<DataOffset, Pieces> {
    match table.contents(wanted).unwrap() {
        Contents::Pieces(pieces) => pieces,
        Contents::Spans(_) => panic!("its pieces have digests"),
    }
}

/// The pieces of the only file.
fn pieces(table: &Table) -> Pieces {
    let all = entries(table).unwrap();
    let files = all.iter().filter(|entry| matches!(entry.kind, Kind::File { .. }));
    let wanted: HashSet<DataOffset> = files.map(|entry| DataOffset(entry.data_offset)).collect();
    let mut contents = located(table, &wanted);
    assert_eq!(contents.len(), 1);
    contents.drain().next().unwrap().1
}

#[test]
fn an_entry_is_what_a_tar_would_make_of_it() {
    let table = of(&json!([
        {"type": "dir", "name": "./d/", "mode": 0o41755, "uid": 7, "gid": 8, "modtime": "2023-11-14T22:13:20.5Z"},
        {"type": "symlink", "name": "/d/l", "linkName": "../x", "unknown": {"a": [1]}},
        {"type": "hardlink", "name": "d/h", "linkName": "/d/f"},
        {"type": "char", "name": "c", "devMajor": 1, "devMinor": 3},
        {"type": "block", "name": "b", "devMajor": 8},
        {"type": "fifo", "name": "p", "xattrs": {"user.x": "eQ=="}},
        {"type": "reg", "name": "e", "xattrs": null},
    ]));
    let found = entries(&table).unwrap();
    let told: Vec<(&[u8], &Kind)> = found.iter().map(|entry| (entry.path.as_slice(), &entry.kind)).collect();
    assert_eq!(
        told,
        [
            (&b"d"[..], &Kind::Directory),
            (b"d/l", &Kind::Symlink(b"../x".to_vec())),
            (b"d/h", &Kind::HardLink(b"d/f".to_vec())),
            (b"c", &Kind::Special(Special::CharDevice(1, 3))),
            (b"b", &Kind::Special(Special::BlockDevice(8, 0))),
            (b"p", &Kind::Special(Special::Fifo)),
            (b"e", &Kind::File { size: 0, sparse: false }),
        ]
    );
    let Entry { mode, uid, gid, mtime, .. } = found[0];
    assert_eq!((mode, uid, gid, mtime), (0o1755, 7, 8, (1_700_000_000, 500_000_000)));
    assert_eq!(found[5].xattrs, [(b"user.x".to_vec(), b"y".to_vec())]);
    assert!(entries(&of(&Value::Null)).unwrap().is_empty());
}

#[test]
fn a_piece_ends_where_the_table_says_or_where_the_next_one_begins() {
    let one = pieces(&of(&json!([file(&json!({}))])));
    let whole = Piece { stored: Some(10..50), checkpoint: None, skip: 0, size: 100, digest: None };
    assert_eq!(one, Pieces { pieces: vec![whole], digest: Some(digest("f").parse().unwrap()) });
    assert_eq!(one.stored(), Some(10..50));
    let alone = pieces(&of(&json!([file(&json!({"endOffset": 0}))])));
    assert_eq!(alone.stored(), Some(10..AT));
    let chunks = json!([
        file(&json!({"chunkSize": 40, "chunkDigest": digest("a"), "endOffset": 0})),
        {"type": "chunk", "name": "f", "offset": 20, "chunkOffset": 40, "chunkSize": 50, "chunkType": "zeros"},
        {"type": "chunk", "offset": 30, "innerOffset": 4, "chunkOffset": 90, "chunkDigest": digest("c")},
        {"type": "symlink", "name": "l", "linkName": "f"},
        {"type": "chunk", "offset": 30},
    ]);
    let mut with_next = chunks.clone();
    with_next[4] = json!({"type": "reg", "name": "g", "size": 0});
    let wanted = [DataOffset(1)].into();
    let found = located(&of(&with_next), &wanted).remove(&DataOffset(1)).unwrap();
    let stored: Vec<_> = found.pieces.iter().map(|piece| (piece.stored.clone(), piece.skip, piece.size)).collect();
    assert_eq!(stored, [(Some(10..20), 0, 40), (None, 0, 50), (Some(30..AT), 4, 10)]);
    // Where zeros are said to be is nowhere.
    with_next[1]["offset"] = json!(u64::MAX);
    with_next.as_array_mut().unwrap().truncate(3);
    let found = located(&of(&with_next), &wanted).remove(&DataOffset(1)).unwrap();
    assert_eq!(found.stored(), Some(10..AT));
    assert!(entries(&of(&chunks)).unwrap_err().to_string().contains("chunk of something else"));
}

#[test]
fn what_contradicts_itself_is_not_believed() {
    let chunk = |fields: Value| {
        let mut chunk = json!({"type": "chunk", "name": "f", "offset": 20, "chunkOffset": 40, "chunkSize": 60});
        chunk.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!([file(&json!({"chunkSize": 40})), chunk])
    };
    assert!(entries(&of(&chunk(json!({})))).is_ok());
    for (wrong, problem) in [
        (chunk(json!({"chunkSize": 59})), "fewer bytes"),
        (chunk(json!({"chunkSize": 61})), "do not fit"),
        (chunk(json!({"chunkOffset": 39})), "do not fit"),
        (chunk(json!({"offset": 10})), "order"),
        (chunk(json!({"offset": 9})), "order"),
        (chunk(json!({"offset": AT})), "outside"),
        (chunk(json!({"offset": 0})), "outside"),
        (chunk(json!({"name": "g"})), "something else"),
        (chunk(json!({"chunkType": "ones"})), "type"),
        (chunk(json!({"chunkDigest": "md5:x"})), "digest"),
        (json!([{"type": "chunk", "name": "f"}]), "no file"),
        (json!([file(&json!({"size": 0}))]), "no bytes, and content"),
        (json!([file(&json!({"digest": ""}))]), "no digest"),
        (json!([file(&json!({"endOffset": 10}))]), "ends before"),
        (json!([file(&json!({"endOffset": AT + 1}))]), "outside"),
        (json!([file(&json!({"offset": AT}))]), "outside"),
        (json!([file(&json!({"size": SIZE * 32_769, "chunkType": "zeros"}))]), "zeros"),
        (json!([file(&json!({"size": -1}))]), "cannot be read"),
        (json!([file(&json!({"modtime": "yesterday"}))]), "time"),
        (json!([file(&json!({"name": "../f"}))]), "no layer can have"),
        (json!([file(&json!({"name": "a\u{fffd}"}))]), "JSON cannot hold"),
        (json!([file(&json!({"name": "."}))]), "root"),
        (json!([file(&json!({"name": "a\0b"}))]), "NUL"),
        (json!([{"type": "symlink", "name": "l", "linkName": "\0"}]), "NUL"),
        (json!([{"type": "dir", "name": "d", "xattrs": {"a\0": ""}}]), "NUL"),
        (json!([file(&json!({"type": "socket"}))]), "not known"),
        (json!([{"type": "hardlink", "name": "h", "linkName": "../../f"}]), "no layer can have"),
        (json!([{"type": "dir", "name": "d", "xattrs": {"a": "!"}}]), "base64"),
        (json!([{"name": "d"}]), "cannot be read"),
        (json!([7]), "cannot be read"),
        (json!({}), "cannot be read"),
    ] {
        let error = entries(&of(&wrong)).expect_err(problem).to_string();
        assert!(error.contains(problem), "{wrong}: {error}");
    }
    for json in [
        &b"{}"[..],
        b"[]",
        b"{\"version\":1}",
        b"{\"version\":2,\"entries\":[]}",
        b"{\"entries\":[]}",
        b"{\"version\":1,\"entries\":[],\"entries\":[]}",
        b"{\"version\":1,\"entries\":[]} x",
        b"{\"version\":1,\"entries\":[",
        b"\xff",
        b"",
    ] {
        assert!(entries(&chunked(json).unwrap()).is_err(), "{}", json.escape_ascii());
    }
}

#[test]
fn only_the_bytes_that_the_manifest_means_are_a_table() {
    let json = br#"{"version":1,"entries":[]}"#;
    let stored = zstd::bulk::compress(json, 1).unwrap();
    let (length, checksum) = (stored.len(), Digest::of(&stored).to_string());
    let offer = |position: String, checksum: &str| {
        let annotations = [(zstd_chunked::POSITION, position), (zstd_chunked::CHECKSUM, checksum.to_owned())];
        Offer::of(&layer(&annotations, SIZE)).unwrap()
    };
    let good = offer(format!("{AT}:{length}:26:1"), &checksum).unwrap();
    assert_eq!(good.first(), AT..AT + length as u64);
    assert!(matches!(good.next(AT, stored.clone()), Ok(Next::Table(_))));
    assert!(good.next(AT, stored[1..].to_vec()).is_err());
    for position in
        ["", "1:2:3", "1:2:3:4", "1:2:3:2", "x:2:3:1", "-1:2:3:1", "0:2:3:1", "1:0:3:1", "999999:2:3:1", "1:2:3:1:1"]
    {
        assert!(offer(position.to_owned(), &checksum).is_err(), "{position}");
    }
    assert!(offer(format!("{}:1:1:1", u64::MAX), &checksum).is_err());
    assert!(offer(format!("{AT}:{length}:26:1"), "md5:x").is_err());
    for length_of_json in [25_u64, 27, 1 << 40] {
        let offer = offer(format!("{AT}:{length}:{length_of_json}:1"), &checksum).unwrap();
        let Ok(Next::Table(table)) = offer.next(AT, stored.clone()) else { panic!("{length_of_json}") };
        assert!(entries(&table).is_err(), "{length_of_json}");
    }
    assert!(Offer::of(&layer(&[], SIZE)).is_none());
    let huge = [(zstd_chunked::POSITION, format!("1:{}:1:1", MAX_STORED + 1)), (zstd_chunked::CHECKSUM, checksum)];
    assert!(Offer::of(&layer(&huge, u64::MAX)).unwrap().is_err());
}

/// The end of an eStargz blob: the table's member, of a tar with a file of this name, and the footer that says where it begins.
fn estargz_end(name: &str, json: &[u8], at: u64) -> Vec<u8> {
    let tar = crate::layer::fixture::tar_of(&[(name, json)]);
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut member, &tar).unwrap();
    let mut end = member.finish().unwrap();
    end.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0]);
    end.extend(format!("{at:016x}STARGZ").into_bytes());
    end.extend([1, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
    end
}

#[test]
fn the_footer_of_estargz_says_where_its_table_is() {
    let json = serde_json::to_vec(&json!({"version": 1, "entries": [
        {"type": "reg", "name": ".prefetch.landmark", "size": 1, "offset": 5, "digest": digest("\u{f}")},
        {"type": "dir", "name": "d", "linkName": "x".repeat(20_000)},
        {"type": "dir", "name": "d/.prefetch.landmark"},
    ]}))
    .unwrap();
    let promised = |json: &[u8]| [(estargz::TOC_DIGEST, Digest::of(json).to_string())];
    let end = estargz_end("stargz.index.json", &json, AT);
    let size = AT + end.len() as u64;
    let offer = Offer::of(&layer(&promised(&json), size)).unwrap().unwrap();
    let read = |offer: &Offer, end: &[u8]| -> Result<Vec<Entry>, Unusable> {
        let first = offer.first();
        let tail = end[end.len().saturating_sub((size - first.start) as usize)..].to_vec();
        match offer.next(size - tail.len() as u64, tail)? {
            Next::Table(table) => entries(&table),
            Next::Read(range, tail) => {
                let missing = &end[(range.start - AT) as usize..end.len() - tail.len()];
                match offer.next(range.start, [missing, &tail].concat())? {
                    Next::Table(table) => entries(&table),
                    Next::Read(..) => panic!("all of it has come"),
                }
            }
        }
    };
    let paths: Vec<Vec<u8>> = read(&offer, &end).unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, [b"d".to_vec(), b"d/.prefetch.landmark".to_vec()]);
    let other = Offer::of(&layer(&promised(b"other"), size)).unwrap().unwrap();
    assert!(read(&other, &end).unwrap_err().to_string().contains("not the one that the manifest means"));
    let named = estargz_end("index.json", &json, AT);
    assert!(offer.next(AT, named).is_ok_and(|next| matches!(next, Next::Table(table) if entries(&table).is_err())));
    for at in [0, size, size - 51, u64::MAX] {
        assert!(offer.next(AT, estargz_end("stargz.index.json", &json, at)).is_err(), "{at}");
    }
    for cut in 1..60 {
        let mut end = end.clone();
        end.truncate(end.len() - cut);
        assert!(offer.next(AT, end).is_err(), "{cut}");
    }
    assert!(offer.next(AT, Vec::new()).is_err());
    for byte in 0..51 {
        let mut end = end.clone();
        let at = end.len() - 51 + byte;
        end[at] ^= 0x10;
        // The time, the flags of the compression and what comes behind the field say nothing about the place.
        let _ = offer.next(AT, end);
    }
}

#[test]
fn a_table_that_is_far_longer_than_what_is_stored_of_it_is_not_read() {
    let entry = format!(r#"{{"type":"dir","name":"a","unknown":"{}"}},"#, "x".repeat(1000));
    let json = format!(r#"{{"version":1,"entries":[{}{{"type":"dir","name":"a"}}]}}"#, entry.repeat(50_000));
    let table = chunked(json.as_bytes()).unwrap();
    let mut count = 0;
    let told = table.entries(&mut |_| {
        count += 1;
        Ok(())
    });
    assert!(told.unwrap_err().to_string().contains("more than") && count == 0);
    let end = estargz_end("stargz.index.json", json.as_bytes(), AT);
    let promise = [(estargz::TOC_DIGEST, Digest::of(json.as_bytes()).to_string())];
    let offer = Offer::of(&layer(&promise, AT + end.len() as u64)).unwrap().unwrap();
    let Ok(Next::Table(table)) = offer.next(AT, end) else { panic!("a table") };
    let told = table.entries(&mut |_| {
        count += 1;
        Ok(())
    });
    assert!(told.unwrap_err().to_string().contains("more than") && count < 30_000, "{count}");
}

#[test]
fn members_of_the_format_belong_to_nobody_elses_layer() {
    let estargz = layer(&[(estargz::TOC_DIGEST, digest(""))], SIZE);
    let other = layer(&[], SIZE);
    assert_eq!(own_members(&estargz), [&b"stargz.index.json"[..], b".prefetch.landmark", b".no.prefetch.landmark"]);
    assert!(own_members(&other).is_empty());
}

#[test]
fn an_entry_that_is_longer_than_any_in_a_tar_is_not_held() {
    let long = crate::support::random::noise(1, 2 << 20).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for entry in [
        json!({"type": "dir", "name": "d", "xattrs": {"user.x": long}}),
        json!({"type": "dir", "name": "d", long.as_str(): 1}),
    ] {
        let error = entries(&of(&json!([entry]))).unwrap_err().to_string();
        assert!(error.contains("an entry has more than 4194304 bytes"), "{error}");
    }
    let half = &long[..3 << 20];
    let many = ["a", "b"].map(|name| json!({"type": "dir", "name": name, "xattrs": {"user.x": half}}));
    assert_eq!(entries(&of(&json!(many))).unwrap().len(), 2);
}

#[test]
fn chunks_that_nobody_can_tell_apart_are_not_held_by_the_hundred_thousand() {
    let chunks = |count: u64, digest_of: fn(u64) -> String| {
        let first = file(&json!({"size": count, "chunkSize": 1, "offset": 1, "endOffset": 0}));
        let chunk = |at: u64| {
            let digest = digest(&digest_of(at));
            json!({"type": "chunk", "offset": 1 + at, "chunkOffset": at, "chunkSize": 1, "chunkDigest": digest})
        };
        json!(std::iter::once(first).chain((1..count).map(chunk)).collect::<Vec<_>>())
    };
    assert!(entries(&of(&chunks(8_000, |at| at.to_string()))).is_ok());
    assert!(entries(&of(&chunks(4_000, |_| String::new()))).is_ok());
    let error = entries(&of(&chunks(20_000, |_| String::new()))).unwrap_err().to_string();
    assert!(error.contains("more chunks than a table so short can have"), "{error}");
}
