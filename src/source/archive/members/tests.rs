use std::io::{Seek, SeekFrom, Write};

use super::super::fixture::{Tar, file};
use super::*;
use crate::source::files::{Count, read_small};
use crate::support::block::Block;

fn members(bytes: &[u8]) -> Result<Members, SourceError> {
    let stored = Stored::new(file(bytes), 0, Count::default()).unwrap();
    Members::read(stored, "x.tar".to_owned(), "archive://x.tar".to_owned())
}

fn problem(bytes: &[u8]) -> String {
    members(bytes).err().unwrap().to_string()
}

fn text(members: &Members, name: &str) -> Option<String> {
    let bytes = read_small(members, name).unwrap()?;
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn a_large_member_costs_its_header() {
    let size = 5 << 30;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&Block::new("large", b'0', size).with("")).unwrap();
    file.seek(SeekFrom::Current(size as i64)).unwrap();
    file.write_all(&Tar::default().file("small", "here").end()).unwrap();
    let stored = Stored::new(file, 0, Count::default()).unwrap();
    let members = Members::read(stored, "x.tar".to_owned(), String::new()).unwrap();
    assert_eq!(members.bytes_read(), 4 * 512, "two headers and the end mark");
    assert_eq!(text(&members, "small").unwrap(), "here");
    let large = members.find("large").unwrap().unwrap();
    assert_eq!((large.start(), large.length()), (512, size));
    assert_eq!(members.bytes_read(), 4 * 512 + 4);
}

#[test]
fn a_member_is_found_however_its_name_is_written() {
    let members =
        members(&Tar::default().member(Block::new("./a//b/", 0, 0), "").file("/c/./d", "1").file("./", "").end())
            .unwrap();
    assert!(!members.contains("a/b"), "an old folder");
    assert_eq!(text(&members, "c/d").unwrap(), "1");
    assert_eq!(text(&members, "./c/d").unwrap(), "1");
}

#[test]
fn names_that_climb_are_never_found() {
    let members = members(&Tar::default().file("../up", "1").file("a/../b", "2").file("x", "3").end()).unwrap();
    for name in ["../up", "up", "b", "a/../b", "a/../x", "../x"] {
        assert!(members.find(name).unwrap().is_none(), "{name}");
    }
}

#[test]
fn the_last_of_several_members_with_one_name_counts() {
    let tar = Tar::default().file("a", "old").file("b", "kept").file("./a", "new");
    let tar = tar.file("c", "file").member(Block::new("c", b'6', 0), "").file("d", "file").link("d", b'2', "b");
    let members = members(&tar.end()).unwrap();
    assert_eq!(text(&members, "a").unwrap(), "new");
    assert!(members.find("c").unwrap().is_none(), "a FIFO took its place");
    assert_eq!(text(&members, "d").unwrap(), "kept");
}

#[test]
fn links_are_followed_inside_the_archive() {
    let tar = Tar::default()
        .link("early/layer.tar", b'2', "../late/layer.tar")
        .link("hard-early", b'1', "./late/layer.tar")
        .file("late/layer.tar", "layer")
        .link("hard", b'1', "late/layer.tar")
        .link("absolute", b'2', "/late/layer.tar")
        .link("above", b'2', "../../../late/layer.tar")
        .link("chain", b'2', "above")
        .link("moved/hard-to-symlink", b'1', "early/layer.tar")
        .link("dangling", b'2', "nothing")
        .link("folder", b'2', ".")
        .link("outside", b'2', "/etc/passwd");
    let members = members(&tar.end()).unwrap();
    for name in ["early/layer.tar", "hard-early", "hard", "absolute", "above", "chain", "moved/hard-to-symlink"] {
        assert_eq!(text(&members, name).as_deref(), Some("layer"), "{name}");
    }
    for name in ["dangling", "folder", "outside"] {
        assert!(members.find(name).unwrap().is_none(), "{name}");
    }
}

#[test]
fn a_hard_link_is_to_the_file_that_was_there() {
    let tar = Tar::default().file("a", "old").link("b", b'1', "a").file("a", "new");
    let members = members(&tar.end()).unwrap();
    assert_eq!((text(&members, "a").unwrap(), text(&members, "b").unwrap()), ("new".to_owned(), "old".to_owned()));
}

#[test]
fn links_in_a_circle_are_refused() {
    let mut tar =
        Tar::default().link("a", b'2', "b").link("b", b'2', "a").link("self", b'2', "self").link("h", b'1', "h");
    tar = tar.file("end", "reached");
    for link in 0..60 {
        tar =
            tar.link(&format!("link{link}"), b'2', &if link == 0 { "end".into() } else { format!("link{}", link - 1) });
    }
    let members = members(&tar.end()).unwrap();
    for name in ["a", "b", "self", "h", "link59"] {
        let error = members.find(name).unwrap_err().to_string();
        assert!(error.contains("lead in a circle"), "{name}: {error}");
    }
    assert_eq!(text(&members, "link39").unwrap(), "reached");
}

#[test]
fn long_names_of_both_dialects_are_read() {
    let long = format!("{}/layer.tar", "n".repeat(200));
    let gnu = Block::new("././@LongLink", b'L', long.len() as u64 + 1);
    let tar = Tar::default()
        .pax(&[("comment", "with a line\nbreak"), ("path", &long)])
        .file("short", "by PAX")
        .member(gnu, format!("{}\0", long.replace('n', "m")))
        .file("short", "by GNU")
        .pax(&[("linkpath", &long)])
        .link("link", b'2', "short")
        .file("last", "untouched");
    let members = members(&tar.end()).unwrap();
    assert_eq!(text(&members, &long).unwrap(), "by PAX");
    assert_eq!(text(&members, &long.replace('n', "m")).unwrap(), "by GNU");
    assert_eq!(text(&members, "link").unwrap(), "by PAX");
    assert_eq!(text(&members, "last").unwrap(), "untouched");
    assert!(!members.contains("short"));
}

#[test]
fn a_pax_size_replaces_the_headers() {
    let tar = Tar::default().pax(&[("size", "5")]).member(Block::new("a", b'0', 0), "12345").file("b", "next");
    let members = members(&tar.end()).unwrap();
    assert_eq!((text(&members, "a").unwrap(), text(&members, "b").unwrap()), ("12345".to_owned(), "next".to_owned()));
}

#[test]
fn a_sparse_member_is_an_error_only_where_it_is_wanted() {
    // Its map goes on in further blocks.
    let old = Block::new("old", b'S', 4).gnu().set(482, [1]);
    let mut extension = [[0; 512]; 2].concat();
    extension[504] = 1;
    let tar = Tar::default()
        .member(old, [extension, b"data".to_vec()].concat())
        .pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "new")])
        .file("GNUSparseFile.0/new", "0\n")
        .file("whole", "here");
    let members = members(&tar.end()).unwrap();
    assert_eq!(text(&members, "whole").unwrap(), "here");
    for name in ["old", "new"] {
        let error = members.find(name).unwrap_err().to_string();
        assert!(error.contains("is stored as a sparse file; pack the archive without --sparse"), "{name}: {error}");
    }
}

#[test]
fn a_sparse_name_is_the_name_of_a_sparse_file_alone() {
    let tar = Tar::default().pax(&[("GNU.sparse.name", "other"), ("path", "whole")]).file("x", "here");
    let members = members(&tar.end()).unwrap();
    assert_eq!(text(&members, "whole").unwrap(), "here");
    assert!(!members.contains("other"));
}

#[test]
fn a_cut_anywhere_in_front_of_the_end_mark_is_told() {
    let tar = Tar::default().pax(&[("path", "long")]).file("a", "1").file("empty", "").file("b", [7; 700]).end();
    let whole = tar.len();
    for length in 1..whole - 512 {
        assert!(problem(&tar[..length]).contains("truncated"), "{length}");
    }
    for length in [whole - 512, whole] {
        assert!(members(&tar[..length]).is_ok(), "one block of zeros is enough, as for every tar");
    }
    assert!(problem(&tar[..whole - 1]).contains("truncated"));
    let error = problem(&tar[..3500]);
    assert!(error.contains("it ends in b, after 3500 bytes"), "{error}");
}

#[test]
fn what_is_no_tar_is_refused() {
    assert!(problem(&[b'x'; 600]).contains("does not begin with a tar header"));
    let tar = Tar::default().file("a", "1");
    let offset = tar.0.len();
    let error = problem(&[tar.0.clone(), vec![1; 512]].concat());
    assert!(error.contains(&format!("damaged at byte {offset}: no tar header")), "{error}");
    let error = problem(&[tar.0.clone(), vec![0; 512], vec![1; 512]].concat());
    assert!(error.contains("a block of zeros is followed by something else"), "{error}");
    assert!(members(&[0; 1024]).is_ok(), "an archive of nothing");
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let tar = Tar::default().file("a", "1");
    for size in [u64::MAX, u64::MAX - 511, 1 << 63, 1 << 40] {
        let error = problem(&tar.clone().member(Block::new("b", b'0', size), "").end());
        assert!(error.contains("truncated") || error.contains("size"), "{size}: {error}");
        let error = problem(&tar.clone().pax(&[("size", &size.to_string())]).file("b", "").end());
        assert!(error.contains("truncated") || error.contains("size"), "{size}: {error}");
    }
    for kind in [b'x', b'L', b'K'] {
        let error = problem(&tar.clone().member(Block::new("b", kind, 2 << 20), vec![0; 2 << 20]).end());
        assert!(error.contains("larger than any name"), "{error}");
    }
    for size in ["", "x", "-1", "99999999999999999999"] {
        let body = format!("{} size={size}\n", size.len() + 8 + usize::from(size.len() > 1));
        let records = tar.clone().member(Block::new("x", b'x', body.len() as u64), &body);
        let read = members(&records.file("b", "2").end());
        assert_eq!(read.is_ok(), size.is_empty(), "{size}");
    }
    for body in ["5 a=\n", "9 path=x\n", "3 a\n", "999 path=x\n", "path=x\n", "-1 path=x\n", "0 \n", "1"] {
        let read = members(&tar.clone().member(Block::new("x", b'x', body.len() as u64), body).file("b", "2").end());
        assert_eq!(read.is_ok(), body.starts_with("5 ") || body.starts_with("9 "), "{body}");
    }
}

#[test]
fn the_table_is_bounded() {
    let tar = (0..1000).fold(Tar::default(), |tar, number| tar.file(format!("member{number:04}"), ""));
    let stored = || Stored::new(file(&tar.clone().end()), 0, Count::default()).unwrap();
    let cost = 1000 * (10 + MEMBER_COST);
    assert!(Members::read_within(stored(), String::new(), String::new(), cost).is_ok());
    let error = Members::read_within(stored(), String::new(), String::new(), cost - 1).err().unwrap().to_string();
    assert!(error.contains("more members than any archive of images"), "{error}");
}
