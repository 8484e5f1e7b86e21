//! What an image holds comes out as it is: links, sparse files, modes and times, names and compressions of every kind.

use std::os::unix::fs::MetadataExt;

use crate::support::*;

#[test]
fn hard_links_inside_a_directory_stay_hard_links() {
    let registry = Registry::start();
    let image = Image::new()
        .layer([dir("app"), file("app/one", "same"), hardlink("app/two", "app/one")])
        .layer([hardlink("app/three", "app/one")]);
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/app"]).run_in(&dir).exits(0);
    assert_eq!(
        dir.listing(),
        ["app/ 755", r#"app/one 644 "same""#, r#"app/three 644 "same""#, r#"app/two 644 "same""#]
    );
    assert_eq!(dir.metadata("app/one").ino(), dir.metadata("app/two").ino());
}

#[test]
fn a_hard_link_by_itself_is_the_file() {
    let registry = Registry::start();
    let image =
        Image::new().layer([file("bin/busybox", "all of it").mode(0o755)]).layer([hardlink("bin/sh", "bin/busybox")]);
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/bin/sh"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), [r#"sh 755 "all of it""#]);
}

#[test]
fn a_sparse_file_is_whole_and_stays_sparse_in_each_format() {
    let registry = Registry::start();
    let size: u64 = (8 << 20) + 100;
    let pieces: Vec<(u64, Vec<u8>)> = (0..30).map(|i| (i * 256 * 1024, vec![i as u8 + 1; 512])).collect();
    let pieces: Vec<(u64, &[u8])> = pieces.iter().map(|(offset, bytes)| (*offset, &bytes[..])).collect();
    let mut expected = vec![0; size as usize];
    for (offset, bytes) in &pieces {
        expected[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    for (name, format) in [
        ("gnu", SparseFormat::Gnu),
        ("pax00", SparseFormat::Pax00),
        ("pax01", SparseFormat::Pax01),
        ("pax10", SparseFormat::Pax10),
    ] {
        let image = Image::new().layer([sparse_file(name, format, size, &pieces), file("after", "x")]);
        let reference = registry.push("team/app:1", &image);
        let dir = WorkDir::new();
        artifact(&["get", &reference, name, "after"]).run_in(&dir).exits(0);
        assert!(dir.read(name) == expected, "{name}");
        assert_eq!(dir.read("after"), b"x");
        let stored = dir.metadata(name).blocks() * 512;
        assert!(stored < size / 2, "{name} takes {stored} bytes on disk");
    }
}

/// A file of this size that is one hole but for its last 512 bytes.
fn hole(name: &str, size: u64) -> Entry {
    sparse_file(name, SparseFormat::Pax10, size, &[(size - 512, &[b'x'; 512])])
}

#[test]
fn holes_of_terabytes_cost_nothing_as_they_are_never_read() {
    let registry = Registry::start();
    let size = 2 << 40;
    let image = Image::new().layer([dir("d"), hole("d/one", size), hole("d/two", size), hardlink("d/same", "d/one")]);
    let reference = registry.push("team/app:1", &image);
    let dir = WorkDir::new();
    let run = artifact(&["get", &reference, "/d", "/d/one", "--format", "json"]).run_in(&dir).exits(0);
    let rows: Vec<serde_json::Value> = run.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&rows[1]["Size"], &rows[1]["Digest"]), (&size.into(), &serde_json::Value::Null));
    for name in ["d/one", "d/two", "d/same", "one"] {
        let metadata = dir.metadata(name);
        assert!(metadata.len() == size && metadata.blocks() * 512 < 1 << 20, "{name}: {metadata:?}");
        let mut end = [0; 513];
        std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::open(dir.path(name)).unwrap(), &mut end, size - 513)
            .unwrap();
        assert_eq!((end[0], end[1]), (0, b'x'));
    }
    assert_eq!(dir.metadata("d/one").ino(), dir.metadata("d/same").ino());
}

#[test]
fn holes_too_large_for_standard_output_are_refused_with_what_to_do() {
    let registry = Registry::start();
    let image = Image::new().layer([
        dir("d"),
        hole("d/one", 9 << 30),
        hole("d/two", 9 << 30),
        hole("d/huge", 2 << 40),
        hole("small", 1 << 20),
    ]);
    let reference = registry.push("team/app:1", &image);
    for paths in [&["/d/huge"][..], &["/d/one", "/d/two"], &["/d"]] {
        let run = artifact(&["get", &reference, "-o", "-"]).args(paths).run().exits(1).says("holes").says("-o FILE");
        assert!(run.stdout.is_empty());
    }
    let run = artifact(&["get", &reference, "/small", "-o", "-"]).run().exits(0);
    assert!(run.stdout.len() == 1 << 20 && run.stdout[..(1 << 20) - 512].iter().all(|byte| *byte == 0));
}

#[test]
fn modes_and_times_are_kept_and_setuid_is_not() {
    let registry = Registry::start();
    let layer = [dir("app").mode(0o711).mtime(1_000_000), file("app/su", "x").mode(0o4751).mtime(1_234_567)];
    let reference = registry.push("team/app:1", &Image::new().layer(layer));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/app"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), ["app/ 711", r#"app/su 751 "x""#]);
    assert_eq!((dir.metadata("app").mtime(), dir.metadata("app/su").mtime()), (1_000_000, 1_234_567));
}

#[test]
fn ownership_and_setuid_are_kept_for_root_who_asks() {
    let registry = Registry::start();
    let layer = [file("su", "x").mode(0o4755).owner(1234, 5678)];
    let reference = registry.push("team/app:1", &Image::new().layer(layer));
    let dir = WorkDir::new();
    let run = artifact(&["get", "--preserve", &reference, "su"]).run_in(&dir);
    if rustix::process::geteuid().is_root() {
        run.exits(0);
        let metadata = dir.metadata("su");
        assert_eq!((metadata.uid(), metadata.gid(), dir.mode("su")), (1234, 5678, 0o4755));
    } else {
        run.exits(2).says("root");
        assert!(dir.listing().is_empty());
    }
}

#[test]
fn a_named_link_is_followed_unless_asked_not_to() {
    let registry = Registry::start();
    let layer = [file("usr/bin/python3.11", "python").mode(0o755), symlink("usr/bin/python", "python3.11")];
    let reference = registry.push("team/app:1", &Image::new().layer(layer));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/usr/bin/python"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), [r#"python 755 "python""#]);
    let dir = WorkDir::new();
    artifact(&["get", "--no-dereference", &reference, "/usr/bin/python"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), ["python -> python3.11"]);
}

#[test]
fn links_inside_a_directory_stay_links_wherever_they_point() {
    let registry = Registry::start();
    let layer = [
        dir("app"),
        symlink("app/in", "file"),
        symlink("app/absolute", "/etc/passwd"),
        symlink("app/up", "../../.."),
        symlink("app/nowhere", "no/such"),
    ];
    let reference = registry.push("team/app:1", &Image::new().layer(layer));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/app"]).run_in(&dir).exits(0);
    let expected =
        ["app/ 755", "app/absolute -> /etc/passwd", "app/in -> file", "app/nowhere -> no/such", "app/up -> ../../.."];
    assert_eq!(dir.listing(), expected);
}

#[test]
fn device_nodes_and_pipes_are_never_created() {
    let registry = Registry::start();
    let layer = [
        dir("dev"),
        char_device("dev/null", 1, 3),
        block_device("dev/sda", 8, 0),
        fifo("dev/pipe"),
        file("dev/x", "1"),
    ];
    let reference = registry.push("team/app:1", &Image::new().layer(layer));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/dev"]).run_in(&dir).exits(0).says("null");
    assert_eq!(dir.listing(), ["dev/ 755", r#"dev/x 644 "1""#]);
}

#[test]
fn every_compression_is_read_whatever_its_media_type_says() {
    let registry = Registry::start();
    let layer = || Layer::new([file("a", vec![b'a'; 200_000]), file("b", vec![b'b'; 200_000])]);
    let mislabelled = layer().zstd().media_type("application/vnd.oci.image.layer.v1.tar+gzip");
    for (name, layer) in [
        ("gzip", layer()),
        ("members", layer().gzip_members(7)),
        ("zstd", layer().zstd()),
        ("frames", layer().zstd_frames(5)),
        ("plain", layer().plain()),
        ("mislabelled", mislabelled),
    ] {
        for image in [Image::new().layer(layer.clone()), Image::new().layer(layer.clone()).docker()] {
            let reference = registry.push(&format!("team/{name}:1"), &image);
            let run = artifact(&["get", &reference, "/b", "-o", "-"]).run().exits(0);
            assert!(run.stdout == vec![b'b'; 200_000], "{name}");
        }
    }
}

#[test]
fn names_are_found_however_the_tar_writes_them() {
    let registry = Registry::start();
    let long = format!("{}name", "directory/".repeat(20));
    let target = format!("{}target", "t/".repeat(80));
    let prefixed = format!("{}file", "prefix/".repeat(18));
    let entries = [
        file("./dot/file", "dot"),
        file("/absolute/file", "absolute"),
        file("pax/file", "pax").pax_names(),
        file("gnu/file", "gnu").gnu_names(),
        file(&long, "long"),
        file(&prefixed, "prefixed").ustar_prefix(),
        file("ünïcode/文件", "unicode"),
        file(&target, "target"),
        symlink("link-pax", &target),
        symlink("link-gnu", &target).gnu_names(),
        hardlink("hard", &target),
    ];
    let reference = registry.push("team/app:1", &Image::new().layer(entries));
    for (path, content) in [
        ("/dot/file", "dot"),
        ("/absolute/file", "absolute"),
        ("/pax/file", "pax"),
        ("/gnu/file", "gnu"),
        (&long, "long"),
        (&prefixed, "prefixed"),
        ("/ünïcode/文件", "unicode"),
        ("/link-pax", "target"),
        ("/link-gnu", "target"),
        ("/hard", "target"),
    ] {
        assert_eq!(artifact(&["get", &reference, path, "-o", "-"]).run().exits(0).out(), content, "{path}");
    }
}

#[test]
fn names_that_are_no_utf8_keep_their_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([file(b"raw/caf\xe9", "latin")]));
    let dir = WorkDir::new();
    let words = [OsStr::new("get"), OsStr::new(&reference), OsStr::from_bytes(b"/raw/caf\xe9")];
    artifact(&words).run_in(&dir).exits(0).never_says("\u{fffd}");
    assert_eq!(dir.listing(), [r#"caf\xe9 644 "latin""#]);
}

#[test]
fn empty_files_and_empty_directories_are_there() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer([dir("d"), dir("d/e"), file("d/f", "")]));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/d", "/d/f"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing(), ["d/ 755", "d/e/ 755", r#"d/f 644 """#, r#"f 644 """#]);
}
