//! Tables of contents that are strange, and tables that lie: what they tell is what the layer would tell, or is not believed.

use serde_json::{Value, json};

use crate::support::*;

/// What a listing has of each entry.
const ALL: &str = "{{.Permissions}} {{.Owner}} {{.Size}} {{.Modified}} {{.Layer}} {{.Path}} {{.Target}} {{.Type}}";

/// What the program says, by tables where there are such and without them, to these words. The registry's port is left out.
#[track_caller]
fn is_the_same(reference: &str, words: &[&str]) -> Run {
    let [by_table, by_layer] = [&[][..], &["--no-index"]]
        .map(|flags| artifact(&[&words[..1], &[reference], &words[1..], flags].concat()).run());
    assert_eq!(by_table.code, by_layer.code, "{words:?}: {}\n{}", by_table.stderr, by_layer.stderr);
    assert!(by_table.stdout == by_layer.stdout, "{words:?}\n{}\n{}", by_table.out(), by_layer.out());
    let last = |run: &Run| run.stderr.lines().last().unwrap_or_default().to_owned();
    if by_table.code != 0 {
        assert_eq!(last(&by_table), last(&by_layer), "{words:?}");
    }
    by_table
}

/// A layer in which nothing is as it should be.
fn odd() -> Vec<Entry> {
    let long = "n".repeat(120);
    vec![
        dir("./"),
        dir("./d/").mode(0o1777).owner(1234, 4321).mtime(1),
        file("./d/twice", "first"),
        file("d/twice", "second").mode(0o600),
        file("/absolute", "a"),
        file("d/../climbs", "c"),
        file(format!("{long}/{long}/{long}/long"), "long").pax_names(),
        file(format!("{long}/gnu"), "gnu").gnu_names(),
        file("attributes", "x")
            .xattr("user.z", b"1")
            .xattr("user.a", b"\0=")
            .xattr("security.capability", &[1, 0, 0, 2]),
        dir("attributed").xattr("user.d", b""),
        hardlink("hard", "attributes"),
        hardlink("harder", "hard"),
        hardlink("hard-to-later", "later"),
        file("later", "l"),
        hardlink("hard-to-itself", "hard-to-itself"),
        hardlink("circle-a", "circle-b"),
        hardlink("circle-b", "circle-a"),
        hardlink("hard-to-directory", "d"),
        symlink("soft-to-itself", "soft-to-itself"),
        symlink("soft-out", "../../../../etc/passwd"),
        symlink("soft-nowhere", "nothing/here"),
        file("implied/by/this", "i"),
        file("file-first", "x"),
        file("file-first/below", "y"),
        dir("directory-first"),
        file("directory-first/below", "y"),
        file("directory-first", "now a file"),
        file("empty", "").mode(0o4711),
        file("setuid", "s").mode(0o6755).owner(65_534, 2_000_000),
        char_device("char", 255, 1_000_000),
        block_device("block", 7, 0),
        fifo("fifo"),
        whiteout("d/of-below"),
        opaque("opaque"),
        file("opaque/new", "n"),
        file("same-layer", "hidden?"),
        whiteout("same-layer"),
        file("epoch", "").mtime(0),
        file("control\u{1}\u{1b}[31m\n", "c"),
        file("quote\"back\\slash", "q"),
        file(" ", "blank"),
        file("ü\u{301}/\u{1f980}", "names"),
        file("holes", [noise(3, CHUNK), vec![0; 5 * CHUNK], noise(4, 10), vec![0; CHUNK]].concat()),
        file("one-hole", vec![0; 3 * CHUNK + 1]),
        file("exactly", noise(9, 2 * CHUNK)),
    ]
}

#[test]
fn what_is_odd_in_a_layer_is_as_odd_by_its_table() {
    for format in TABLE_FORMATS {
        let registry = Registry::start();
        let below =
            [file("d/of-below", "b"), file("opaque/old", "o"), file("same-layer", "below"), file("later", "old")];
        let step = "COPY odd / # buildkit";
        let image = Image::new()
            .layer(Layer::new(below).with_table(format))
            .layer(Layer::new(odd()).with_table(format).created_by(step));
        let reference = registry.push("team/app:1", &image);
        let listed = is_the_same(&reference, &["ls", "-a", "--format", ALL]);
        assert!(listed.out().lines().count() > 40, "{}", listed.out());
        for words in [
            &["ls", "-a", "--format", "{{json .Path}} {{json .Name}} {{json .Step}} {{.Owner}} {{.Mode}}"][..],
            // A tar has owners, attributes and devices.
            &["get", "-o", "-", "/"],
            &["get", "-o", "-", "--layer", "2", "/"],
            &["get", "-o", "-", "--layer", "1", "/"],
            &["get", "-o", "-", "--created-by", "COPY odd", "/"],
            &["get", "-o", "-", "/d"],
            &["get", "-o", "-", "/d/*"],
            &["get", "-o", "-", "/**/l*"],
            &["get", "-o", "-", "/holes"],
            &["get", "-o", "-", "/one-hole"],
            &["get", "-o", "-", "/exactly"],
            &["get", "-o", "-", "/harder"],
            &["get", "-o", "-", "/hard-to-later"],
            &["get", "-o", "-", "/hard-to-itself"],
            &["get", "-o", "-", "/circle-a"],
            &["get", "-o", "-", "/hard-to-directory"],
            &["get", "-o", "-", "/soft-to-itself"],
            &["get", "-o", "-", "/soft-out"],
            &["get", "-o", "-", "/soft-nowhere"],
            &["get", "-o", "-", "/file-first/below"],
            &["get", "-o", "-", "/directory-first/below"],
            &["get", "-o", "-", "/same-layer"],
            &["get", "-o", "-", "/opaque/old"],
            &["get", "-o", "-", "/char"],
            &["get", "-o", "-", "/control*"],
        ] {
            is_the_same(&reference, words);
        }
        let table = artifact(&["get", &reference, "/exactly", "-o", "-"]).run().exits(0);
        table.says("own table");
    }
}

#[test]
fn a_labelled_file_of_an_image_with_tables_has_its_label_and_costs_no_table() {
    for format in TABLE_FORMATS {
        let layer =
            Layer::new([file("a", noise(1, 500_000)), file("tool", noise(2, 100_000)), file("z", noise(3, 500_000))]);
        let (registry, reference, image) = Registry::serving(&Image::new().layer(layer.with_table(format)));
        artifact(&["label", &reference, "/tool"]).run().exits(0);
        // The layers stay what they were, and have their tables.
        let run = artifact(&["ls", "--layers", &reference, "--format", "{{.Read}}"]).run().exits(0);
        assert!(["estargz\n", "zstd:chunked\n"].contains(&run.out().as_str()), "{}", run.out());
        let since = registry.log().len();
        let run = artifact(&["get", &reference, "tool", "-o", "-"]).run().exits(0).never_says("own table");
        assert!(run.stdout == noise(2, 100_000));
        let log = registry.log();
        let asked = log[since..].iter().filter(|request| request.target.contains(&image.layers[0].digest()));
        let sent: Vec<u64> = asked.map(|request| request.sent()).collect();
        assert!(sent.len() == 1 && sent[0] < 120_000, "{sent:?}");
    }
}

/// The image of one layer with a tool, whose table is what `edit` makes of it.
fn lying(format: TableFormat, edit: &dyn Fn(&mut Vec<Value>)) -> (Registry, String) {
    let layer =
        Layer::new([file("tool", noise(1, 100_000)), dir("d"), file("d/other", noise(2, 1_000)), symlink("l", "tool")]);
    let layer = layer.with_edited_table(format, &|toc| edit(toc["entries"].as_array_mut().unwrap()));
    let registry = Registry::start();
    let reference = registry.push("evil/app:1", &Image::new().layer(layer));
    (registry, reference)
}

#[test]
fn names_that_no_layer_can_have_make_a_table_one_of_no_use() {
    for format in TABLE_FORMATS {
        for name in ["../../etc/passwd", "a\0b", "\u{fffd}", "", "..", "d/../.."] {
            for key in ["name", "linkName"] {
                // An empty target is one that a layer can have.
                if (key, name) == ("linkName", "") || (key == "linkName" && name.contains("..")) {
                    continue;
                }
                let (_registry, reference) = lying(format, &|entries| {
                    entries.last_mut().unwrap()[key] = json!(name);
                });
                let run = artifact(&["get", &reference, "/tool", "-o", "-"]).run().exits(0);
                run.says("cannot use its").says("reading the layer instead").never_says("own table");
            }
        }
    }
}

#[test]
fn a_name_that_is_there_a_second_time_is_the_second_and_has_its_digest() {
    for format in TABLE_FORMATS {
        // What is not the second one's content is not taken for it.
        let (_registry, reference) = lying(format, &|entries| {
            let mut second = entries[0].clone();
            second["digest"] = json!(sha256(b"another"));
            entries.push(json!({"type": "dir", "name": "between"}));
            entries.push(second);
            entries.last_mut().unwrap().as_object_mut().unwrap().remove("chunkSize");
            entries.last_mut().unwrap()["size"] = json!(1_000);
        });
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "/tool"]).run_in(&dir).exits(5);
        run.says("told by its table of contents, does not match its digest").says("--no-index reads the layer");
        assert!(dir.listing().is_empty());
    }
}

#[test]
fn numbers_at_the_end_of_all_numbers_are_not_believed_and_not_added_up() {
    for format in TABLE_FORMATS {
        for key in ["size", "offset", "endOffset", "innerOffset", "chunkSize", "chunkOffset"] {
            for value in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 62] {
                let (_registry, reference) = lying(format, &|entries| entries[0][key] = json!(value));
                let dir = WorkDir::new();
                let run = artifact(&["get", &reference, "/tool"]).run_in(&dir).never_says("panicked");
                match run.code {
                    // eStargz does not know an end.
                    0 => assert!(dir.read("tool") == noise(1, 100_000), "{format:?} {key} {value}"),
                    5 => assert!(dir.listing().is_empty(), "{format:?} {key} {value}"),
                    code => panic!("{format:?} {key} {value}: {code} {}", run.stderr),
                }
            }
        }
    }
}
