//! Images in files and folders: `docker save` of every age, OCI archives and layouts, standard input.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;

use crate::support::*;

const TAG: &str = "team/app:1";

/// An image with a bit of everything, and its layers compressed in different ways.
fn image() -> Image {
    Image::new()
        .layer(
            Layer::new([
                dir("usr"),
                dir("usr/bin"),
                symlink("bin", "usr/bin"),
                file("usr/bin/tool", "hello").mode(0o755),
                hardlink("usr/bin/tool2", "usr/bin/tool"),
                dir("etc"),
                file("etc/conf", "old"),
                file("etc/gone", "gone"),
                dir("var"),
                file("var/a", "a"),
            ])
            .plain(),
        )
        .empty_step("ENV A=b")
        .layer(Layer::new([file("etc/conf", "new"), whiteout("etc/gone"), file("etc/other", "other")]))
        .layer(Layer::new([opaque("var"), file("var/b", "b"), file("trace.log", "traced")]).zstd())
}

/// Everything that `get` writes with these arguments behind the image.
#[track_caller]
fn got(image: &str, arguments: &[&str], dir: &WorkDir) -> (i32, Vec<String>) {
    let run = artifact(&["get", image]).args(arguments).run_in(dir);
    (run.code, listing(&dir.path("out")))
}

/// Runs `check` on the image in every form, as it is typed.
fn in_every_form(image: &dyn Pack, check: impl Fn(&str, &WorkDir)) {
    let files = WorkDir::new();
    for form in FORMS {
        let path = files.path(&format!("{form:?}.tar"));
        fs::write(&path, archive(image, form, TAG)).unwrap();
        check(path.to_str().unwrap(), &WorkDir::new());
    }
    let layout = files.path("layout");
    write_layout(image, &layout, TAG);
    check(layout.to_str().unwrap(), &WorkDir::new());
    check(&format!("oci-dir://{}:1", layout.display()), &WorkDir::new());
}

fn rows(image: &str, arguments: &[&str]) -> Vec<Value> {
    let run = artifact(&["ls", "--format", "json", image]).args(arguments).run().exits(0);
    run.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_form_gives_the_files_that_a_registry_gives() {
    let registry = Registry::start();
    let reference = registry.push(TAG, &image());
    for arguments in [
        &["/", "-o", "out/"][..],
        &["/bin/tool", "/etc/*", "-o", "out/"],
        &["/etc/gone", "-o", "out/"],
        &["/var", "/nope", "-o", "out/"],
        &["--no-dereference", "/bin", "-o", "out/"],
        &["--parents", "/**/*", "-o", "out/"],
    ] {
        let dir = WorkDir::new();
        fs::create_dir(dir.path("out")).unwrap();
        let expected = got(&reference, arguments, &dir);
        in_every_form(&image(), |image, dir| {
            fs::create_dir(dir.path("out")).unwrap();
            assert_eq!(got(image, arguments, dir), expected, "{image} {arguments:?}");
            assert!(listing(&dir.tmp()).is_empty());
        });
    }
}

#[test]
fn every_form_lists_what_a_registry_lists() {
    let registry = Registry::start();
    let image = image().label("org.docker-artifact.tool", "/bin/tool");
    let reference = registry.push(TAG, &image);
    for (arguments, told) in [
        (&["-a"][..], &["Image", "Layer"][..]),
        (&["/etc", "/var/*"], &["Image", "Layer"]),
        (&["--layers"], &["Image", "Digest", "Size", "MediaType", "DiffID"]),
        (&[], &["Image", "Layer"]),
    ] {
        // What a place does not know is null there.
        let known = |mut row: Value| {
            told.iter().for_each(|field| row[field] = Value::Null);
            row
        };
        let expected: Vec<Value> = rows(&reference, arguments).into_iter().map(known).collect();
        assert!(!expected.is_empty());
        in_every_form(&image, |image, _| {
            let found: Vec<Value> = rows(image, arguments).into_iter().map(known).collect();
            assert_eq!(found, expected, "{image} {arguments:?}");
        });
    }
}

#[test]
fn what_a_form_does_not_know_is_absent() {
    let packed = image().pack();
    let dir = WorkDir::new();
    for (form, has_digests, has_diff_ids) in [
        (Form::Docker25, true, true),
        (Form::Docker110, false, true),
        (Form::Legacy, false, false),
        (Form::Oci, true, true),
    ] {
        let path = dir.path("x.tar");
        fs::write(&path, archive(&packed, form, TAG)).unwrap();
        let layers = rows(path.to_str().unwrap(), &["--layers"]);
        let address = format!("archive://{}", path.display());
        for (row, layer) in layers.iter().zip(&packed.layers) {
            let digest = if has_digests { Value::from(layer.digest()) } else { Value::Null };
            assert_eq!((&row["Digest"], row["DiffID"].is_string()), (&digest, has_diff_ids), "{form:?}");
            let image = if has_digests { format!("{address}#{}", packed.digest()) } else { address.clone() };
            assert_eq!(row["Image"], image, "{form:?}");
        }
    }
}

#[test]
fn each_file_says_what_vouches_for_it() {
    let plain = Image::new().layer(Layer::new([file("a", "1")]).plain());
    let gzip = Image::new().layer([file("a", "1")]);
    let dir = WorkDir::new();
    let path = dir.path("x.tar");
    let image = path.to_str().unwrap();
    for (packed, form, arguments, proof) in [
        (plain.pack(), Form::Oci, &[][..], "place"),
        (plain.pack(), Form::Oci, &["--verify"], "layer"),
        (plain.pack(), Form::Docker110, &[], "place"),
        (plain.pack(), Form::Docker110, &["--verify"], "layer"),
        (gzip.pack(), Form::Oci, &[], "layer"),
        (gzip.pack(), Form::Oci, &["--no-verify"], "place"),
        (gzip.pack(), Form::Docker25, &[], "layer"),
        (gzip.pack(), Form::Docker110, &[], "place"),
        (gzip.pack(), Form::Legacy, &[], "place"),
    ] {
        fs::write(&path, archive(&packed, form, TAG)).unwrap();
        let run =
            artifact(&["get", image, "/a", "--format", "{{.Proof}} {{.Verified}}"]).args(arguments).run().exits(0);
        assert_eq!(run.out(), format!("{proof} {}\n", proof != "place"), "{form:?} {arguments:?}");
        let closing = run.stderr.lines().last().unwrap();
        match (proof, form, arguments) {
            ("layer", ..) => assert!(!closing.contains("not "), "{closing}"),
            (_, Form::Legacy, _) => assert!(closing.ends_with("no digests of its layers to check them against")),
            (_, _, ["--no-verify"]) => assert!(closing.ends_with("; not verified"), "{closing}"),
            _ => assert!(
                closing.contains("; not checked against the layer's digest; --verify does, and reads "),
                "{closing}"
            ),
        }
    }
    fs::write(&path, archive(&plain, Form::Legacy, TAG)).unwrap();
    artifact(&["get", "--verify", image, "/a"]).run().exits(1).says("has no digest to check it against");
    artifact(&["get", "--verify", "--no-verify", image, "/a"]).run().exits(2).says("contradict");
}

#[test]
fn a_digest_in_the_reference_means_that_all_is_checked() {
    let packed = Image::new().layer(Layer::new([file("a", "1")]).plain()).pack();
    let (digest, config) = (packed.digest(), packed.config.as_ref().unwrap().digest());
    let dir = WorkDir::new();
    let path = dir.path("x.tar");
    let get = |digest: &str| {
        let image = format!("{}#{digest}", path.display());
        let run = artifact(&["get", &image, "/a", "--format", "{{.Proof}}"]).run().exits(0);
        assert_eq!(run.out(), "layer\n", "{image}");
    };
    fs::write(&path, archive(&packed, Form::Oci, TAG)).unwrap();
    [&digest, &config, &format!("app:1@{digest}")].iter().for_each(|digest| get(digest));
    fs::write(&path, archive(&packed, Form::Docker110, TAG)).unwrap();
    get(&config);
    let layout = dir.path("layout");
    write_layout(&packed, &layout, TAG);
    let image = format!("oci-dir://{}@{digest}", layout.display());
    let run = artifact(&["get", &image, "/a", "--format", "{{.Proof}} {{.Image}}"]).run().exits(0);
    assert_eq!(run.out(), format!("layer {image}\n"));
}

#[test]
fn a_labelled_file_is_checked_by_its_own_digest_and_no_more_is_read() {
    let labelled = |content: &str| {
        let tar = tar_of([file("tool", content), file("big", vec![0; 4 << 20])]);
        let (layer, digest) = (sha256(&tar), sha256(b"hello"));
        let chain = &layer;
        let record = format!(
            r#"{{"type":"file","path":"/tool","size":5,"mode":"0644","digest":"{digest}","layer":"{layer}","offset":512,"chain":"{chain}"}}"#
        );
        Image::new().layer(Layer::of_tar(tar).plain()).label("org.docker-artifact.tool", &record)
    };
    let dir = WorkDir::new();
    let path = dir.path("x.tar");
    let image = path.to_str().unwrap();
    for form in [Form::Oci, Form::Docker25, Form::Docker110] {
        fs::write(&path, archive(&labelled("hello"), form, TAG)).unwrap();
        let run = artifact(&["get", image, "tool", "--format", "{{.Proof}} {{.Verified}}"]).run().exits(0);
        assert_eq!(run.out(), "file true\n", "{form:?}");
        assert!(fetched(&run) < 100_000, "{}", run.stderr);
        fs::write(&path, archive(&labelled("wrong"), form, TAG)).unwrap();
        artifact(&["get", image, "tool"]).run().exits(5).says("does not match");
    }
}

/// How many bytes the closing line says that were read.
fn fetched(run: &Run) -> u64 {
    let (_, rest) = run.stderr.split_once("fetched ").expect("a closing line");
    let mut words = rest.split(' ');
    let number: f64 = words.next().unwrap().parse().unwrap();
    let unit = match words.next().unwrap() {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        other => panic!("{other}"),
    };
    (number * unit) as u64
}

/// Writes an archive of an image with one plain layer: a thousand files of 1.2 MB, which take no room on the disk.
fn write_sparse_archive(path: &Path) {
    const FILES: usize = 1000;
    const SIZE: u64 = 1_200_128;
    let (header, rest) = (512_u64, SIZE.next_multiple_of(512));
    let length = FILES as u64 * (header + rest) + 1024;
    let id = "a".repeat(64);
    let mut file = fs::File::create(path).unwrap();
    let tar_header = |name: &str, size: u64| Block::new(name, b'0', size).with("");
    file.write_all(&tar_header(&format!("{id}/layer.tar"), length)).unwrap();
    for number in 0..FILES {
        file.write_all(&tar_header(&format!("data/{number}"), SIZE)).unwrap();
        if number == 700 {
            file.write_all(b"found").unwrap();
            file.seek(SeekFrom::Current(rest as i64 - 5)).unwrap();
        } else {
            file.seek(SeekFrom::Current(rest as i64)).unwrap();
        }
    }
    file.seek(SeekFrom::Current(1024 + (length.next_multiple_of(512) - length) as i64)).unwrap();
    let config = serde_json::json!({"os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [sha256(b"never read")]}, "history": [{"created_by": "make"}]})
    .to_string();
    let config_name = format!("{}.json", &sha256(config.as_bytes())[7..]);
    let manifest =
        serde_json::json!([{"Config": config_name, "RepoTags": [TAG], "Layers": [format!("{id}/layer.tar")]}]);
    let mut tail = Vec::new();
    for (name, content) in [(config_name, config), ("manifest.json".to_owned(), manifest.to_string())] {
        crate::support::file(name, content).write(&mut tail);
    }
    tail.extend([0; 1024]);
    file.write_all(&tail).unwrap();
}

#[test]
fn of_a_big_plain_layer_only_the_headers_and_the_file_are_read() {
    let dir = WorkDir::new();
    let path = dir.path("big.tar");
    write_sparse_archive(&path);
    let out = WorkDir::new();
    let platform = ["--platform", "linux/amd64"];
    let run = artifact(&["get", path.to_str().unwrap(), "data/700"]).args(&platform).run_in(&out).exits(0);
    assert!(out.read("700").starts_with(b"found") && out.read("700").len() == 1_200_128);
    let read = fetched(&run);
    // Each header, and the file itself.
    assert!(read < 1000 * 512 + 1_200_128 + 20_000, "{read} bytes of 1.2 GB were read");
    run.says("not checked against the layer's digest; --verify does, and reads 1.20 GB");
    let run = artifact(&["ls", "-q", path.to_str().unwrap(), "/data"]).args(&platform).run().exits(0);
    assert_eq!(run.out().lines().count(), 1000);
}

#[test]
fn standard_input_is_read_by_place_where_it_is_a_file_and_copied_where_it_is_a_pipe() {
    let dir = WorkDir::new();
    for form in FORMS {
        let bytes = archive(&image(), form, TAG);
        let path = dir.path("x.tar");
        fs::write(&path, &bytes).unwrap();
        let (as_file, as_pipe) = (WorkDir::new(), WorkDir::new());
        artifact(&["get", "-", "/trace.log"]).stdin_file(&path).run_in(&as_file).exits(0).never_says("copied");
        let run = artifact(&["get", "-", "/trace.log"]).stdin_pipe(bytes.clone()).run_in(&as_pipe).exits(0);
        run.says("standard input cannot be read by place; copied");
        for dir in [as_file, as_pipe] {
            assert_eq!(dir.listing(), [r#"trace.log 644 "traced""#], "{form:?}");
            assert!(listing(&dir.tmp()).is_empty());
        }
        let run = artifact(&["ls", "-q", "archive://-#team/app", "/var"]).stdin_pipe(bytes).run().exits(0);
        assert_eq!(run.out(), "/var/b\n", "{form:?}");
    }
}

#[test]
fn an_archive_that_is_compressed_as_a_whole_is_copied_once() {
    let dir = WorkDir::new();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&archive(&image(), Form::Docker25, TAG)).unwrap();
    let path = dir.path("x.tgz");
    fs::write(&path, encoder.finish().unwrap()).unwrap();
    let out = WorkDir::new();
    let run = artifact(&["get", path.to_str().unwrap(), "/trace.log"]).run_in(&out).exits(0);
    run.says("is gzip-compressed; copied");
    assert_eq!(out.listing(), [r#"trace.log 644 "traced""#]);
    assert!(listing(&out.tmp()).is_empty());
}

#[test]
fn what_is_written_as_a_file_and_is_none_is_not_found() {
    artifact(&["get", "./none.tar", "/a"]).run().exits(3).says("there is no such file");
    artifact(&["get", "archive://none", "/a"]).run().exits(3).says("there is no such file");
    artifact(&["ls", "oci-dir://none"]).run().exits(3).says("there is no such folder");
    let dir = WorkDir::new();
    fs::write(dir.path("x.tar"), archive(&image(), Form::Oci, TAG)).unwrap();
    artifact(&["get", "x.tar#other:2", "/a"]).run_in(&dir).exits(3).says("it holds team/app:1");
    artifact(&["get", "x.tar:/trace.log", "-"]).run_in(&dir).exits(0);
    artifact(&["get", "archive://x.tar#1:/trace.log", "-"]).run_in(&dir).exits(0);
}

#[test]
fn a_file_for_a_missing_archive_is_said_before_a_registry_is_asked() {
    let reference = format!("127.0.0.1:{}/x.tar", unused_port());
    let run = artifact(&["get", &reference, "/a"]).run().exits(1);
    run.says(&format!("there is no file {reference}; looking for an image of that name in a registry"));
}

#[test]
fn hostile_names_lead_nowhere() {
    for name in ["../evil", "a/../../evil"] {
        let image = Image::new().layer(Layer::new([file(name, "x"), file("good", "1")]).plain());
        in_every_form(&image, |image, dir| {
            artifact(&["get", image, "/", "-o", "out/"]).run_in(dir).exits(1).says("leads out of the image");
            assert!(!dir.outside("evil").exists() && dir.listing().is_empty());
        });
    }
}

#[test]
fn an_image_for_another_platform_is_said_or_refused_in_every_form() {
    let image = Image::new().platform("linux/s390x").layer([file("a", "1")]);
    in_every_form(&image, |image, _| {
        artifact(&["get", image, "/a", "-o", "-"]).run().exits(0).says("is for linux/s390x, and this machine is");
        artifact(&["get", "--platform", "linux/arm64", image, "/a"]).run().exits(3).says("linux/s390x");
    });
}

#[test]
fn a_layout_of_several_platforms_gives_the_one_that_is_asked_for() {
    let of = |platform: &str| Image::new().platform(platform).layer([file("which", platform)]);
    let index = Index::new().image(&of("linux/amd64")).image(&of("linux/arm64")).attestation();
    let dir = WorkDir::new();
    write_layout(&index, &dir.path("layout"), TAG);
    fs::write(dir.path("x.tar"), archive(&index, Form::Oci, TAG)).unwrap();
    for image in ["./layout", "x.tar"] {
        for platform in ["linux/amd64", "linux/arm64"] {
            let get = ["get", "--platform", platform, image, "/which", "-o", "-"];
            assert_eq!(artifact(&get).run_in(&dir).exits(0).out(), platform);
        }
    }
}
