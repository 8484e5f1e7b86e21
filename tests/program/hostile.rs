//! Tars made to do harm. Nothing appears outside the destination and nothing crashes: an image is refused in one line, with
//! exit code 1 and nothing written, or what comes out is exactly what it would be with the harm left out.

use std::fs;
use std::os::unix::fs::symlink as plant;

use crate::support::*;

/// What came of an image's whole root, fetched as files and as a tar stream.
struct Fetched {
    files: Run,
    left: Vec<String>,
    stream: Run,
    names: Vec<String>,
}

/// Fetches the whole root of an image of these layers both ways. Fails the test if anything except the destination was touched.
#[track_caller]
fn fetch(layers: Vec<Layer>) -> Fetched {
    let registry = Registry::start();
    let image = layers.into_iter().fold(Image::new(), Image::layer);
    let reference = registry.push("evil/app:1", &image);
    let dir = WorkDir::new();
    fs::write(dir.outside("canary"), "alive").unwrap();
    fs::write(dir.path("canary"), "alive").unwrap();
    let files = artifact(&["get", "--progress", "none", &reference, "/", "-o", "out"]).run_in(&dir);
    is_calm(&files);
    let left = if dir.path("out").exists() { listing(&dir.path("out")) } else { Vec::new() };
    let mut untouched = listing(&dir.outside(""));
    untouched.retain(|line| !line.starts_with("work/out/"));
    let expected =
        ["bin/ 755", r#"canary 644 "alive""#, "home/ 755", "tmp/ 755", "work/ 755", r#"work/canary 644 "alive""#];
    assert_eq!(untouched, expected);
    assert_eq!(dir.path("out").exists(), files.code == 0, "an error leaves nothing");

    let stream = artifact(&["get", "--progress", "none", &reference, "/", "-o", "-"]).run_in(&dir);
    is_calm(&stream);
    let mut names = Vec::new();
    for entry in tar::Archive::new(&stream.stdout[..]).entries().unwrap() {
        let name = entry.unwrap().path_bytes().into_owned();
        let is_plain = |part: &[u8]| part != b"..";
        assert!(!name.starts_with(b"/") && name.split(|byte| *byte == b'/').all(is_plain), "{}", name.escape_ascii());
        names.push(name.escape_ascii().to_string());
    }
    Fetched { files, left, stream, names }
}

#[track_caller]
fn is_calm(run: &Run) {
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let is_calm = |byte: char| byte == '\n' || !byte.is_control();
    assert!(run.stderr.chars().all(is_calm), "{:?}", run.stderr);
}

/// An image of these layers is refused in one line that has `words`, and nothing is written.
#[track_caller]
fn are_refused(layers: Vec<Layer>, words: &str) {
    let Fetched { files, stream, .. } = fetch(layers);
    for run in [files, stream] {
        let run = run.exits(1).says(words);
        assert_eq!((run.stderr.lines().count(), run.out().as_str()), (1, ""), "{}", run.stderr);
    }
}

/// An image of these layers is what is `expected`, both as files and in a tar stream. Gives what was said.
#[track_caller]
fn come_out_as(layers: Vec<Layer>, expected: &[&str]) -> Run {
    let Fetched { files, left, stream, names } = fetch(layers);
    let (files, _) = (files.exits(0), stream.exits(0));
    assert_eq!(left, expected);
    let expected: Vec<&str> = expected.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, expected, "the tar stream has the same");
    files
}

/// A layer of these entries is refused; see [`are_refused`].
#[track_caller]
fn is_refused<const N: usize>(entries: [Entry; N], words: &str) {
    are_refused(vec![Layer::new(entries)], words);
}

/// A layer of these entries is what is `expected`; see [`come_out_as`].
#[track_caller]
fn comes_out_as<const N: usize>(entries: [Entry; N], expected: &[&str]) -> Run {
    come_out_as(vec![Layer::new(entries)], expected)
}

// Names that lead out

const LEADS_OUT: &str = "which leads out of the image: refused";

#[test]
fn a_name_with_dots_that_climb_out() {
    for name in ["../canary", "../../canary", "a/../../canary", "./../canary", "a/b/../../../canary", ".."] {
        is_refused([file(name, "dead")], &format!("names \"{name}\" at uncompressed byte 0, {LEADS_OUT}"));
        is_refused([file("kept", "x"), symlink(name, "x")], LEADS_OUT);
    }
    is_refused([dir("..")], LEADS_OUT);
}

#[test]
fn an_absolute_name() {
    comes_out_as(
        [file("/canary", "harmless"), file("//tmp/evil", "harmless")],
        &[r#"canary 644 "harmless""#, "tmp/ 755", r#"tmp/evil 644 "harmless""#],
    );
}

#[test]
fn a_name_that_climbs_out_in_a_pax_record_behind_a_harmless_one() {
    is_refused([file("harmless", "dead").pax("path", "../canary")], LEADS_OUT);
    // Above the root is the root, where a name begins there.
    comes_out_as([file("x", "kept in").pax("path", "/../../canary")], &[r#"canary 644 "kept in""#]);
}

#[test]
fn a_name_that_climbs_out_in_a_gnu_long_name() {
    let name = format!("{}canary", "../".repeat(60));
    is_refused([file(&name, "dead").gnu_names()], LEADS_OUT);
}

#[test]
fn a_name_that_climbs_out_by_the_ustar_prefix() {
    is_refused([file("../canary", "dead").ustar_prefix()], LEADS_OUT);
}

#[test]
fn a_sparse_name_that_climbs_out() {
    is_refused([sparse_file("../canary", SparseFormat::Pax10, 1024, &[(0, &[1; 512])])], LEADS_OUT);
}

#[test]
fn names_that_are_empty_dots_or_slashes() {
    for entry in [file("", "1"), file(".", "2"), file("/", "4"), file("./", "5"), symlink(".", "/")] {
        is_refused([entry], "an entry that is no directory has the root's name, or none");
    }
    comes_out_as([dir("."), dir("/"), dir("./"), file("kept", "x")], &[r#"kept 644 "x""#]);
}

#[test]
fn a_name_with_a_nul_byte_in_a_pax_record() {
    for name in ["../canary\0harmless", "a\0b"] {
        is_refused([file("a", "1").pax("path", name)], r#"the PAX record "path" has a NUL in a name"#);
    }
}

// Links that lead out

#[test]
fn a_link_planted_first_and_written_through() {
    comes_out_as([symlink("way", "../.."), file("way/canary", "dead")], &[r#"canary 644 "dead""#, "way -> ../.."]);
}

#[test]
fn an_absolute_link_planted_first_and_written_through() {
    comes_out_as(
        [symlink("way", "/tmp"), file("way/evil-from-a-tar", "dead")],
        &["tmp/ 755", r#"tmp/evil-from-a-tar 644 "dead""#, "way -> /tmp"],
    );
    assert!(!std::path::Path::new("/tmp/evil-from-a-tar").exists());
}

#[test]
fn a_link_planted_by_a_lower_layer_and_written_through_by_an_upper_one() {
    come_out_as(
        vec![Layer::new([symlink("way", "../..")]), Layer::new([file("way/canary", "dead")])],
        &["way/ 755", r#"way/canary 644 "dead""#],
    );
}

#[test]
fn a_directory_swapped_for_a_link_and_back() {
    comes_out_as(
        [dir("d"), file("d/a", "1"), symlink("d", "../.."), file("d/canary", "dead"), dir("d"), file("d/b", "2")],
        &[r#"canary 644 "dead""#, "d/ 755", r#"d/b 644 "2""#],
    );
}

#[test]
fn a_file_written_onto_a_link() {
    comes_out_as([symlink("canary", "../canary"), file("canary", "in its place")], &[r#"canary 644 "in its place""#]);
}

#[test]
fn a_hard_link_to_a_file_of_the_host() {
    comes_out_as([hardlink("passwd", "/etc/passwd"), file("kept", "x")], &[r#"kept 644 "x""#])
        .says("/passwd is left out: it is a hard link to /etc/passwd, which is neither before it in its layer");
    for target in ["../canary", "../../../../etc/passwd"] {
        is_refused([hardlink("link", target)], LEADS_OUT);
    }
}

#[test]
fn a_hard_link_through_a_link_that_leads_out() {
    comes_out_as(
        [symlink("way", ".."), hardlink("stolen", "way/canary"), file("stolen", "dead")],
        &[r#"stolen 644 "dead""#, "way -> .."],
    );
    comes_out_as([symlink("way", ".."), hardlink("stolen", "way/canary")], &["way -> .."])
        .says("/stolen is left out: it is a hard link to /canary, which is neither before it in its layer");
}

#[test]
fn hard_links_in_a_circle_and_to_themselves() {
    let run = comes_out_as(
        [hardlink("self", "self"), hardlink("a", "b"), hardlink("b", "a"), file("kept", "x")],
        &[r#"kept 644 "x""#],
    );
    for name in ["self", "a", "b"] {
        assert!(run.stderr.contains(&format!("/{name} is left out: it is a hard link to ")), "{}", run.stderr);
    }
}

#[test]
fn a_hard_link_to_a_directory_or_a_device() {
    comes_out_as(
        [dir("d"), hardlink("to-dir", "d"), char_device("null", 1, 3), hardlink("to-device", "null")],
        &["d/ 755"],
    )
    .says("/to-dir is left out: it is a hard link to /d")
    .says("skipped out/null: device nodes")
    .says("skipped out/to-device: device nodes");
}

#[test]
fn a_link_with_an_empty_target_and_one_with_a_very_long_one() {
    is_refused([symlink("empty", "")], "has a symbolic link empty with an empty target");
    // As long a one as no file system holds, though a tar does.
    let Fetched { files, stream, names, .. } = fetch(vec![Layer::new([symlink("long", "x/".repeat(5000))])]);
    files.exits(1).says("cannot write out/long: File name too long");
    stream.exits(0);
    assert_eq!(names, ["long"]);
}

#[test]
fn a_link_that_was_on_the_disk_before_is_not_written_through() {
    let registry = Registry::start();
    let reference =
        registry.push("app:1", &Image::new().layer([dir("d"), file("d/canary", "new"), file("tool", "new")]));
    let work = WorkDir::new();
    fs::write(work.outside("canary"), "alive").unwrap();
    plant("..", work.path("d")).unwrap();
    plant("../canary", work.path("tool")).unwrap();
    artifact(&["get", &reference, "/d"]).run_in(&work).exits(1).says("directories are never written through one");
    artifact(&["get", &reference, "/tool"]).run_in(&work).exits(0);
    assert_eq!(fs::read_to_string(work.outside("canary")).unwrap(), "alive");
    assert_eq!(work.listing(), ["d -> ..", r#"tool 644 "new""#]);
}

// Whiteouts

#[test]
fn whiteouts_that_climb_out_or_name_nothing() {
    let over = |entry: Entry| vec![Layer::new([file("kept", "x"), file("d/kept", "y")]), Layer::new([entry])];
    are_refused(over(file("../.wh.canary", "")), LEADS_OUT);
    let kept = ["d/ 755", r#"d/kept 644 "y""#, r#"kept 644 "x""#];
    for name in [".wh...", ".wh..", ".wh.", "d/.wh.", ".wh..wh."] {
        come_out_as(over(file(name, "")), &kept);
    }
    come_out_as(over(dir(".wh.dir")), &kept);
    // Only an entry's own name makes a whiteout of it.
    let below = ["e/ 755", "e/.wh..wh..opq/ 755", r#"e/.wh..wh..opq/x 644 """#];
    come_out_as(over(file("e/.wh..wh..opq/x", "")), &[&kept[..2], &below, &kept[2..]].concat());
}

#[test]
fn a_whiteout_that_is_a_link() {
    come_out_as(vec![Layer::new([file("f", "x")]), Layer::new([symlink(".wh.f", "/etc/passwd")])], &[]);
}

// Headers that lie

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
fn a_header_of_many_megabytes() {
    const TOO_LARGE: &str = "is larger than any name or list of records";
    is_refused([file("f", "x").pax("comment", &"x".repeat(8 << 20))], TOO_LARGE);
    is_refused([typed("././@LongLink", b'L', vec![b'a'; 8 << 20]), file("f", "x")], TOO_LARGE);
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
fn a_sparse_file_of_eight_exabytes_is_not_filled_with_zeros() {
    for format in [SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
        is_refused([sparse_file("f", format, 1 << 62, &[(0, &[1; 512])])], "it has holes of more than 2 TiB");
    }
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

// Too much of everything

#[test]
fn a_decompression_bomb_that_is_mostly_nothing() {
    // A thousand times what it is when compressed: read through, never held.
    comes_out_as([file("zeros", vec![0; 64 << 20])], &["zeros 644 67108864 bytes"]);
}

#[test]
fn directories_nested_a_thousand_deep() {
    let entries: Vec<Entry> = (1..1000).map(|depth| dir(vec!["d"; depth].join("/"))).collect();
    are_refused(vec![entries.into()], "directories nested deeper than 512 levels; fetch the inner ones by themselves");
}

#[test]
fn five_thousand_entries_of_one_name() {
    let entries: Vec<Entry> = (0..5_000).map(|i| if i % 2 == 0 { file("x", "file") } else { dir("x") }).collect();
    come_out_as(vec![entries.into()], &["x/ 755"]);
}

#[test]
fn names_with_terminal_escapes_are_never_shown_raw() {
    let registry = Registry::start();
    let layer = [file("bin/\x1b[31mred\x07\n\u{202e}name", "x"), fifo("bin/\x1b]0;title\x07pipe")];
    let reference = registry.push("evil/app:1", &Image::new().layer(layer));
    let dir = WorkDir::new();
    for arguments in
        [&["/bin"][..], &["/bin/*"], &["/bin/red"], &["--format", "table", "/bin"], &["--progress", "plain", "/bin"]]
    {
        let run = artifact(&["get", &reference]).args(arguments).run_in(&dir);
        let shown = format!("{}{}", run.out(), run.stderr);
        assert!(!shown.contains(['\x1b', '\x07', '\u{202e}']), "{shown:?}");
    }
}

#[test]
fn what_a_registry_says_is_never_shown_raw() {
    let registry = Registry::start();
    let evil = r"\u001b]0;title\u0007\u202ename";
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let artifact_type = format!(r#"{{"schemaVersion":2,"artifactType":"x/{evil}","config":{{"mediaType":"{evil}"}}}}"#);
    let descriptor = format!(r#""mediaType":"{manifest}","digest":"{}","size":1"#, sha256(b""));
    let platform = format!(
        r#"{{"schemaVersion":2,"manifests":[{{{descriptor},"platform":{{"os":"{evil}","architecture":"{evil}"}}}}]}}"#
    );
    for (media_type, document, code, words) in [
        (manifest, artifact_type, 1, "it is not an image but an artifact of type x/"),
        ("application/vnd.oci.image.index.v1+json", platform, 3, ""),
        (manifest, format!("\"{evil}"), 1, "its manifest cannot be read: EOF while parsing a string"),
    ] {
        let reference = registry.push("evil/app:1", &OtherManifest(media_type, &document));
        for command in [&["get", "-D"][..], &["get"], &["ls"], &["label"]] {
            let run = artifact(command).args(&[&reference, "/x"]).run().exits(code).says(words);
            let shown = format!("{}{}", run.out(), run.stderr);
            assert!(shown.contains("evil/app"), "{shown:?}");
            assert!(!shown.contains(['\x1b', '\x07', '\u{202e}']), "{shown:?}");
        }
    }
}
