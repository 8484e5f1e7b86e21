//! Tars made to do harm. Whatever they say, nothing appears outside the destination, nothing crashes, and what a person reads
//! is either the harmless rest or one clear error.

use std::fs;
use std::os::unix::fs::symlink as plant;

use crate::support::*;

/// Fetches the whole root of an image of these layers, as files and as a tar stream, and fails the test if anything but the
/// destination was touched. Gives what the first run said.
#[track_caller]
fn unharmed(layers: Vec<Layer>) -> Run {
    let registry = Registry::start();
    let image = layers.into_iter().fold(Image::new(), Image::layer);
    let reference = registry.push("evil/app:1", &image);
    let dir = WorkDir::new();
    fs::write(dir.outside("canary"), "alive").unwrap();
    fs::write(dir.path("canary"), "alive").unwrap();
    let run = artifact(&["get", &reference, "/", "-o", "out"]).run_in(&dir);
    ends_well(&run);
    let mut left: Vec<String> = listing(&dir.outside(""));
    left.retain(|line| !line.starts_with("work/out/"));
    let expected =
        ["bin/ 755", r#"canary 644 "alive""#, "home/ 755", "tmp/ 755", "work/ 755", r#"work/canary 644 "alive""#];
    assert_eq!(left, expected);
    if run.code != 0 {
        assert!(!dir.path("out").exists(), "an error leaves nothing");
    }

    let stream = artifact(&["get", &reference, "/", "-o", "-"]).run_in(&dir);
    ends_well(&stream);
    for entry in tar::Archive::new(&stream.stdout[..]).entries().unwrap() {
        let Ok(entry) = entry else { break };
        let name = entry.path_bytes().into_owned();
        let is_plain = |part: &[u8]| part != b"..";
        assert!(!name.starts_with(b"/") && name.split(|byte| *byte == b'/').all(is_plain), "{}", name.escape_ascii());
    }
    run
}

#[track_caller]
fn ends_well(run: &Run) {
    assert!(matches!(run.code, 0 | 1 | 3 | 5), "exit code {}: {}", run.code, run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let is_calm = |byte: char| byte == '\n' || !byte.is_control();
    assert!(run.stderr.chars().all(is_calm), "{:?}", run.stderr);
    if run.code != 0 {
        assert!(!run.stderr.is_empty(), "an error says what it is");
    }
}

#[track_caller]
fn layer<const N: usize>(entries: [Entry; N]) -> Run {
    unharmed(vec![Layer::new(entries)])
}

// Names that lead out

#[test]
fn a_name_with_dots_that_climb_out() {
    layer([file("../canary", "dead"), file("../../canary", "dead"), file("a/../../canary", "dead")]);
}

#[test]
fn an_absolute_name() {
    layer([file("/canary", "harmless"), file("//tmp/evil", "harmless")]);
}

#[test]
fn a_name_that_climbs_out_in_a_pax_record_behind_a_harmless_one() {
    layer([file("harmless", "dead").pax("path", "../canary"), file("x", "dead").pax("path", "/../../canary")]);
}

#[test]
fn a_name_that_climbs_out_in_a_gnu_long_name() {
    let name = format!("{}canary", "../".repeat(60));
    layer([file(&name, "dead").gnu_names()]);
}

#[test]
fn a_name_that_climbs_out_by_the_ustar_prefix() {
    layer([file("../canary", "dead").ustar_prefix()]);
}

#[test]
fn a_sparse_name_that_climbs_out() {
    layer([sparse_file("../canary", SparseFormat::Pax10, 1024, &[(0, &[1; 512])])]);
}

#[test]
fn names_that_are_empty_dots_or_slashes() {
    layer([
        file("", "1"),
        file(".", "2"),
        file("..", "3"),
        file("/", "4"),
        file("./", "5"),
        dir(".."),
        symlink(".", "/"),
    ]);
}

#[test]
fn a_name_with_a_nul_byte_in_a_pax_record() {
    layer([file("a", "1").pax("path", "../canary\0harmless"), file("b", "2").pax("path", "a\0b")]);
}

// Links that lead out

#[test]
fn a_link_planted_first_and_written_through() {
    layer([symlink("way", "../.."), file("way/canary", "dead")]);
}

#[test]
fn an_absolute_link_planted_first_and_written_through() {
    layer([symlink("way", "/tmp"), file("way/evil-from-a-tar", "dead")]);
    assert!(!std::path::Path::new("/tmp/evil-from-a-tar").exists());
}

#[test]
fn a_link_planted_by_a_lower_layer_and_written_through_by_an_upper_one() {
    unharmed(vec![Layer::new([symlink("way", "../..")]), Layer::new([file("way/canary", "dead")])]);
}

#[test]
fn a_directory_swapped_for_a_link_and_back() {
    layer([dir("d"), file("d/a", "1"), symlink("d", "../.."), file("d/canary", "dead"), dir("d"), file("d/b", "2")]);
}

#[test]
fn a_file_written_onto_a_link() {
    layer([symlink("canary", "../canary"), file("canary", "in its place")]);
}

#[test]
fn a_hard_link_to_a_file_of_the_host() {
    layer([hardlink("passwd", "/etc/passwd"), hardlink("up", "../canary"), hardlink("more", "../../../../etc/passwd")]);
}

#[test]
fn a_hard_link_through_a_link_that_leads_out() {
    layer([symlink("way", ".."), hardlink("stolen", "way/canary"), file("stolen", "dead")]);
}

#[test]
fn hard_links_in_a_circle_and_to_themselves() {
    layer([hardlink("self", "self"), hardlink("a", "b"), hardlink("b", "a"), file("kept", "x")]);
}

#[test]
fn a_hard_link_to_a_directory_or_a_device() {
    layer([dir("d"), hardlink("to-dir", "d"), char_device("null", 1, 3), hardlink("to-device", "null")]);
}

#[test]
fn a_link_with_an_empty_target_and_one_with_a_very_long_one() {
    layer([symlink("empty", ""), symlink("long", "x/".repeat(5000))]);
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
    ends_well(&artifact(&["get", &reference, "/d"]).run_in(&work));
    artifact(&["get", &reference, "/tool"]).run_in(&work).exits(0);
    assert_eq!(fs::read_to_string(work.outside("canary")).unwrap(), "alive");
    assert_eq!(work.read("tool"), b"new");
}

// Whiteouts

#[test]
fn whiteouts_that_climb_out_or_name_nothing() {
    unharmed(vec![
        Layer::new([file("kept", "x")]),
        Layer::new([file("../.wh.canary", ""), file(".wh...", ""), file(".wh..", ""), file(".wh.", "")]),
        Layer::new([file("d/.wh.", ""), file(".wh..wh.", ""), file(".wh..wh..opq/x", ""), dir(".wh.dir")]),
    ]);
}

#[test]
fn a_whiteout_that_is_a_link() {
    unharmed(vec![Layer::new([file("f", "x")]), Layer::new([symlink(".wh.f", "/etc/passwd")])]);
}

// Headers that lie

#[test]
fn a_size_that_is_larger_than_the_layer() {
    let run = layer([file("f", "short").tamper(|header| header.set_size(1 << 40))]);
    assert_ne!(run.code, 0);
}

#[test]
fn a_size_of_all_ones_in_base_256() {
    layer([file("f", "short").tamper(|header| header.as_old_mut().size = [0xff; 12])]);
}

#[test]
fn a_size_that_overflows_in_a_pax_record() {
    for size in ["18446744073709551615", "18446744073709551104", "-1", "99999999999999999999999", "five", ""] {
        unharmed(vec![Layer::new([file("f", "short").pax("size", size), file("g", "x")])]);
    }
}

#[test]
fn a_directory_or_a_link_with_content() {
    let grow: fn(&mut tar::Header) = |header| header.set_size(512);
    let block = raw(file_bytes("../canary"));
    layer([dir("d").tamper(grow), block.clone(), symlink("l", "d").tamper(grow), block, file("kept", "x")]);
}

/// A header block, hidden where content belongs.
fn file_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    file(name, "").write(&mut bytes);
    bytes
}

#[test]
fn a_checksum_that_is_wrong() {
    let run = layer([file("f", "x").corrupt(|header| header.as_old_mut().mode[0] ^= 1)]);
    assert_ne!(run.code, 0);
}

#[test]
fn fields_that_are_no_numbers() {
    layer([file("f", "x").tamper(|header| {
        let header = header.as_old_mut();
        header.mode = *b"rwxrwxrw";
        header.mtime = [b'9'; 12];
        header.uid = [0xff; 8];
    })]);
}

#[test]
fn modes_and_times_beyond_all_bounds() {
    layer([
        file("f", "x").mode(0o777_7777),
        file("g", "x").pax("mtime", "99999999999999999999.9"),
        file("h", "x").pax("mtime", "-99999999999999"),
        file("i", "x").pax("mtime", "NaN"),
    ]);
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
        unharmed(vec![Layer::new([typed("PaxHeaders/x", b'x', record), file("f", "x")])]);
    }
}

#[test]
fn a_pax_header_of_many_megabytes() {
    let value = "x".repeat(8 << 20);
    unharmed(vec![Layer::new([file("f", "x").pax("comment", &value)])]);
}

#[test]
fn a_gnu_long_name_of_many_megabytes() {
    layer([typed("././@LongLink", b'L', vec![b'a'; 8 << 20]), file("f", "x")]);
}

#[test]
fn long_names_and_pax_headers_that_nothing_follows() {
    layer([file("f", "x"), typed("././@LongLink", b'L', b"name\0")]);
    layer([typed("PaxHeaders/x", b'x', b"8 path=x\n")]);
    layer([typed("././@LongLink", b'L', b"a\0"), typed("././@LongLink", b'L', b"b\0"), file("f", "x")]);
}

#[test]
fn a_global_pax_header_that_renames_everything() {
    layer([global_pax(&[("path", "../canary"), ("linkpath", "/etc/passwd"), ("size", "9999")]), file("f", "x")]);
}

#[test]
fn sparse_maps_that_lie() {
    for (key, value) in [
        ("GNU.sparse.map", "0,512,100,512"),
        ("GNU.sparse.map", "18446744073709551615,512"),
        ("GNU.sparse.map", "0,18446744073709551615"),
        ("GNU.sparse.map", "0,512,1"),
        ("GNU.sparse.map", "-1,5"),
        ("GNU.sparse.size", "1"),
        ("GNU.sparse.size", "18446744073709551615"),
        ("GNU.sparse.realsize", "9223372036854775807"),
        ("GNU.sparse.numblocks", "99999999999"),
        ("GNU.sparse.name", "../../canary"),
    ] {
        let entry = file("f", [1; 512]).pax("GNU.sparse.size", "4096").pax("GNU.sparse.numblocks", "1").pax(key, value);
        unharmed(vec![Layer::new([entry])]);
    }
    let maps = ["99999999999999\n", "1\n0\n", "1\n-5\n5\n", "x", "1\n0\n18446744073709551615\n", "2\n512\n1\n0\n1\n"];
    for map in maps {
        let mut content = map.as_bytes().to_vec();
        content.resize(1024, 0);
        let entry = file("GNUSparseFile.0/f", content).pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0");
        unharmed(vec![Layer::new([entry.pax("GNU.sparse.realsize", "4096").pax("GNU.sparse.name", "f")])]);
    }
}

#[test]
fn a_gnu_sparse_header_whose_pieces_overlap_or_never_end() {
    let pieces: &[(u64, &[u8])] = &[(0, &[1; 512]), (1024, &[2; 512])];
    let sparse = || sparse_file("f", SparseFormat::Gnu, 4096, pieces);
    layer([sparse().tamper(|header| header.as_mut_bytes()[410..421].copy_from_slice(b"00000000001"))]);
    layer([sparse().tamper(|header| header.as_mut_bytes()[482] = 1)]);
    layer([sparse().tamper(|header| header.as_mut_bytes()[483..494].copy_from_slice(b"00000000100"))]);
}

#[test]
fn a_sparse_file_of_eight_exabytes_is_not_filled_with_zeros() {
    for format in [SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
        let run = layer([sparse_file("f", format, 1 << 62, &[(0, &[1; 512])])]);
        assert_ne!(run.code, 0, "{format:?}");
    }
}

#[test]
fn a_tar_that_ends_in_the_middle() {
    let mut tar = Vec::new();
    file("whole", "x").write(&mut tar);
    file("broken", vec![1; 2000]).write(&mut tar);
    for length in [tar.len() - 600, 1024 + 700, 1024 + 100, 100] {
        let run = unharmed(vec![Layer::of_tar(tar[..length].to_vec())]);
        assert_ne!(run.code, 0, "cut at {length}");
    }
}

#[test]
fn what_is_no_tar_at_all() {
    unharmed(vec![Layer::of_tar(Vec::new())]);
    assert_ne!(unharmed(vec![Layer::of_tar(b"<html>hello</html>".repeat(100))]).code, 0);
    assert_ne!(unharmed(vec![Layer::of_tar(vec![0xff; 4096])]).code, 0);
}

#[test]
fn entries_behind_the_end_of_the_tar() {
    layer([file("f", "x"), raw([0; 1024]), file("../canary", "dead")]);
}

#[test]
fn entries_of_unknown_types() {
    layer([
        typed("a", b'Z', "1"),
        typed("b", 0xff, "2"),
        typed("c", b'V', ""),
        typed("d", b'M', "4"),
        file("kept", "x"),
    ]);
}

// Too much of everything

#[test]
fn a_decompression_bomb_that_is_mostly_nothing() {
    // A thousand times what it is when compressed: read through, never held.
    let run = unharmed(vec![Layer::new([file("zeros", vec![0; 64 << 20])])]);
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn directories_nested_a_thousand_deep() {
    let entries = (1..1000).map(|depth| dir(vec!["d"; depth].join("/")));
    unharmed(vec![Layer::new(entries)]);
}

#[test]
fn five_thousand_entries_of_one_name() {
    let entries = (0..5_000).map(|i| if i % 2 == 0 { file("x", "file") } else { dir("x") });
    unharmed(vec![Layer::new(entries)]);
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
    for (media_type, document) in [
        (manifest, artifact_type),
        ("application/vnd.oci.image.index.v1+json", platform),
        (manifest, format!("\"{evil}")),
    ] {
        let reference = registry.push("evil/app:1", &OtherManifest(media_type, &document));
        for command in [&["get", "-D"][..], &["get"], &["ls"], &["label"]] {
            let run = artifact(command).args(&[&reference, "/x"]).run();
            let shown = format!("{}{}", run.out(), run.stderr);
            assert!(shown.contains("evil/app") && run.code != 0, "{shown:?}");
            assert!(!shown.contains(['\x1b', '\x07', '\u{202e}']), "{shown:?}");
        }
    }
}
