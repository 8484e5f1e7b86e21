//! Images that a folder cannot stand in for.

use super::*;

/// A layer with these members, each with its owner and mode.
fn layer(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), END.to_vec()].concat()
}

/// A file of the owner 0:0.
fn plain(name: &str) -> Block {
    of_root(Block::new(name, b'0', 0))
}

fn with_owner(keeps_owner: bool, paths: &[&str]) -> Vec<Wanted> {
    vec![Wanted { keeps_owner, ..copied(paths) }]
}

#[tokio::test]
async fn owners_are_kept_or_the_image_is_left_alone() {
    // Of 1000:1001.
    let members = [plain("d/a").with(""), Block::new("d/b", b'0', 0).with("")];
    let reason = unfit(vec![layer(&members)], with_owner(true, &["/d"])).await;
    assert_eq!(reason, Unfit::Owner { path: "/d/b".to_owned(), uid: 1000, gid: 1001 });
    let scratch = Scratch::new();
    for (keeps_owner, path) in [(false, "/d"), (true, "/d/a")] {
        let outcome = taken(&scratch, vec![layer(&members)], with_owner(keeps_owner, &[path])).await.unwrap();
        assert!(matches!(outcome, Outcome::Written(_)), "{path}: {outcome:?}");
        extract::remove(&scratch.folder()).unwrap();
    }
}

#[tokio::test]
async fn what_a_folder_loses_leaves_the_image_alone_whatever_becomes_of_owners() {
    let capability = pax(&[("SCHILY.xattr.security.capability", "x")]);
    let members = [
        [capability, plain("capable").with("")].concat(),
        plain("setuid").set(100, "0004755").with(""),
        of_root(Block::new("d/pipe", b'6', 0)).with(""),
        plain(".dockerignore").with(""),
        plain("shut").set(100, "0000000").with(""),
        plain("d/fine").with(""),
    ];
    for (path, expected) in [
        ("/capable", "/capable has file capabilities, which a folder would lose"),
        (
            "/setuid",
            "/setuid has the mode 4755, with which it would lose setuid and setgid unless the builder runs as root",
        ),
        ("/d", "/d/pipe is a device node or a FIFO, which is never created"),
        ("/d/pipe", "/d/pipe is a device node or a FIFO, which is never created"),
        ("/d/p*", "/d/pipe is a device node or a FIFO, which is never created"),
        ("/.dockerignore", "in a folder, BuildKit would obey its /.dockerignore"),
        ("/.d*", "in a folder, BuildKit would obey its /.dockerignore"),
        ("/shut", "/shut has the mode 0000, with which only root could send it"),
        ("/", "all of it is copied"),
    ] {
        let unfit = unfit(vec![layer(&members)], with_owner(false, &[path])).await;
        assert_eq!(unfit.to_string(), expected);
    }
    assert!(matches!(
        unfit(vec![layer(&members)], with_owner(false, &["/*"])).await,
        Unfit::Attribute { .. } | Unfit::Mode { .. }
    ));
    let (scratch, _) = written(vec![layer(&members)], &["/d/fine"]).await;
    assert_eq!(scratch.list(), ["d/", "d/fine: "]);
}

#[tokio::test]
async fn triggers_count_where_the_image_is_the_beginning_of_a_stage() {
    let scratch = Scratch::new();
    let memory = Memory::new(vec![tar(&[file("a", "a")])], As::Streams);
    let mut image = Image::clone(&memory.image);
    image.config.config.on_build.push("RUN make".to_owned());
    let source: Arc<dyn Source> = Arc::new(memory);
    for is_stage in [true, false] {
        let request =
            Request { wanted: vec![copied(&["/a"])], is_stage, tables: Tables::default(), folder: scratch.folder() };
        let image = Arc::new(image.clone());
        let outcome = context(Arc::clone(&source), image, &request, Arc::new(Silent)).await.unwrap();
        assert_eq!(matches!(outcome, Outcome::Unfit(Unfit::OnBuild)), is_stage, "{outcome:?}");
    }
}

#[tokio::test]
async fn what_would_be_found_otherwise_in_a_folder_is_noticed() {
    let layer = || {
        tar(&[
            Member::Link("opt/l", "../srv"),
            file("srv/x", "x"),
            file("opt/a/x", "a"),
            file("opt/a/y", "y"),
            Member::Link("opt/in", "a"),
            Member::Link("opt/out", "/srv/x"),
            Member::Link("bin", "usr/bin"),
            file("usr/bin/tool", "tool"),
        ])
    };
    let parents = |path: &str| Wanted { with_parents: true, ..copied(&[path]) };
    for wanted in [
        // As a directory, opt/l would match, too.
        vec![copied(&["/opt/l/x", "/opt/*/x"])],
        // The link in the directory leads to what is not there.
        vec![copied(&["/opt", "/opt/out"])],
        vec![copied(&["/bin/tool"]), parents("/bin")],
        // Only what one path leads to is sent of what is behind a link.
        vec![copied(&["/opt"]), copied(&["/opt/in/x", "/opt/in/y"])],
        vec![copied(&["/bin/tool"]), parents("/**/tool*")],
    ] {
        let unfit = unfit(vec![layer()], wanted).await;
        assert!(matches!(unfit, Unfit::Tangled { .. }), "{unfit}");
    }
    let (scratch, _) = written(vec![layer()], &["/opt/l/x", "/opt/l*"]).await;
    assert_eq!(scratch.list(), ["opt/", "opt/l/", "opt/l/x: x"]);
    let scratch = Scratch::new();
    let wanted = vec![copied(&["/opt"]), copied(&["/opt/in/x"]), copied(&["/opt/in/y"])];
    assert!(matches!(taken(&scratch, vec![layer()], wanted).await.unwrap(), Outcome::Written(_)));
}

#[tokio::test]
async fn a_link_that_leads_out_of_what_a_pattern_matches_is_noticed() {
    let layer = || {
        tar(&[
            file("opt/app-1/lib.so.1", "1"),
            Member::Link("opt/app-1/lib.so", "lib.so.1"),
            Member::Link("opt/app-2/out", "/etc/conf"),
            file("etc/conf", "conf"),
            Member::Link("opt/app-3/gone", "nowhere"),
            Member::Link("opt/app-4", "app-2"),
        ])
    };
    for paths in [&["/opt/app-2*"][..], &["/opt/app-3*"], &["/opt/app-4*"], &["/etc", "/opt/app-2*"]] {
        let unfit = unfit(vec![layer()], vec![copied(paths)]).await;
        assert!(matches!(unfit, Unfit::LeadsOut { .. }), "{unfit}");
    }
    let parents = Wanted { with_parents: true, ..copied(&["/opt/app-2/out"]) };
    assert!(matches!(unfit(vec![layer()], vec![parents]).await, Unfit::LeadsOut { .. }));
    let excluding = Wanted { excludes: true, ..copied(&["/opt/app-2"]) };
    assert!(matches!(unfit(vec![layer()], vec![excluding]).await, Unfit::LeadsOut { .. }));
    // Without a pattern, links are only copied; and one may lead to what is copied with it.
    for path in ["/opt/app-2", "/opt/app-3", "/opt/app-1*"] {
        written(vec![layer()], &[path]).await;
    }
}
