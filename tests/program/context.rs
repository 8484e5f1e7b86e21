//! The part of an image that a build copies, out of a registry: for what it costs, and as it is in the image.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use docker_artifact::artifact::Tables;
use docker_artifact::artifact::context::{Outcome, Path, Report, Request, Unfit, Wanted, context};
use docker_artifact::image::platform::Choice;
use docker_artifact::progress::Silent;
use docker_artifact::source::Source;

use crate::support::labelled::{client, image, label_as, push_labelled};
use crate::support::{Image, Registry, dir, file, hardlink, noise, symlink};

/// What comes of copying these paths of the image that `reference` names.
fn copied(reference: &str, folder: &std::path::Path, paths: &[&str]) -> Outcome {
    let paths = paths.iter().map(|text| Path { text: (*text).to_owned(), is_pattern: text.contains('*') });
    let wanted = vec![Wanted { paths: paths.collect(), keeps_owner: true, with_parents: false, excludes: false }];
    let request = Request { wanted, is_stage: true, tables: Tables::default(), folder: folder.to_owned() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let source: Arc<dyn Source> = client(reference);
        let image = Arc::new(source.image(&Choice::Host, &Silent).await.unwrap());
        context(source, image, &request, Arc::new(Silent)).await.unwrap()
    })
}

#[track_caller]
fn written(outcome: Outcome) -> Report {
    match outcome {
        Outcome::Written(report) => report,
        Outcome::Unfit(unfit) => panic!("{unfit}"),
    }
}

#[test]
fn a_labelled_file_costs_its_extent_and_any_other_its_layer() {
    let registry = Registry::start();
    let reference = push_labelled(&registry);
    let scratch = tempfile::tempdir().unwrap();
    let labelled = scratch.path().join("labelled");
    let report = written(copied(&reference, &labelled, &["/bin/tool"]));
    assert!(report.fetched_bytes < 400_000, "{} bytes", report.fetched_bytes);
    assert!(report.image_bytes > 8_000_000 && report.image.contains("@sha256:"), "{report:?}");
    let tool = labelled.join("bin/tool");
    assert!(fs::read(&tool).unwrap() == noise(2, 200_000));
    let metadata = fs::symlink_metadata(&tool).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.mtime()), (0o755, 1_600_000_000));
    assert_eq!((report.things[0].real_path.as_str(), report.things[0].size), ("/usr/bin/tool", 200_000));

    let reference = registry.push("team/plain:1", &image());
    let plain = scratch.path().join("plain");
    let report = written(copied(&reference, &plain, &["/bin/tool"]));
    assert!(report.fetched_bytes > 8_000_000, "{} bytes", report.fetched_bytes);
    let [one, other] = [&tool, &plain.join("bin/tool")].map(|path| fs::symlink_metadata(path).unwrap());
    assert_eq!((one.len(), one.mode(), one.mtime()), (other.len(), other.mode(), other.mtime()));
}

#[test]
fn what_a_label_does_not_tell_of_a_file_is_told_by_the_headers_in_front_of_its_content() {
    let registry = Registry::start();
    for (name, tool, expected) in [
        ("plain", file("bin/tool", noise(2, 100_000)).mtime(7), None),
        ("owned", file("bin/tool", noise(2, 100_000)).owner(1000, 0), Some("/bin/tool belongs to 1000:0")),
        (
            "capable",
            file("bin/tool", noise(2, 100_000)).pax("SCHILY.xattr.security.capability", "x"),
            Some("/bin/tool has file capabilities"),
        ),
    ] {
        let layer = [dir("bin"), file("before", noise(1, 3_000_000)), tool, file("after", noise(3, 3_000_000))];
        let reference = registry.push(&format!("team/{name}:1"), &Image::new().layer(layer));
        label_as(&reference, &[("tool", "/bin/tool")]);
        let scratch = tempfile::tempdir().unwrap();
        let outcome = copied(&reference, &scratch.path().join("folder"), &["/bin/tool"]);
        match (expected, outcome) {
            (None, Outcome::Written(report)) => assert!(report.fetched_bytes < 300_000, "{report:?}"),
            (Some(expected), Outcome::Unfit(unfit)) => assert!(unfit.to_string().starts_with(expected), "{unfit}"),
            (expected, outcome) => panic!("{expected:?}: {outcome:?}"),
        }
    }
}

#[test]
fn paths_through_the_links_of_an_ordinary_image_are_all_there() {
    let registry = Registry::start();
    let base = [
        symlink("lib", "usr/lib"),
        dir("usr"),
        dir("usr/lib"),
        file("usr/lib/libm.so.6", "m"),
        file("usr/lib/libz.so.1.3", "z"),
        symlink("usr/lib/libz.so.1", "libz.so.1.3"),
        hardlink("usr/lib/libz.so.old", "usr/lib/libz.so.1.3"),
    ];
    let top = [dir("srv"), file("srv/data", "data"), file("srv/.wh.gone", "")];
    let reference = registry.push("team/app:1", &Image::new().layer(base).layer(top));
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("folder");
    let report = written(copied(&reference, &folder, &["/lib/libm.so.6", "/lib/libz.so.1", "/lib/libz*", "srv"]));
    assert_eq!(report.things.len(), 6);
    for (path, content) in
        [("lib/libm.so.6", "m"), ("lib/libz.so.1", "z"), ("lib/libz.so.old", "z"), ("srv/data", "data")]
    {
        assert!(fs::symlink_metadata(folder.join(path)).unwrap().is_file(), "{path}");
        assert_eq!(fs::read_to_string(folder.join(path)).unwrap(), content, "{path}");
    }
    let outcome = copied(&reference, &scratch.path().join("other"), &["/"]);
    assert!(matches!(outcome, Outcome::Unfit(Unfit::Whole)), "{outcome:?}");
}
