//! What an image or a registry says is shown as text, never as an instruction to the terminal.

use crate::support::*;

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
