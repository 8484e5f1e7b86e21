//! One test for each thing that tars do, from the bytes.

use std::io::Read;

use super::super::fixture::{Block, END, file, pax, problem, read_all, read_one};
use super::*;

fn path(tar: &[u8]) -> String {
    read_one(tar).0.path.escape_ascii().to_string()
}

#[test]
fn each_type_becomes_what_it_is() {
    let tar = [
        Block::new("usr/", b'5', 0).with(""),
        file("usr/file", "content"),
        Block::new("usr/hard", b'1', 0).link("./usr/file").with(""),
        Block::new("usr/soft", b'2', 0).link("../up/./there").with(""),
        Block::new("char", b'3', 0).set(329, "0000005\0").set(337, "0000001\0").with(""),
        Block::new("block", b'4', 0).set(329, "0000010\0").set(337, "0000000\0").with(""),
        Block::new("fifo", b'6', 0).with(""),
        Block::new("contiguous", b'7', 3).with("abc"),
        END.to_vec(),
    ]
    .concat();
    let kinds: Vec<_> = read_all(&tar).unwrap().into_iter().map(|(entry, _)| entry.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Directory,
            Kind::File { size: 7, sparse: false },
            Kind::HardLink(b"usr/file".to_vec()),
            Kind::Symlink(b"../up/./there".to_vec()),
            Kind::Special(Special::CharDevice(5, 1)),
            Kind::Special(Special::BlockDevice(8, 0)),
            Kind::Special(Special::Fifo),
            Kind::File { size: 3, sparse: false },
        ]
    );
}

#[test]
fn the_fields_are_decoded() {
    let (entry, content) = read_one(&file("./etc//motd", "hello"));
    assert_eq!(content, b"hello");
    assert_eq!(
        entry,
        Entry {
            path: b"etc/motd".to_vec(),
            kind: Kind::File { size: 5, sparse: false },
            mode: 0o644,
            uid: 1000,
            gid: 1001,
            mtime: (7, 0),
            xattrs: Vec::new(),
            header_offset: 0,
            data_offset: 512,
        }
    );
}

#[test]
fn type_bits_in_the_mode_are_dropped() {
    let (entry, _) = read_one(&Block::new("su", b'0', 0).set(100, "0104755\0").with(""));
    assert_eq!(entry.mode, 0o4755);
}

#[test]
fn what_the_tar_crate_writes_is_read() {
    let long = "deep/".repeat(60) + "file";
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, format!("{long}.link"), &long).unwrap();
    let entries = read_all(&builder.into_inner().unwrap()).unwrap();
    assert_eq!((entries[0].0.path.as_slice(), entries[0].1.as_slice()), (long.as_bytes(), &b"abc"[..]));
    assert_eq!(entries[1].0.path, format!("{long}.link").into_bytes());
    assert_eq!(entries[1].0.kind, Kind::Symlink(long.into_bytes()));
}

#[test]
fn ustar_and_star_names_have_a_prefix() {
    assert_eq!(path(&Block::new("name", b'0', 0).set(345, "some/prefix").with("")), "some/prefix/name");
    let star = Block::new("name", b'0', 0).set(345, "some/prefix").set(476, "00000000007\0").set(508, "tar\0");
    assert_eq!(path(&star.with("")), "some/prefix/name");
    let full = Block::new("n".repeat(100), b'0', 0).set(345, "p".repeat(155));
    assert_eq!(path(&full.with("")), format!("{}/{}", "p".repeat(155), "n".repeat(100)));
}

#[test]
fn gnu_headers_have_times_where_ustar_has_the_prefix() {
    let block = Block::new("name", b'0', 0).gnu().set(345, "14551773440\x0014551773440\0");
    assert_eq!(path(&block.with("")), "name");
}

#[test]
fn a_prefix_under_gnu_magic_is_one_as_early_docker_wrote_it() {
    assert_eq!(path(&Block::new("name", b'0', 0).gnu().set(345, "usr/share/doc").with("")), "usr/share/doc/name");
}

#[test]
fn v7_headers_have_nothing_behind_the_link() {
    let block = Block::new("name", b'3', 0).v7().set(329, "junk").set(345, "junk");
    let (entry, _) = read_one(&block.with(""));
    assert_eq!((entry.path.as_slice(), entry.kind), (&b"name"[..], Kind::Special(Special::CharDevice(0, 0))));
}

#[test]
fn in_old_archives_a_slash_makes_a_directory() {
    assert_eq!(read_one(&Block::new("old/", 0, 0).v7().with("")).0.kind, Kind::Directory);
    assert_eq!(read_one(&Block::new("old", 0, 0).v7().with("")).0.kind, Kind::File { size: 0, sparse: false });
}

#[test]
fn pax_records_override_the_header() {
    let records: &[(&str, &[u8])] = &[
        ("hdrcharset", b"BINARY"),
        ("path", b"/caf\xe9/\xff"),
        ("size", b"4"),
        ("uid", b"4294967296"),
        ("gid", b"3000000"),
        ("mtime", b"1700000000.25"),
        ("SCHILY.xattr.user.b", b"two\nlines = fine"),
        ("SCHILY.xattr.user.a", b"\0\x01"),
        ("SCHILY.xattr.user.empty", b""),
        ("LIBARCHIVE.creationtime", b"1"),
    ];
    let (entry, content) = read_one(&[pax(records), Block::new("short", b'0', 0).with("data")].concat());
    assert_eq!(content, b"data");
    assert_eq!(entry.path, b"caf\xe9/\xff");
    assert_eq!((entry.uid, entry.gid, entry.mtime), (1 << 32, 3_000_000, (1_700_000_000, 250_000_000)));
    let xattrs: &[(&[u8], &[u8])] = &[(b"user.a", b"\0\x01"), (b"user.b", b"two\nlines = fine"), (b"user.empty", b"")];
    assert!(entry.xattrs.iter().map(|(name, value)| (&name[..], &value[..])).eq(xattrs.iter().copied()));
}

#[test]
fn pax_links_keep_their_bytes() {
    let records = pax(&[("linkpath", b"/abs/\xf0//../x")]);
    let (entry, _) = read_one(&[records.clone(), Block::new("l", b'2', 0).link("other").with("")].concat());
    assert_eq!(entry.kind, Kind::Symlink(b"/abs/\xf0//../x".to_vec()));
    let (entry, _) = read_one(&[records, Block::new("l", b'1', 0).link("other").with("")].concat());
    assert_eq!(entry.kind, Kind::HardLink(b"abs/x".to_vec()));
}

#[test]
fn an_empty_pax_value_leaves_the_headers_field() {
    let (entry, content) =
        read_one(&[pax(&[("path", "other"), ("path", ""), ("size", ""), ("uid", "")]), file("name", "abc")].concat());
    assert_eq!((entry.path.as_slice(), entry.uid, content.as_slice()), (&b"name"[..], 1000, &b"abc"[..]));
}

#[test]
fn pax_records_hold_for_one_entry_only() {
    let entries = read_all(&[pax(&[("path", "a")]), file("x", ""), file("b", "")].concat()).unwrap();
    assert_eq!(entries[1].0.path, b"b");
}

#[test]
fn times_may_be_fractions_before_1970() {
    for (written, read) in [
        ("-1.5", (-2, 500_000_000)),
        ("-1", (-1, 0)),
        ("-0.000000001", (-1, 999_999_999)),
        ("0.1234567899", (0, 123_456_789)),
        ("5.", (5, 0)),
    ] {
        assert_eq!(read_one(&[pax(&[("mtime", written)]), file("f", "")].concat()).0.mtime, read, "{written}");
    }
    assert_eq!(read_one(&Block::new("f", b'0', 0).set(136, [0xff; 12]).with("")).0.mtime, (-1, 0));
}

#[test]
fn malformed_pax_records_are_refused() {
    let bad: &[&[u8]] = &[
        b"11 path=foo",
        b"13 path=foo\n",
        b"10 path=foo\n",
        b"path=foo\n",
        b"4 x\n",
        b"5 =x\n",
        b"99999999999999999999 path=foo\n",
        b"-5 path=x\n",
        b"14 path=a\0b/c\n",
        b"11 size=-1\n",
        b"11 size=1k\n",
        b"28 size=9223372036854775808\n",
        b"13 mtime=1e5\n",
        b"12 mtime=--1\n",
        b"25 GNU.sparse.offset=12\n",
        b"14 path=a\nb\n\0\0\0",
    ];
    for body in bad {
        let header = Block::new("PaxHeaders/x", b'x', body.len() as u64).with(body);
        let error = problem(&[header, file("f", "")].concat());
        assert!(matches!(error, LayerError::Malformed { offset: 0, .. }), "{}: {error}", body.escape_ascii());
    }
}

#[test]
fn gnu_long_names_and_links_are_used() {
    let name = vec![b'n'; 5000];
    let target = [b"t/".repeat(2000), b"\0junk".to_vec()].concat();
    let tar = [
        Block::new("././@LongLink", b'K', target.len() as u64).gnu().with(&target),
        Block::new("././@LongLink", b'L', name.len() as u64).gnu().with(&name),
        Block::new("nnn", b'2', 0).gnu().link("ttt").with(""),
    ]
    .concat();
    let (entry, _) = read_one(&tar);
    assert_eq!((entry.path, entry.kind), (name, Kind::Symlink(b"t/".repeat(2000))));
    assert_eq!((entry.header_offset, entry.data_offset), (0, tar.len() as u64));
}

#[test]
fn a_gnu_long_name_goes_before_a_pax_path() {
    let long = Block::new("././@LongLink", b'L', 4).gnu().with("long");
    assert_eq!(path(&[pax(&[("path", "pax")]), long, file("x", "")].concat()), "long");
}

#[test]
fn global_headers_and_volume_labels_say_nothing_as_for_docker() {
    let global = Block::new("pax_global_header", b'g', 12).with("12 path=abc\n");
    let label = Block::new("volume", b'V', 0).with("");
    let (entry, _) = read_one(&[global, label, file("name", "abc")].concat());
    assert_eq!((entry.path.as_slice(), entry.header_offset), (&b"name"[..], 3 * 512));
}

#[test]
fn types_that_are_no_files_have_no_data_whatever_their_size_says() {
    for kind in [b'1', b'2', b'3', b'5', b'6'] {
        let tar = [Block::new("a", kind, 5000).link("b").with(""), file("next", "")].concat();
        let entries = read_all(&tar).unwrap();
        assert_eq!(entries[1].0.path, b"next", "{}", kind.escape_ascii());
    }
}

#[test]
fn unknown_types_are_refused_by_name() {
    for (kind, words) in [
        (b'M', "from another volume"),
        (b'D', "incremental"),
        (b'Z', "unknown type 'Z'"),
        (0x1b, r"unknown type '\x1b'"),
    ] {
        let error = problem(&[file("first", ""), Block::new("odd", kind, 0).with("")].concat());
        assert!(matches!(error, LayerError::Unsupported { offset: 512, .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_offsets_are_those_of_the_headers_and_the_data() {
    let tar = [file("a", "x".repeat(513)), pax(&[("path", "b")]), file("x", "content"), END.to_vec()].concat();
    let mut reader = TarReader::new(&tar[..]);
    let first = reader.next().unwrap().unwrap();
    assert_eq!((first.header_offset, first.data_offset, reader.offset()), (0, 512, 512));
    let second = reader.next().unwrap().unwrap();
    assert_eq!((second.header_offset, second.data_offset), (1536, 3072));
    assert!(tar[second.data_offset as usize..].starts_with(b"content"));
    let mut content = [0; 3];
    reader.data().read_exact(&mut content).unwrap();
    assert_eq!(reader.offset(), 3075);
    assert_eq!(reader.next().unwrap(), None);
    assert_eq!(reader.offset(), tar.len() as u64);
    assert_eq!(reader.next().unwrap(), None, "the end stays the end");
}

#[test]
fn data_that_was_read_in_part_is_skipped() {
    let tar = [file("a", "0123456789".repeat(100)), file("b", "next")].concat();
    let mut reader = TarReader::new(&tar[..]);
    reader.next().unwrap();
    let mut part = [0; 7];
    reader.data().read_exact(&mut part).unwrap();
    reader.data().read_exact(&mut part).unwrap();
    assert_eq!(&part, b"7890123", "reading goes on where it stopped");
    assert_eq!(reader.next().unwrap().unwrap().path, b"b");
    let mut content = Vec::new();
    reader.data().read_to_end(&mut content).unwrap();
    assert_eq!(content, b"next");
}

#[test]
fn an_archive_may_end_in_all_the_ways_that_go_accepts() {
    let member = file("a", "abc");
    let unpadded = &member[..512 + 3];
    let ends: [&[u8]; 5] = [&[], &[0; 512], &END, &[0; 10240], &[&END[..], b"anything"].concat()];
    for end in ends {
        assert_eq!(read_all(&[&member, end].concat()).unwrap().len(), 1);
    }
    assert_eq!(read_one(unpadded).1, b"abc");
    assert_eq!(read_all(&[]).unwrap(), []);
}

#[test]
fn a_lone_block_of_zeros_is_an_error() {
    let error = problem(&[vec![0; 512], file("a", "")].concat());
    assert!(matches!(error, LayerError::Malformed { .. }), "{error}");
}

#[test]
fn headers_with_nothing_behind_them_are_cut() {
    for end in [&[][..], &END] {
        let error = problem(&[&pax(&[("path", "a")]), end].concat());
        assert!(matches!(error, LayerError::Truncated { .. }), "{error}");
    }
}

#[test]
fn checksums_are_compared_unsigned_and_signed() {
    let mut tar = file("caf\u{e9}", "");
    tar[0] ^= 1;
    assert!(problem(&tar).to_string().contains("checksum"));
    // Signed sums, as SunOS wrote them, are lower by 256 for each byte above 127.
    let mut tar = file(b"\xc3\xa9", "");
    let unsigned = u32::from_str_radix(std::str::from_utf8(&tar[148..154]).unwrap(), 8).unwrap();
    tar[148..154].copy_from_slice(format!("{:06o}", unsigned - 2 * 256).as_bytes());
    assert_eq!(path(&tar), r"\xc3\xa9");
}

#[test]
fn what_is_no_tar_says_so() {
    let error = problem(&b"<!DOCTYPE html>".repeat(100));
    assert_eq!(
        error.to_string(),
        "the layer's tar is malformed at uncompressed byte 0: no tar header (its checksum is no number)"
    );
}

#[test]
fn after_an_error_there_is_no_clean_end() {
    let mut reader = TarReader::new(&b"junk"[..]);
    assert!(reader.next().is_err());
    assert!(reader.next().is_err());
    assert!(reader.has_failed());
}

#[test]
fn names_above_the_root_are_refused_as_by_docker() {
    let bad = [
        file("../etc/passwd", ""),
        file("a/../../b", ""),
        Block::new("ok", b'1', 0).link("../../etc/shadow").with(""),
        Block::new("ok", b'1', 0).link("/../etc/shadow").with(""),
        [pax(&[("path", "../x")]), file("ok", "")].concat(),
        [Block::new("@", b'L', 9).gnu().with("x/../../y"), file("ok", "")].concat(),
    ];
    for (number, tar) in bad.into_iter().enumerate() {
        let error = problem(&tar);
        assert!(matches!(error, LayerError::Escapes { offset: 0, .. }), "{number}: {error}");
    }
    assert_eq!(path(&file("/../x", "")), "x", "an absolute name cannot climb");
}

#[test]
fn only_a_directory_may_be_the_root() {
    assert_eq!(read_one(&Block::new("./", b'5', 0).with("")).0.path, b"");
    for tar in [file("", "x"), file("/", "x"), Block::new("a/..", b'2', 0).link("b").with("")] {
        assert!(matches!(problem(&tar), LayerError::Malformed { .. }));
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let negative = Block::new("f", b'0', 0).set(124, [0xff; 12]);
    let enormous = Block::new("f", b'0', 0).set(124, *b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    let beyond = Block::new("f", b'0', 0).set(124, *b"\x80\0\0\x01\0\0\0\0\0\0\0\0");
    let no_number = Block::new("f", b'0', 0).set(124, "12345678x   ");
    for block in [negative, enormous, beyond, no_number] {
        assert!(matches!(problem(&block.with("")), LayerError::Malformed { offset: 0, .. }));
    }
    let tar = [pax(&[("size", "9223372036854775807")]), file("f", "")].concat();
    assert!(matches!(problem(&tar), LayerError::Malformed { offset: 0, .. }));
}

#[test]
fn a_size_beyond_the_stream_is_a_cut_not_an_allocation() {
    for kind in [b'0', b'L', b'x'] {
        let size: u64 = if kind == b'0' { 1 << 61 } else { 1 << 20 };
        let block = Block::new("f", kind, 0).set(124, [&[0x80, 0, 0, 0], &size.to_be_bytes()[..]].concat());
        assert!(matches!(problem(&block.with("")), LayerError::Truncated { offset: 512, .. }));
    }
}

#[test]
fn headers_larger_than_any_name_are_refused() {
    for kind in [b'x', b'L', b'K'] {
        let error = problem(&Block::new("f", kind, (1 << 20) + 1).with(""));
        assert!(matches!(error, LayerError::Malformed { offset: 0, .. }), "{error}");
    }
    let long = Block::new("@", b'L', 70_000).gnu().with("n".repeat(70_000));
    assert!(problem(&[long, file("f", "")].concat()).to_string().contains("a name has 70000 bytes"));
}

#[test]
fn fields_that_are_no_numbers_are_refused_by_name() {
    for (at, field) in [(100, "mode"), (108, "uid"), (116, "gid"), (136, "mtime")] {
        let error = problem(&Block::new("f", b'0', 0).set(at, "9").with(""));
        assert!(error.to_string().contains(field), "{error}");
    }
}
