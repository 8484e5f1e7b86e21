//! Images made to cost far more than they are long. Each is read by the real program within a bound on its memory that is
//! proportional to what the layers hold uncompressed.

use crate::support::labelled::*;
use crate::support::program::binary;
use crate::support::*;

/// How much memory a run may take for its threads, its code and the copy of what it is reading, in KiB.
fn base() -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    (32 << 10) + threads * (4 << 10)
}

/// Runs the program with these arguments, and no more than `limit` KiB of data, stack and heap of all threads together.
fn within(limit: usize, arguments: &[&str], dir: &WorkDir) -> Run {
    let limited = Program::new("sh").args(&["-c", r#"ulimit -d "$0" && exec "$@""#, &limit.to_string()]);
    limited.args(&[binary()]).args(arguments).run_in(dir)
}

/// Gets one file, and lists another, of an image that has `entries` beside them. The memory it takes beyond [`base`] is at most
/// `factor` times the length of the layer.
#[track_caller]
fn is_bounded(entries: Vec<Entry>, factor: usize) -> String {
    let mut tar = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut tar));
    let limit = base() + factor * tar.len() / 1024;
    let registry = Registry::start();
    let layer: Vec<Entry> = [file("bin/tool", "hello")].into_iter().chain(entries).collect();
    let reference = registry.push("evil/app:1", &Image::new().layer(Layer::new(layer)));
    let dir = WorkDir::new();
    within(limit, &["get", &reference, "/bin/tool"], &dir).exits(0);
    assert_eq!(dir.read("tool"), b"hello");
    within(limit, &["ls", &reference, "/bin/tool"], &dir).exits(0);
    reference
}

#[test]
fn lone_names_of_a_thousand_directories() {
    let deep = vec!["d"; 1000].join("/");
    is_bounded((0..1000).map(|i| file(format!("{i}/{deep}"), "")).collect(), 4);
}

#[test]
fn short_names_behind_a_link_to_a_path_as_long_as_any() {
    let deep = vec!["directory-named"; 250].join("/");
    let entries = (0..12_000).map(|i| file(format!("l{}/{i}", i % 7), ""));
    let links = (0..7).map(|i| symlink(format!("l{i}"), format!("{i}/{deep}")));
    is_bounded(links.chain(entries).collect(), 1);
}

#[test]
fn many_small_files_in_one_directory() {
    is_bounded((0..20_000).map(|i| file(format!("wide/{i}"), "")).collect(), 4);
}

#[test]
fn two_hundred_thousand_files_beside_the_one_that_is_wanted_take_no_memory_of_their_own() {
    let name = |i: usize| format!("srv/data/d{:04}/file-{:04}.txt", i / 1000, i % 1000);
    let reference = is_bounded((0..200_000).map(|i| file(name(i), "")).collect(), 0);
    let dir = WorkDir::new();
    within(base(), &["get", &reference, "/srv/data/d0123/file-0456.txt"], &dir).exits(0);
    let missing = within(base(), &["get", &reference, "/srv/data/d0123/file-0456.tx"], &dir).exits(3);
    missing.says("did you mean /srv/data/d0123/file-0456.txt");
}

#[test]
fn long_extended_attributes_of_files_that_nobody_wants() {
    let value = vec![b'x'; 900_000];
    is_bounded((0..100).map(|i| file(format!("{i}"), "").xattr("user.x", &value)).collect(), 0);
}

#[test]
fn many_hard_links_to_a_file_with_long_extended_attributes() {
    let value = vec![b'x'; 60_000];
    let links = (0..20_000).map(|i| hardlink(format!("{i}"), "first"));
    is_bounded([file("first", "").xattr("user.x", &value)].into_iter().chain(links).collect(), 4);
}

#[test]
fn hard_links_through_hard_links_in_fifty_layers() {
    // Whoever follows each link anew takes 8^50 steps.
    let through = |name: &str| [name; 8].join("/");
    let base = Image::new().layer([symlink("a", "."), symlink("b", "."), file("kept", "x")]);
    let image = (0..50).fold(base, |image, layer| {
        let (this, other) = if layer % 2 == 0 { ("a", "b") } else { ("b", "a") };
        image.layer([hardlink(this, through(other))])
    });
    let registry = Registry::start();
    let reference = registry.push("evil/app:1", &image);
    let dir = WorkDir::new();
    artifact(&["get", &reference, "/a/kept"]).run_in(&dir).exits(0);
    let listed = artifact(&["ls", "-a", &reference]).run_in(&dir).exits(0).out();
    assert!(listed.contains("/kept"), "{listed}");
}

#[test]
fn a_tree_as_deep_as_any_may_be_is_got_listed_and_streamed() {
    // Its innermost file is the 1,024th name.
    let deep = vec!["d"; 1023].join("/");
    let registry = Registry::start();
    let reference = registry.push("app:1", &Image::new().layer([file(format!("{deep}/f"), "x")]));
    let dir = WorkDir::new();
    let listed = artifact(&["ls", "-a", &reference]).run_in(&dir).exits(0).out();
    assert!(listed.contains(&format!("/{deep}/f")));
    let too_deep = "directories nested deeper than 512 levels; fetch the inner ones by themselves";
    let stream = artifact(&["get", &reference, "/", "-o", "-"]).run_in(&dir).exits(1).says(too_deep);
    assert!(stream.stdout.is_empty());
    artifact(&["get", &reference, "/d", "-o", "out"]).run_in(&dir).exits(1).says(too_deep);
    assert!(dir.listing().is_empty());
    let inner = format!("/{}", vec!["d"; 600].join("/"));
    artifact(&["get", &reference, &inner, "-o", "out"]).run_in(&dir).exits(0);
    assert_eq!(dir.listing().len(), 1024 - 600 + 1);
}

/// Members of objects that nobody knows, of many times this length in the memory of whoever keeps them.
fn unknown_members(length: usize) -> String {
    [r#"["#, &r#"{"":0},"#.repeat(length / 7), "0]"].concat()
}

#[test]
fn a_range_index_of_a_few_kilobytes_that_unpacks_to_fields_nobody_knows() {
    const UNPACKED: usize = 16 << 20;
    let registry = Registry::start();
    let image = Image::new().layer([file("bin/one", "hello"), file("bin/tool", "hello")]);
    let reference = registry.push("team/app:1", &image);
    label_as(&reference, &[("one", "/bin/one"), ("tool", "/bin/tool")]);
    let (_, index) = index_of(&registry);
    let part = unpack(index["layers"][1]["data"].as_str().unwrap()).to_string();
    for place in [r#""entries":[{"#, r#""record":{"#, r#""checkpoint":{"#, "{"] {
        let lie = part.replacen(place, &format!(r#"{place}"x":{},"#, unknown_members(UNPACKED)), 1);
        assert!(lie.len() > UNPACKED, "{place} in {part}");
        replace_index_by(&registry, &subject_of(&registry), &index, &lie);
        let dir = WorkDir::new();
        // As it is unpacked it grows by doubling.
        let run = within(base() + 4 * (UNPACKED >> 10), &["get", &reference, "tool"], &dir).exits(0);
        run.never_says("reading its layer");
        assert_eq!(dir.read("tool"), b"hello", "{place}");
    }
}

#[test]
fn a_manifest_of_members_that_nobody_knows() {
    let registry = Registry::start();
    for (name, kind) in [("manifests", "image.index"), ("fsLayers", "image.manifest"), ("layers", "image.manifest")] {
        let media_type = format!("application/vnd.oci.{kind}.v1+json");
        let members = unknown_members(4 << 20);
        let body = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","{name}":{members}}}"#);
        send(&registry, "PUT", "evil/app/manifests/1", &media_type, body.into_bytes());
        let dir = WorkDir::new();
        let reference = format!("{}/evil/app:1", registry.host());
        within(base() + (32 << 10), &["get", &reference, "/x"], &dir).exits(1).says("is not an image that can be read");
    }
}

/// An image of this layer, whose table is what `edit` makes of it.
fn with_table(layer: Vec<Entry>, format: TableFormat, edit: &dyn Fn(&mut serde_json::Value)) -> (Registry, String) {
    let registry = Registry::start();
    let layer = Layer::new(layer).with_edited_table(format, edit);
    let reference = registry.push("evil/app:1", &Image::new().layer(layer));
    (registry, reference)
}

#[test]
fn a_table_of_two_hundred_thousand_files_takes_little_more_memory_than_it_has_bytes() {
    let name = |i: usize| format!("srv/data/d{:04}/file-{:04}.txt", i / 1000, i % 1000);
    for format in TABLE_FORMATS {
        let files = (0..200_000).map(|i| file(name(i), "")).chain([file("tool", "hello")]).collect();
        let (_registry, reference) = with_table(files, format, &|_| {});
        let dir = WorkDir::new();
        within(base() + (16 << 10), &["get", &reference, "/tool"], &dir).exits(0).says("own table");
        assert_eq!(dir.read("tool"), b"hello");
    }
}

#[test]
fn a_table_that_unpacks_to_far_more_than_it_has_bytes_is_not_read_to_its_end() {
    for format in TABLE_FORMATS {
        for key in ["name", "unknown"] {
            let (_registry, reference) = with_table(vec![file("tool", "hello")], format, &|toc| {
                toc["entries"][0][key] = "x".repeat(200 << 20).into();
            });
            let dir = WorkDir::new();
            let run = within(base() + (32 << 10), &["get", &reference, "/tool"], &dir).exits(0);
            run.says("cannot use its table of contents").says("more than");
            assert_eq!(dir.read("tool"), b"hello");
        }
    }
}

#[test]
fn a_table_whose_files_all_lie_in_the_same_place_costs_no_more_than_the_layer() {
    for format in TABLE_FORMATS {
        let content = noise(1, 3_000);
        let files = (0..200).map(|i| file(format!("{i}"), &content)).collect();
        let (registry, reference) = with_table(files, format, &|toc| {
            let entries = toc["entries"].as_array_mut().unwrap();
            let (start, end) = (entries[0]["offset"].clone(), entries[199].get("endOffset").cloned());
            for entry in entries.iter_mut() {
                entry["offset"] = start.clone();
                end.iter().for_each(|end| entry["endOffset"] = end.clone());
            }
        });
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "/", "-o", "out/"]).run_in(&dir).exits(0);
        run.says("lie over one another").never_says("own table");
        assert_eq!(registry.count("GET", "/blobs/"), 3, "the config, the table, the layer");
        assert!(dir.read("out/199") == content);
    }
}

#[test]
fn an_entry_of_a_table_that_is_longer_than_any_in_a_tar_is_not_held() {
    // What does not compress buys what does.
    let padding: String = noise(1, 1 << 20).iter().map(|byte| format!("{byte:02x}")).collect();
    for format in TABLE_FORMATS {
        let (_registry, reference) = with_table(vec![dir("d"), file("tool", "hello")], format, &|toc| {
            toc["entries"][0]["unknown"] = padding.as_str().into();
            toc["entries"][1]["linkName"] = "x".repeat(100 << 20).into();
        });
        let dir = WorkDir::new();
        let run = within(base() + (32 << 10), &["get", &reference, "/tool"], &dir).exits(0);
        run.says("an entry has more than 4194304 bytes");
        assert_eq!(dir.read("tool"), b"hello");
    }
}
