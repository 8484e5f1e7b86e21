//! Sparse files in the four formats, written by hand and by GNU tar itself.

use std::io::{Seek, SeekFrom, Write};
use std::process::Command;

use super::super::fixture::{Block, file, pax, problem, read_all, read_one};
use super::*;

/// Six bytes at 1,000 and four at 5,000, in a file of 6,000.
const DATA: &[u8] = b"first.last";

fn expanded() -> Vec<u8> {
    let mut content = vec![0; 6000];
    content[1000..1006].copy_from_slice(b"first.");
    content[5000..5004].copy_from_slice(b"last");
    content
}

fn assert_expands(tar: &[u8]) {
    let tar = [tar, &file("next", "")].concat();
    let entries = read_all(&tar).unwrap();
    let (entry, content) = &entries[0];
    assert_eq!(entry.path, b"sparse");
    assert_eq!(entry.kind, Kind::File { size: 6000, sparse: true });
    assert!(tar[entry.data_offset as usize..].starts_with(DATA));
    assert!(*content == expanded());
    assert_eq!(entries[1].0.path, b"next");
}

/// An old GNU header with these entries in its map, for a file of 6,000 bytes.
fn gnu(entries: &[(u64, u64)], stored: u64) -> Block {
    let block = Block::new("sparse", b'S', stored).gnu().set(483, format!("{:011o}\0", 6000));
    block.set(386, map_entries(entries))
}

fn map_entries(entries: &[(u64, u64)]) -> Vec<u8> {
    entries.iter().flat_map(|(offset, length)| format!("{offset:011o}\0{length:011o}\0").into_bytes()).collect()
}

#[test]
fn old_gnu_maps_are_expanded() {
    assert_expands(&gnu(&[(1000, 6), (5000, 4), (6000, 0)], 10).with(DATA));
}

/// Go, and so every engine, looks at a sparse file's own name only where there is such a file.
#[test]
fn a_sparse_name_is_the_name_of_a_sparse_file_alone() {
    let tar = [pax(&[("GNU.sparse.name", "bin/other")]), file("bin/tool", "x")].concat();
    assert_eq!(read_one(&tar).0.path, b"bin/tool");
    let tar = [pax(&[("GNU.sparse.name", "bin/other"), ("path", "bin/tool")]), file("x", "x")].concat();
    assert_eq!(read_one(&tar).0.path, b"bin/tool");
    let long = Block::new("././@LongLink", b'L', 5).gnu().with("long\0");
    let records = [("GNU.sparse.name", "sparse"), ("GNU.sparse.size", "6000"), ("GNU.sparse.map", "1000,6,5000,4")];
    assert_expands(&[long, pax(&records), file("x", DATA)].concat());
}

#[test]
fn old_gnu_maps_go_on_in_extensions() {
    let bytes: Vec<_> = (0..50_u64).map(|at| (at * 100, 1)).collect();
    let mut extension = map_entries(&bytes[4..25]);
    extension.resize(512, 0);
    extension[504] = 1;
    let mut last = map_entries(&bytes[25..46]);
    last.resize(512, 0);
    last[504] = 1;
    let mut rest = map_entries(&bytes[46..]);
    rest.resize(512, 0);
    let headers = [gnu(&bytes[..4], 50).set(482, [1]).with(""), extension, last, rest].concat();
    let (entry, content) = read_one(&[&headers[..], &[b'x'; 50]].concat());
    assert_eq!(entry.data_offset, 4 * 512);
    assert_eq!(content.len(), 6000);
    assert!(content.iter().enumerate().all(|(at, &byte)| (byte == b'x') == (at % 100 == 0 && at < 5000)));
}

#[test]
fn version_0_0_is_expanded() {
    let records = [
        ("GNU.sparse.size", "6000"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.offset", "1000"),
        ("GNU.sparse.numbytes", "6"),
        ("GNU.sparse.offset", "5000"),
        ("GNU.sparse.numbytes", "4"),
    ];
    assert_expands(&[pax(&records), file("sparse", DATA)].concat());
}

#[test]
fn version_0_1_is_expanded() {
    let records = [
        ("GNU.sparse.size", "6000"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.name", "./sparse"),
        ("GNU.sparse.map", "1000,6,5000,4"),
    ];
    assert_expands(&[pax(&records), file("GNUSparseFile.1/sparse", DATA)].concat());
}

/// A file of version 1.0, whose map stands in front of its data.
fn version_1_0(map: &str, size: &str, data: &[u8]) -> Vec<u8> {
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "sparse"),
        ("GNU.sparse.realsize", size),
    ];
    let mut body = map.as_bytes().to_vec();
    body.resize(body.len().next_multiple_of(512), 0);
    body.extend_from_slice(data);
    [pax(&records), file("GNUSparseFile.1/sparse", body)].concat()
}

#[test]
fn version_1_0_is_expanded() {
    assert_expands(&version_1_0("2\n1000\n6\n5000\n4\n", "6000", DATA));
}

#[test]
fn a_version_1_0_map_may_need_several_blocks() {
    let map: String = (0..200).map(|at| format!("{}\n1\n", at * 30)).collect();
    let (_, content) = read_one(&version_1_0(&format!("200\n{map}"), "6000", &[b'x'; 200]));
    assert_eq!(content.len(), 6000);
    assert!(content.iter().enumerate().all(|(at, &byte)| (byte == b'x') == (at % 30 == 0)));
}

#[test]
fn a_file_may_be_one_hole() {
    assert_eq!(read_one(&version_1_0("0\n", "6000", b"")).1, [0; 6000]);
    let records = [("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.size", "6000")];
    assert_eq!(read_one(&[pax(&records), file("f", "")].concat()).1, [0; 6000]);
    assert_eq!(read_one(&gnu(&[(6000, 0)], 0).with("")).1, [0; 6000]);
}

#[test]
fn maps_that_cannot_be_are_refused() {
    let bad = [
        ("data beyond the end", version_1_0("1\n5998\n4\n", "6000", b"abcd")),
        ("segments that overlap", version_1_0("2\n10\n6\n15\n4\n", "6000", DATA)),
        ("segments in the wrong order", version_1_0("2\n5000\n6\n1000\n4\n", "6000", DATA)),
        ("more data than the map has", version_1_0("1\n1000\n6\n", "6000", DATA)),
        ("less data than the map has", version_1_0("2\n1000\n6\n5000\n4\n", "6000", b"abc")),
        ("an end that overflows", version_1_0("1\n9223372036854775807\n1\n", "6000", b"a")),
        ("no number", version_1_0("2\n1000\nsix\n", "6000", DATA)),
        ("a number without an end", version_1_0(&"1".repeat(600), "6000", DATA)),
        ("more segments than there is data", version_1_0("1000000000\n1\n1\n", "6000", b"")),
        ("a negative offset", gnu(&[], 0).set(386, [0xff; 24]).with("")),
        ("no GNU header", Block::new("f", b'S', 0).with("")),
        ("half a pair", [pax(&[("GNU.sparse.map", "1,2,3")]), file("f", "")].concat()),
        ("a length first", [pax(&[("GNU.sparse.numbytes", "3")]), file("f", "")].concat()),
    ];
    for (what, tar) in bad {
        let error = problem(&tar);
        assert!(matches!(error, LayerError::Malformed { .. }), "{what}: {error}");
    }
    let records = [("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")];
    assert!(matches!(problem(&[pax(&records), file("f", "")].concat()), LayerError::Unsupported { .. }));
}

#[test]
fn a_hole_is_no_allocation_and_has_a_limit() {
    let (entry, content) = read_one(&version_1_0("0\n", "2199023255552", b""));
    assert_eq!(entry.kind, Kind::File { size: 2 << 40, sparse: true });
    assert_eq!(content.len(), 1 << 20, "the fixture reads no further");
    for size in ["2199023255553", "4611686018427387904"] {
        let error = problem(&version_1_0("0\n", size, b""));
        assert!(error.to_string().ends_with("it has holes of more than 2 TiB"), "{error}");
    }
}

#[test]
fn a_cut_in_a_sparse_file_is_an_error() {
    for tar in [gnu(&[(1000, 6), (5000, 4)], 10).with(DATA), version_1_0("2\n1000\n6\n5000\n4\n", "6000", DATA)] {
        let end = tar.len() - 512;
        for cut in [end + 9, end, end - 1, 1] {
            assert!(matches!(problem(&tar[..cut]), LayerError::Truncated { .. }), "cut at {cut}");
        }
    }
}

#[test]
fn what_gnu_tar_writes_is_read() {
    let version = Command::new("tar").arg("--version").output();
    if !version.is_ok_and(|output| output.stdout.starts_with(b"tar (GNU tar)")) {
        eprintln!("skipped what_gnu_tar_writes_is_read: GNU tar is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    let mut sparse = std::fs::File::create(&path).unwrap();
    for at in 0..60_u64 {
        sparse.seek(SeekFrom::Start(at * 100_000)).unwrap();
        sparse.write_all(format!("segment {at}").as_bytes()).unwrap();
    }
    sparse.set_len(7_000_000).unwrap();
    let content = std::fs::read(&path).unwrap();
    for format in ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"] {
        let dialect = if format == "--format=gnu" { "--format=gnu" } else { "--format=pax" };
        let mut command = Command::new("tar");
        command.args([dialect, format, "--sparse", "-cf", "-", "-C"]).arg(folder.path()).arg("sparse");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut tar = TarReader::new(&output.stdout[..]);
        let entry = tar.next().unwrap().unwrap();
        assert_eq!(entry.path, b"sparse", "{format}");
        // A file system without holes makes tar write the file whole.
        assert!(matches!(entry.kind, Kind::File { size: 7_000_000, .. }), "{format}: {:?}", entry.kind);
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut tar.data(), &mut read).unwrap();
        assert!(read == content, "{format}");
        assert_eq!(tar.next().unwrap(), None, "{format}");
    }
}
