//! Headers that lie: fields and records that are no numbers or malformed, sparse maps, and tars that end in the middle.

use super::{LEADS_OUT, are_refused, come_out_as, comes_out_as, is_refused};
use crate::support::*;

#[test]
fn a_size_that_is_larger_than_the_layer() {
    is_refused(
        [file("f", "short").tamper(|header| header.set_size(1 << 40))],
        "the layer's tar ends too early, at uncompressed byte 2048, inside a file's data",
    );
}

#[test]
fn a_size_of_all_ones_in_base_256() {
    is_refused([file("f", "short").tamper(|header| header.as_old_mut().size = [0xff; 12])], "its size cannot be one");
    is_refused(
        [file("f", "x").tamper(|header| header.as_old_mut().size = *b"0x000000001\0")],
        "its size cannot be one",
    );
}

#[test]
fn a_size_that_overflows_in_a_pax_record() {
    for size in ["18446744073709551615", "18446744073709551104", "-1", "99999999999999999999999", "five"] {
        is_refused([file("f", "short").pax("size", size), file("g", "x")], r#"the PAX record "size" is no number"#);
    }
    // As POSIX has it, the header's own counts then.
    comes_out_as([file("f", "short").pax("size", ""), file("g", "x")], &[r#"f 644 "short""#, r#"g 644 "x""#]);
}

#[test]
fn a_directory_or_a_link_with_content() {
    // A header block, hidden where content belongs, and found where this kind of entry has none.
    let grow: fn(&mut tar::Header) = |header| header.set_size(512);
    let block = || {
        let mut bytes = Vec::new();
        file("../canary", "").write(&mut bytes);
        raw(bytes)
    };
    for entry in [dir("d"), symlink("l", "d"), hardlink("h", "kept"), fifo("p")] {
        is_refused([file("kept", "x"), entry.tamper(grow), block(), file("kept", "x")], LEADS_OUT);
    }
}

#[test]
fn a_checksum_that_is_wrong() {
    is_refused([file("f", "x").corrupt(|header| header.as_old_mut().mode[0] ^= 1)], "no tar header (its checksum is ");
}

#[test]
fn fields_that_are_no_numbers() {
    for (field, change) in [
        ("mode", (|header| header.as_old_mut().mode = *b"rwxrwxrw") as fn(&mut tar::Header)),
        ("mtime", |header| header.as_old_mut().mtime = [b'9'; 12]),
        ("uid", |header| header.as_old_mut().uid = *b"root\0\0\0\0"),
        ("gid", |header| header.as_old_mut().gid = *b"      -1"),
    ] {
        is_refused([file("f", "x").tamper(change)], &format!("its field {field} is no number"));
    }
}

#[test]
fn modes_and_times_beyond_all_bounds() {
    comes_out_as([file("f", "x").mode(0o777_7777)], &[r#"f 777 "x""#]);
    for mtime in ["99999999999999999999.9", "NaN", "1e5", "inf"] {
        is_refused([file("g", "x").pax("mtime", mtime)], r#"the PAX record "mtime" is no number"#);
    }
    // Before the age of the dinosaurs; file systems keep the earliest time that they have.
    comes_out_as([file("h", "x").pax("mtime", "-99999999999999")], &[r#"h 644 "x""#]);
}

#[test]
fn pax_records_that_are_malformed() {
    for record in [
        &b"99999999999999999999 path=x\n"[..],
        b"0 path=x\n",
        b"5 a=b",
        b"path=x\n",
        b"-7 path=x\n",
        b"10 path=x",
        b"\n",
        b"12 path=\xff\xfe\n",
        b"6 a b\n",
    ] {
        is_refused([typed("PaxHeaders/x", b'x', record), file("f", "x")], "a PAX record is malformed");
    }
}

#[test]
fn long_names_and_pax_headers_that_nothing_follows() {
    const TOO_EARLY: &str = "the layer's tar ends too early, at uncompressed byte ";
    is_refused([file("f", "x"), typed("././@LongLink", b'L', b"name\0")], TOO_EARLY);
    is_refused([typed("PaxHeaders/x", b'x', b"9 path=x\n")], TOO_EARLY);
    let twice = [typed("././@LongLink", b'L', b"a\0"), typed("././@LongLink", b'L', b"b\0"), file("f", "x")];
    comes_out_as(twice, &[r#"b 644 "x""#]);
}

#[test]
fn a_global_pax_header_that_renames_everything() {
    comes_out_as(
        [global_pax(&[("path", "../canary"), ("linkpath", "/etc/passwd"), ("size", "9999")]), file("f", "x")],
        &[r#"f 644 "x""#],
    );
}

#[test]
fn sparse_maps_that_lie() {
    let with = |key: &str, value: &str| {
        file("f", [1; 512]).pax("GNU.sparse.size", "4096").pax("GNU.sparse.numblocks", "1").pax(key, value)
    };
    for (key, value, words) in [
        ("GNU.sparse.map", "0,512,100,512", "has a sparse map that is out of order"),
        ("GNU.sparse.map", "18446744073709551615,512", "is no number"),
        ("GNU.sparse.map", "0,18446744073709551615", "is no number"),
        ("GNU.sparse.map", "0,512,1", "has an offset without a length"),
        ("GNU.sparse.map", "-1,5", "is no number"),
        ("GNU.sparse.size", "18446744073709551615", "is no number"),
    ] {
        is_refused([with(key, value)], words);
    }
    // Without a map it is a file like any other.
    for (key, value) in [
        ("GNU.sparse.size", "1"),
        ("GNU.sparse.realsize", "9223372036854775807"),
        ("GNU.sparse.numblocks", "99999999999"),
        ("GNU.sparse.name", "../../canary"),
    ] {
        comes_out_as([with(key, value)], &["f 644 512 bytes"]);
    }
    for (map, words) in [
        ("99999999999999\n", "has no number in its sparse map"),
        ("1\n0\n", "has no number in its sparse map"),
        ("1\n-5\n5\n", "has no number in its sparse map"),
        ("x", "has no number in its sparse map"),
        ("1\n0\n18446744073709551615\n", "has no number in its sparse map"),
        ("2\n512\n1\n0\n1\n", "has a sparse map that is out of order"),
    ] {
        let mut content = map.as_bytes().to_vec();
        content.resize(1024, 0);
        let entry = file("GNUSparseFile.0/f", content).pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0");
        is_refused([entry.pax("GNU.sparse.realsize", "4096").pax("GNU.sparse.name", "f")], words);
    }
}

#[test]
fn a_gnu_sparse_header_whose_pieces_overlap_or_never_end() {
    let pieces: &[(u64, &[u8])] = &[(0, &[1; 512]), (1024, &[2; 512])];
    let sparse = || sparse_file("f", SparseFormat::Gnu, 4096, pieces);
    is_refused(
        [sparse().tamper(|header| header.as_mut_bytes()[410..421].copy_from_slice(b"00000000001"))],
        "has a sparse map that is out of order",
    );
    is_refused([sparse().tamper(|header| header.as_mut_bytes()[482] = 1)], "has no number in its sparse map");
    is_refused(
        [sparse().tamper(|header| header.as_mut_bytes()[483..494].copy_from_slice(b"00000000100"))],
        "its sparse map reaches beyond the file's end",
    );
}

#[test]
fn a_tar_that_ends_in_the_middle() {
    let mut tar = Vec::new();
    file("whole", "x").write(&mut tar);
    file("broken", vec![1; 2000]).write(&mut tar);
    for (length, place) in [
        (tar.len() - 600, "inside a file's data"),
        (1024 + 700, "inside a file's data"),
        (1024 + 100, "inside a header"),
        (100, "inside a header"),
    ] {
        let words = format!("the layer's tar ends too early, at uncompressed byte {length}, {place}");
        are_refused(vec![Layer::of_tar(tar[..length].to_vec())], &words);
    }
}

#[test]
fn what_is_no_tar_at_all() {
    come_out_as(vec![Layer::of_tar(Vec::new())], &[]);
    for content in [b"<html>hello</html>".repeat(100), vec![0xff; 4096]] {
        are_refused(vec![Layer::of_tar(content)], "at uncompressed byte 0: no tar header (its checksum is ");
    }
}

#[test]
fn entries_behind_the_end_of_the_tar() {
    comes_out_as([file("f", "x"), raw([0; 1024]), file("../canary", "dead")], &[r#"f 644 "x""#]);
}

#[test]
fn entries_of_unknown_types() {
    for (kind, words) in [
        (b'Z', r#"an entry "a" of unknown type 'Z'"#),
        (0xff, r#"an entry "a" of unknown type '\xff'"#),
        (b'M', r#"the continuation of a file "a" from another volume"#),
    ] {
        is_refused([file("kept", "x"), typed("a", kind, "1")], words);
    }
    // A volume's label is no file.
    comes_out_as([typed("c", b'V', ""), file("kept", "x")], &[r#"kept 644 "x""#]);
}
