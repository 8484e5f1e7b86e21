//! `docker artifact label` of an engine's image: the same layers, loaded with the new config.

use serde_json::Value;

use crate::label_places::mixed;
use crate::support::archive::Form;
use crate::support::*;

/// The program, with this engine.
fn with(engine: &Engine, arguments: &[&str]) -> Program {
    artifact(arguments).env("DOCKER_HOST", engine.host())
}

#[test]
fn an_image_of_the_engine_is_loaded_with_its_labels_under_its_own_name_and_with_its_layers() {
    let before: Value = serde_json::from_slice(&mixed().pack().config.unwrap().bytes).unwrap();
    for form in [Form::Docker110, Form::Docker25] {
        for wants_layers in [false, true] {
            let engine = Engine::exporting(&mixed(), "app:1", form, &[]);
            if wants_layers {
                engine.wants_layers();
            }
            let dir = WorkDir::new();
            let run = with(&engine, &["label", "local://app:1", "/bin/tool"]).run_in(&dir).exits(0);
            let mut after = engine.loaded("app:1").unwrap();
            assert!(run.out().contains("/bin/tool"), "{}", run.out());
            run.says(&format!("local://app:1 ({}) -> local://app:1 (sha256:", engine.id()));
            let mut before = before.clone();
            assert!(after["config"]["Labels"]["org.docker-artifact.tool"].is_string());
            before["config"]["Labels"].take();
            after["config"]["Labels"].take();
            assert_eq!(before, after);
            // What says no more than its diff ID is sent only where that is not enough.
            let loads = if form == Form::Docker110 && wants_layers { 2 } else { 1 };
            assert_eq!(engine.count("/images/load"), loads, "{form:?} {:?}", engine.asked());
            assert!(dir.listing().is_empty() && listing(&dir.tmp()).is_empty());
        }
    }
}

#[test]
fn an_image_of_the_engine_gets_another_name_or_nothing_at_all() {
    let engine = Engine::start(&mixed(), "app:1");
    let run = with(&engine, &["label", "local://app:1", "/bin/tool", "-t", "new"]).run().exits(0);
    run.says("-> local://new:latest (sha256:");
    assert!(engine.loaded("new:latest").is_some() && engine.loaded("app:1").is_none());
    let id = engine.id();
    for id in [&id, &id[7..19]] {
        with(&engine, &["label", &format!("local://{id}"), "/bin/tool"])
            .run()
            .exits(2)
            .says("name the result with --tag");
    }
    with(&engine, &["label", "local://app:1", "/bin/tool", "--dry-run"]).run().exits(0).says("would become");
    with(&engine, &["label", "local://app:1", "/bin/none"]).run().exits(3).says("local://app:1 has no /bin/none");
    with(&engine, &["label", "local://app:2", "/bin/tool"]).run().exits(3).says("No such image");
    assert_eq!(engine.count("/images/load"), 1);
}

#[test]
fn what_is_said_of_an_image_of_the_engine_is_its_id_there_whatever_the_export_lists() {
    for form in [Form::Docker110, Form::Docker25] {
        let engine = Engine::exporting(&mixed(), "app:1", form, &[]);
        let dry = with(&engine, &["label", "local://app:1", "/bin/tool", "--dry-run", "-q"]).run().exits(0);
        let label = with(&engine, &["label", "local://app:1", "/bin/tool", "-q"]).run().exits(0);
        assert_eq!(dry.out(), label.out(), "{form:?}");
        let labelled = Engine::exporting(&mixed().label("org.docker-artifact.tool", "/bin/tool"), "app:1", form, &[]);
        with(&labelled, &["label", "local://app:1", "--dry-run"]).run().exits(0).says(&labelled.id());
    }
}
