//! zTOCs made by hand: what they tell, and what is not believed.

use std::io::{Cursor, Read};

use super::*;
use crate::image::digest::Digest;
use crate::layer::checkpoint::ExtentReader;
use crate::layer::fixture::tar_of;
use crate::support::random::noise;
use crate::support::ztoc as writer;
use crate::support::ztoc::{Begin, ZtocFile, checkpoints, gzip_in_spans};

const SPAN: usize = 50_000;

struct Sample {
    tar: Vec<u8>,
    blob: Vec<u8>,
    ztoc: writer::Ztoc,
}

fn file(name: &str, offset: i64, size: i64) -> ZtocFile {
    let (name, kind, mtime) = (name.into(), b"reg".to_vec(), b"2023-11-14T22:13:20.5Z".to_vec());
    ZtocFile { name, kind, offset, size, mtime, mode: 0o644, ..ZtocFile::default() }
}

/// A layer with three files, the second of which reaches over several spans, and its zTOC.
fn sample() -> Sample {
    let (one, two, three) = (noise(1, 1_000), noise(2, 120_000), noise(3, 70));
    let tar = tar_of(&[("one", &one), ("two", &two), ("three", &three), ("empty", &[])]);
    let (blob, begins) = gzip_in_spans(&tar, SPAN);
    let ends = begins.iter().skip(1).map(|begin| begin.compressed as usize).chain([blob.len()]);
    let digests = begins.iter().zip(ends).map(|(begin, end)| Digest::of(&blob[begin.compressed as usize..end]));
    let files = vec![
        file("one", 512, 1_000),
        file("two", 2_048, 120_000),
        file("three", 122_880, 70),
        file("empty", 123_904, 0),
    ];
    let ztoc = writer::Ztoc {
        version: b"0.9".to_vec(),
        compressed_size: blob.len() as i64,
        uncompressed_size: tar.len() as i64,
        files,
        algorithm: Some(1),
        max_span_id: begins.len() as u32 - 1,
        digests: digests.map(|digest| digest.as_str().into()).collect(),
        checkpoints: checkpoints(&tar, &begins, SPAN),
    };
    Sample { tar, blob, ztoc }
}

fn entries(ztoc: &writer::Ztoc, size: usize) -> Result<Vec<Entry>, Unusable> {
    let mut entries = Vec::new();
    Ztoc::new(ztoc.bytes(), size as u64)?.entries(&mut |entry| {
        entries.push(entry.clone());
        Ok(())
    })?;
    Ok(entries)
}

/// What is to be read for these contents.
fn stretches(table: &Ztoc, wanted: &HashSet<DataOffset>) -> Vec<Stretch> {
    match table.contents(wanted).unwrap() {
        Contents::Spans(stretches) => stretches,
        Contents::Pieces(_) => panic!("a zTOC has spans"),
    }
}

/// What the stretches of these contents decode to, each content with its offset.
fn decoded(blob: &[u8], stretches: &[Stretch]) -> Vec<(u64, Vec<u8>)> {
    let mut contents = Vec::new();
    for stretch in stretches {
        let range = stretch.compressed.start as usize..stretch.compressed.end as usize;
        for (span, digest) in &stretch.spans {
            assert_eq!(Digest::of(&blob[span.start as usize..span.end as usize]), *digest);
        }
        let mut tar = Vec::new();
        ExtentReader::new(&stretch.checkpoint, Cursor::new(&blob[range])).unwrap().read_to_end(&mut tar).unwrap();
        for (data, size) in &stretch.contents {
            let at = ((data.0 - stretch.uncompressed) as usize).min(tar.len());
            contents.push((data.0, tar[at..at + *size as usize].to_vec()));
        }
    }
    contents
}

#[test]
fn an_entry_is_what_the_tar_makes_of_it() {
    let Sample { blob, mut ztoc, .. } = sample();
    let entry = |kind: &[u8], name: &[u8], offset| ZtocFile {
        name: name.into(),
        kind: kind.into(),
        offset,
        mtime: b"1970-01-01T00:00:00Z".to_vec(),
        ..ZtocFile::default()
    };
    ztoc.files = vec![
        ZtocFile { mode: 0o41755, uid: 7, gid: 8, ..entry(b"dir", b"./d/", 512) },
        ZtocFile { target: b"../x\xff".into(), ..entry(b"symlink", b"/d/l\xff", 1_024) },
        ZtocFile { target: b"/d/f".into(), size: 9, ..entry(b"hardlink", b"d/h", 1_536) },
        ZtocFile { device: (1, 3), ..entry(b"char", b"c", 2_048) },
        ZtocFile { device: (8, 0), ..entry(b"block", b"b", 2_560) },
        ZtocFile {
            records: [("SCHILY.xattr.user.x", "y"), ("mtime", "1")]
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            ..entry(b"fifo", b"p", 4_096)
        },
        entry(b"reg", b"e", 4_608),
    ];
    let found = entries(&ztoc, blob.len()).unwrap();
    let told: Vec<(&[u8], &Kind)> = found.iter().map(|entry| (entry.path.as_slice(), &entry.kind)).collect();
    assert_eq!(
        told,
        [
            (&b"d"[..], &Kind::Directory),
            (b"d/l\xff", &Kind::Symlink(b"../x\xff".to_vec())),
            (b"d/h", &Kind::HardLink(b"d/f".to_vec())),
            (b"c", &Kind::Special(Special::CharDevice(1, 3))),
            (b"b", &Kind::Special(Special::BlockDevice(8, 0))),
            (b"p", &Kind::Special(Special::Fifo)),
            (b"e", &Kind::File { size: 0, sparse: false }),
        ]
    );
    assert_eq!((found[0].mode, found[0].uid, found[0].gid), (0o1755, 7, 8));
    assert_eq!((found[5].header_offset, found[5].data_offset), (2_560, 4_096));
    assert_eq!(found[5].xattrs, [(b"user.x".to_vec(), b"y".to_vec())]);
    ztoc.files.clear();
    assert!(entries(&ztoc, blob.len()).unwrap().is_empty());
}

#[test]
fn contents_come_by_the_spans_that_hold_them() {
    let Sample { tar, blob, mut ztoc } = sample();
    for algorithm in [Some(1), None] {
        ztoc.algorithm = algorithm;
        let table = Ztoc::new(ztoc.bytes(), blob.len() as u64).unwrap();
        assert_eq!(table.compression(), Compression::Gzip);
        for (wanted, spans) in [
            (&[512][..], vec![1]),
            (&[2_048], vec![3]),
            (&[122_880], vec![1]),
            (&[512, 122_880], vec![1, 1]),
            (&[512, 2_048, 122_880], vec![3]),
            (&[122_880, 123_904], vec![1, 0]),
        ] {
            let stretches = stretches(&table, &wanted.iter().map(|data| DataOffset(*data)).collect());
            assert_eq!(stretches.iter().map(|stretch| stretch.spans.len()).collect::<Vec<_>>(), spans, "{wanted:?}");
            let contents = decoded(&blob, &stretches);
            assert_eq!(contents.iter().map(|(at, _)| *at).collect::<Vec<_>>(), wanted);
            for (at, content) in contents {
                assert!(content == tar[at as usize..at as usize + content.len()], "{at}");
            }
        }
    }
}

#[test]
fn the_first_checkpoint_may_be_left_out_as_older_writers_did() {
    let Sample { tar, blob, mut ztoc } = sample();
    ztoc.checkpoints.drain(12..12 + 17 + (32 << 10));
    let table = Ztoc::new(ztoc.bytes(), blob.len() as u64).unwrap();
    let stretches = stretches(&table, &[DataOffset(512), DataOffset(122_880)].into());
    assert_eq!(
        decoded(&blob, &stretches),
        [(512, tar[512..1_512].to_vec()), (122_880, tar[122_880..122_950].to_vec())]
    );
}

#[test]
fn a_plain_tar_is_cut_every_so_many_bytes() {
    let Sample { tar, mut ztoc, .. } = sample();
    let size = tar.len();
    // A FlatBuffer: its version, the length of a span, the length of the tar.
    let plain = |span: i64, size: i64| {
        let mut bytes = vec![14, 0, 0, 0, 10, 0, 24, 0, 4, 0, 8, 0, 16, 0, 10, 0, 0, 0, 2, 0, 0, 0];
        bytes.extend(span.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes
    };
    ztoc.algorithm = Some(2);
    ztoc.compressed_size = size as i64;
    ztoc.checkpoints = plain(SPAN as i64, size as i64);
    ztoc.digests = tar.chunks(SPAN).map(|span| Digest::of(span).as_str().into()).collect();
    ztoc.max_span_id = ztoc.digests.len() as u32 - 1;
    let table = Ztoc::new(ztoc.bytes(), size as u64).unwrap();
    assert_eq!(table.compression(), Compression::None);
    let stretches = stretches(&table, &[DataOffset(2_048)].into());
    assert_eq!(decoded(&tar, &stretches), [(2_048, tar[2_048..122_048].to_vec())]);
    for (span, length) in
        [(0, size as i64), (-1, size as i64), (1, size as i64), (SPAN as i64, size as i64 + 1), (i64::MAX, 0)]
    {
        let ztoc = writer::Ztoc { checkpoints: plain(span, length), ..ztoc.clone() };
        assert!(Ztoc::new(ztoc.bytes(), size as u64).is_err(), "{span} {length}");
    }
}

#[test]
fn what_contradicts_itself_is_not_believed() {
    let Sample { blob, ztoc, .. } = sample();
    assert!(entries(&ztoc, blob.len()).is_ok());
    let begins = |change: fn(&mut Vec<Begin>)| {
        let Sample { tar, mut ztoc, .. } = sample();
        let (_, mut begins) = gzip_in_spans(&tar, SPAN);
        change(&mut begins);
        begins.iter_mut().for_each(|begin| begin.uncompressed = begin.uncompressed.min(tar.len() as u64));
        ztoc.checkpoints = checkpoints(&tar, &begins, SPAN);
        ztoc
    };
    let changed = |change: &dyn Fn(&mut writer::Ztoc)| {
        let mut ztoc = sample().ztoc;
        change(&mut ztoc);
        ztoc
    };
    for (wrong, problem) in [
        (changed(&|ztoc| ztoc.version = b"1.0".to_vec()), "version 1.0"),
        (changed(&|ztoc| ztoc.compressed_size += 1), "the layer has"),
        (changed(&|ztoc| ztoc.compressed_size = -1), "the layer has"),
        (changed(&|ztoc| ztoc.uncompressed_size = -1), "a tar of -1"),
        (changed(&|ztoc| ztoc.uncompressed_size = 122_900), "over the end"),
        (changed(&|ztoc| ztoc.algorithm = Some(0)), "compression"),
        (changed(&|ztoc| ztoc.algorithm = Some(3)), "compression"),
        (changed(&|ztoc| ztoc.max_span_id += 1), "one digest for each"),
        (changed(&|ztoc| ztoc.max_span_id = u32::MAX), "one digest for each"),
        (changed(&|ztoc| drop(ztoc.digests.pop())), "one digest for each"),
        (changed(&|ztoc| ztoc.digests[1] = b"md5:x".to_vec()), "cannot be verified"),
        (changed(&|ztoc| ztoc.digests[1] = b"\xff".to_vec()), "cannot be verified"),
        (changed(&|ztoc| ztoc.checkpoints.truncate(40_000)), "checkpoints"),
        (changed(&|ztoc| ztoc.checkpoints.truncate(3)), "laid out"),
        (changed(&|ztoc| ztoc.checkpoints[..4].fill(255)), "checkpoints"),
        (changed(&|ztoc| ztoc.checkpoints[..4].fill(0)), "checkpoints"),
        (changed(&|ztoc| ztoc.checkpoints[12 + 16] = 8), "order"),
        (begins(|begins| begins.swap(0, 1)), "order"),
        (begins(|begins| begins[1].uncompressed = 200_000), "order"),
        (begins(|begins| begins[2].compressed = u64::MAX), "order"),
        (begins(|begins| begins[0].compressed = 0), "order"),
        (changed(&|ztoc| ztoc.files.swap(0, 1)), "behind"),
        (changed(&|ztoc| ztoc.files[1].offset = 1_536), "behind"),
        (changed(&|ztoc| ztoc.files[1].offset = 2_049), "behind"),
        (changed(&|ztoc| ztoc.files[1].offset = -512), "below zero"),
        (changed(&|ztoc| ztoc.files[1].offset = i64::MAX - 511), "over the end"),
        (changed(&|ztoc| ztoc.files[1].size = -1), "below zero"),
        (changed(&|ztoc| ztoc.files[2].size = i64::MAX), "over the end"),
        (changed(&|ztoc| ztoc.files[1].size = 121_000), "behind"),
        (changed(&|ztoc| ztoc.files[1].mtime.clear()), "time"),
        (changed(&|ztoc| ztoc.files[1].name = b"../f".to_vec()), "no layer can have"),
        (changed(&|ztoc| ztoc.files[1].name = b"a\0b".to_vec()), "no layer can have"),
        (changed(&|ztoc| ztoc.files[1].name = b"./".to_vec()), "root"),
        (changed(&|ztoc| ztoc.files[1].kind = b"socket".to_vec()), "not known"),
        (
            changed(&|ztoc| {
                (ztoc.files[0].kind, ztoc.files[0].target) = (b"hardlink".to_vec(), b"../f".to_vec());
            }),
            "no layer can have",
        ),
        (changed(&|ztoc| (ztoc.files[0].kind, ztoc.files[0].device) = (b"char".to_vec(), (1 << 32, 0))), "cannot be"),
        (changed(&|ztoc| ztoc.files[0].records = vec![(b"GNU.sparse.major".to_vec(), b"1".to_vec())]), "holes"),
    ] {
        let error = entries(&wrong, blob.len()).expect_err(problem).to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
}

#[test]
fn no_byte_of_it_makes_more_work_than_it_is_long() {
    let Sample { blob, ztoc, .. } = sample();
    let small = writer::Ztoc { checkpoints: ztoc.checkpoints[..12 + 17 + (32 << 10)].to_vec(), ..ztoc };
    let one = writer::Ztoc { max_span_id: 0, digests: small.digests[..1].to_vec(), ..small };
    let mut one = one;
    one.checkpoints[..4].copy_from_slice(&1_u32.to_le_bytes());
    let good = one.bytes();
    let window = good.len() - (32 << 10)..good.len();
    let all: HashSet<DataOffset> = (0..250).map(|block| DataOffset(block * 512)).collect();
    let ask = |bytes: Vec<u8>| {
        let Ok(table) = Ztoc::new(bytes, blob.len() as u64) else { return };
        let mut count = 0_usize;
        let told = table.entries(&mut |entry| {
            count += entry.path.len();
            Ok(())
        });
        assert!(count <= good.len());
        if told.is_ok() {
            let stretches = stretches(&table, &all);
            assert!(stretches.iter().all(|stretch| stretch.compressed.end <= blob.len() as u64));
        }
    };
    ask(good.clone());
    for at in (0..window.start).chain([window.end - 1]) {
        for value in [0, 1, 4, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            ask(bytes);
        }
        ask(good[..at].to_vec());
    }
}
