//! A link leads to what had passed by: the part of the layer that holds it is read again, and compared, and no more. And what is said
//! while the rest of a layer is read only to be compared.

use std::fs;

use crate::support::*;

/// What may come beside the parts that are needed: the distance of two checkpoints, and places of the hash around it.
const AROUND: u64 = 700_000;

/// How a layer is stored.
const STORED: [fn(Layer) -> Layer; 4] =
    [|layer| layer, |layer| layer.gzip_members(3), |layer| layer.zstd_frames(40), Layer::plain];

/// A layer of 8 MB whose links lead to what lies before them under other names.
fn layer() -> Layer {
    Layer::new([
        dir("etc"),
        file("usr/lib/a", noise(1, 2_500_000)),
        file("usr/bin/dash", noise(2, 100_000)),
        file("usr/bin/empty", ""),
        file("usr/lib/b", noise(3, 2_500_000)),
        file("usr/lib/mawk", noise(4, 150_000)),
        file("usr/lib/os-release", noise(5, 1_000)),
        file("usr/lib/c", noise(6, 2_500_000)),
        symlink("bin/sh", "../usr/bin/dash"),
        symlink("bin/nothing", "../usr/bin/empty"),
        symlink("usr/bin/awk", "../lib/mawk"),
        symlink("etc/debian-release", "../usr/lib/os-release"),
        file("etc/lsb-release", noise(7, 1_000)),
    ])
}

/// An image of this layer in a registry.
fn served(layer: Layer) -> (Registry, String, Packed) {
    Registry::serving(&Image::new().layer(layer))
}

/// The `Range` of each request for the layer of `image`.
fn ranges(registry: &Registry, image: &Packed) -> Vec<String> {
    let requests = registry.logged("GET", &image.layers[0].digest());
    requests.iter().map(|request| request.header("range").to_owned()).collect()
}

/// How many bytes of the layer of `image` were sent.
fn sent(registry: &Registry, image: &Packed) -> u64 {
    registry.logged("GET", &image.layers[0].digest()).iter().map(|request| request.sent()).sum()
}

/// How many bytes long the layer of `image` is, as stored.
fn size(image: &Packed) -> u64 {
    image.layers[0].bytes.len() as u64
}

#[test]
fn a_link_to_what_had_passed_by_reads_the_part_of_the_layer_that_holds_it_and_no_more() {
    for store in STORED {
        let (registry, reference, image) = served(store(layer()));
        let dir = WorkDir::new();
        artifact(&["get", &reference, "/bin/sh"]).run_in(&dir).exits(0).never_says("a second time");
        assert!(dir.read("sh") == noise(2, 100_000));
        assert_eq!(ranges(&registry, &image).len(), 2);
        let (sent, all) = (sent(&registry, &image), size(&image));
        assert!(sent > all && sent <= all + 100_000 + AROUND, "{sent} of {all}");
    }
}

#[test]
fn globs_over_links_and_several_paths_read_each_part_once_and_neighbours_together() {
    for store in STORED {
        let (registry, reference, image) = served(store(layer()));
        let dir = WorkDir::new();
        let paths = ["/etc/*-release", "/bin/sh", "/usr/bin/awk", "/usr/bin/dash", "/bin/nothing"];
        artifact(&[&["get", &reference][..], &paths].concat()).run_in(&dir).exits(0);
        assert!(dir.read("awk") == noise(4, 150_000) && dir.read("dash") == noise(2, 100_000));
        assert!(dir.read("debian-release") == noise(5, 1_000) && dir.read("lsb-release") == noise(7, 1_000));
        assert_eq!(dir.read("nothing"), b"");
        let asked = ranges(&registry, &image).len();
        assert!(asked <= 3, "{asked} requests");
        let (sent, all) = (sent(&registry, &image), size(&image));
        assert!(sent <= all + 251_000 + 2 * AROUND, "{sent} of {all}");
    }
}

#[test]
fn a_layer_of_one_zstd_frame_is_read_again_from_its_start_to_the_end_of_the_file() {
    let (registry, reference, image) = served(layer().zstd());
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/bin/sh"]).run_in(&dir).exits(0);
    assert!(dir.read("sh") == noise(2, 100_000));
    let ranges = ranges(&registry, &image);
    assert!(ranges.len() == 2 && ranges[1].starts_with("bytes=0-2"), "{ranges:?}");
}

#[test]
fn without_verification_the_part_alone_is_read_again_too() {
    let (registry, reference, image) = served(layer());
    let dir = WorkDir::new();
    artifact(&["get", "--no-verify", &reference, "/bin/sh"]).run_in(&dir).exits(0).says("not verified");
    assert!(dir.read("sh") == noise(2, 100_000));
    let (sent, all) = (sent(&registry, &image), size(&image));
    assert!(sent <= all + 100_000 + AROUND, "{sent} of {all}");
}

#[test]
fn a_registry_that_gives_no_parts_sends_the_layer_a_second_time_and_that_is_said() {
    for fault in [Fault::RangeIgnored, Fault::Status(416), Fault::Status(403)] {
        let (registry, reference, image) = served(layer());
        registry.requests_for(&image.layers[0].digest()).nth(2).fail(fault.clone());
        let dir = WorkDir::new();
        artifact(&["get", &reference, "/bin/sh"]).run_in(&dir).exits(0).says("layer 1 of 1").says("a second time: ");
        assert!(dir.read("sh") == noise(2, 100_000), "{fault:?}");
        let ranges = ranges(&registry, &image);
        assert!(ranges.len() == 3 && ranges[2].is_empty(), "{fault:?}: {ranges:?}");
    }
}

#[test]
fn a_registry_that_never_serves_parts_sends_the_layer_a_second_time_after_all_tries() {
    let (registry, reference, image) = served(layer());
    let parts = registry.requests_for(&image.layers[0].digest()).after(1).first(5);
    parts.fail(Fault::StatusWith(429, "Retry-After", "0"));
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/bin/sh"]).run_in(&dir).exits(0).says("a second time: ");
    assert!(dir.read("sh") == noise(2, 100_000));
    let ranges = ranges(&registry, &image);
    assert!(ranges.len() == 7 && ranges[6].is_empty(), "{ranges:?}");
}

#[test]
fn a_part_that_breaks_off_and_goes_on_as_the_whole_layer_is_no_reason_to_fail() {
    let (registry, reference, image) = served(layer());
    registry.requests_for(&image.layers[0].digest()).nth(2).fail(Fault::ResetAfter(70_000));
    registry.requests_for(&image.layers[0].digest()).nth(3).fail(Fault::RangeIgnored);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/bin/sh"]).run_in(&dir).exits(0).says("a second time: ");
    assert!(dir.read("sh") == noise(2, 100_000));
}

#[test]
fn a_part_with_a_wrong_byte_is_discarded_wherever_the_byte_is() {
    for store in STORED {
        let image = Image::new().layer(store(layer())).pack();
        // Noise is as long when it is compressed, about. How far the part reaches around it depends on the pieces that the layer came in.
        let plain = Image::new().layer(layer().plain()).pack();
        let (tar, content) = (&plain.layers[0].bytes, &noise(2, 100_000)[..64]);
        let file = tar.windows(64).position(|bytes| bytes == content).unwrap();
        for offset in [30_000, 50_000, 70_000] {
            let place = (file + offset) * size(&image) as usize / tar.len();
            let (registry, reference, image) = served(store(layer()));
            registry.requests_for(&image.layers[0].digest()).nth(2).fail(Fault::Altered(place));
            let dir = WorkDir::new();
            artifact(&["get", &reference, "/bin/sh"])
                .run_in(&dir)
                .exits(5)
                .says("read again from byte ")
                .says("does not match its digest: expected the bytes that it had before, got others");
            assert!(dir.listing().is_empty(), "byte {place}");
            assert!(listing(&dir.tmp()).is_empty());
        }
    }
}

#[test]
fn a_compressed_layer_in_a_local_file_is_read_again_in_part_too() {
    let image = Image::new().layer(layer()).pack();
    let dir = WorkDir::new();
    for form in [Form::Oci, Form::Docker25] {
        fs::write(dir.path("image.tar"), archive(&image, form, "team/app:1")).unwrap();
        let fetched = |path: &str| -> f64 {
            let run = artifact(&["get", "image.tar", path, "-o", "got", "--no-cache"]).run_in(&dir).exits(0);
            let text = run.stderr.split("fetched ").nth(1).unwrap().to_owned();
            assert!(text.contains(" MB of "), "{text}");
            text.split(' ').next().unwrap().parse().unwrap()
        };
        let once = fetched("/etc/lsb-release");
        let again = fetched("/bin/sh");
        assert!(dir.read("got") == noise(2, 100_000));
        assert!(again > once && again <= once + 0.9, "{again} MB, {once} MB are the layer");
    }
}

#[test]
fn when_all_is_found_progress_says_that_the_rest_of_a_large_layer_is_only_checked() {
    let rest = || file("rest", noise(8, 20 << 20));
    let (_registry, reference, image) = served(Layer::new([file("wanted", "w"), file("other", "o"), rest()]));
    let dir = WorkDir::new();
    let saved = dir.path("saved.tar");
    fs::write(&saved, archive(&image, Form::Oci, "team/app:1")).unwrap();
    let said = "found; checking the rest of the layer, 2";
    let skips = " MB; --no-verify skips this\n";
    for from in [reference.as_str(), saved.to_str().unwrap()] {
        let get = |flags: &[&str]| artifact(&[&["get", from, "-o", "-"][..], flags].concat()).run().exits(0);
        for paths in [&["/wanted"][..], &["/wanted", "/other"]] {
            let run = get(&[&["--progress", "plain"][..], paths].concat()).says(said).says(skips);
            assert_eq!(run.stderr.matches("found; ").count(), 1, "{}", run.stderr);
        }
        get(&["/wanted", "--progress", "none"]).never_says("found; ");
        get(&["/wanted", "--quiet"]).never_says("found; ");
        get(&["/wanted", "--progress", "plain", "--no-verify"]).never_says("found; ");
        // The rest may hold more.
        get(&["/want*", "--progress", "plain"]).never_says("found; ");
        get(&["/rest", "--progress", "plain"]).never_says("found; ");
    }
}

#[test]
fn the_rest_of_a_small_layer_is_not_worth_a_word() {
    let (_registry, reference, _) = served(Layer::new([file("wanted", "w"), file("rest", noise(8, 1 << 20))]));
    artifact(&["get", &reference, "/wanted", "-o", "-", "--progress", "plain"]).run().exits(0).never_says("found; ");
}
