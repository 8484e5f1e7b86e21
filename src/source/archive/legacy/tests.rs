use super::super::Selected;
use super::super::fixture::{LAYERS, Tar, id, layers, legacy, open};
use super::*;
use crate::image::config::ImageConfig;

fn image(tar: Tar, wanted: Option<&str>) -> Result<LocalImage, SourceError> {
    match open(&tar.end())?.select(wanted)? {
        Selected::Image(image) => Ok(image),
        Selected::Manifest(_) => panic!("this form has no manifest"),
    }
}

fn problem(tar: Tar) -> String {
    image(tar, None).err().unwrap().to_string()
}

/// An image's JSON and layer.
fn step(tar: Tar, letter: char, value: Value) -> Tar {
    tar.json(&format!("{}/json", id(letter)), &value).file(format!("{}/layer.tar", id(letter)), letter.to_string())
}

fn named(tar: Tar, letter: char) -> Tar {
    tar.json("repositories", &json!({"app": {"1": id(letter)}}))
}

#[test]
fn a_chain_of_parents_is_an_image() {
    let image = image(legacy(), None).unwrap();
    assert_eq!(image.names, ["app:1", "app:latest"]);
    assert_eq!(layers(&image), LAYERS);
    assert!(image.manifest.is_none() && image.config.digest.is_none(), "nothing vouches for anything");
    assert!(image.layers.iter().all(|layer| layer.blob.is_none() && layer.diff_id.is_none()));
    let config: ImageConfig = serde_json::from_slice(&image.config.bytes).unwrap();
    assert_eq!((config.os.as_str(), config.architecture.as_str()), ("linux", "amd64"));
    assert_eq!(config.config.labels["name"], "app");
    let steps = ["/bin/sh -c #(nop) ADD base", "/bin/sh -c make"].map(|step| Some(step.to_owned()));
    assert_eq!(config.build_steps(2), steps);
    let config: Value = serde_json::from_slice(&image.config.bytes).unwrap();
    assert_eq!(config["history"][0]["created"], "2014-01-01T00:00:00Z");
    assert_eq!(config["author"], "someone");
}

#[test]
fn an_image_without_a_name_is_nobodys_parent() {
    let tar = step(Tar::default(), 'a', json!({}));
    let tar = step(tar, 'b', json!({"parent": id('a'), "container_config": {"Cmd": "one word"}}));
    let image_b = image(tar.clone(), None).unwrap();
    assert_eq!((image_b.names.len(), layers(&image_b)), (0, vec!["a".to_owned(), "b".to_owned()]));
    let tar = step(tar, 'c', json!({"parent": id('a'), "config": null, "container_config": null}));
    assert!(matches!(image(tar.clone(), None), Err(SourceError::Ambiguous { images: 2, .. })));
    let image_c = image(tar, Some(&id('c'))).unwrap();
    assert_eq!(layers(&image_c), ["a", "c"]);
}

#[test]
fn a_step_that_changed_nothing_may_lack_its_layer() {
    let tar = step(Tar::default(), 'a', json!({}));
    let tar = tar.json(&format!("{}/json", id('b')), &json!({"parent": id('a'), "throwaway": true}));
    let tar = named(step(tar, 'c', json!({"parent": id('b'), "throwaway": true})), 'c');
    let image = image(tar, None).unwrap();
    assert_eq!(layers(&image), ["a", "c"]);
    let config: ImageConfig = serde_json::from_slice(&image.config.bytes).unwrap();
    let empty: Vec<bool> = config.history.iter().map(|step| step.empty_layer).collect();
    assert_eq!(empty, [false, true, false]);
}

#[test]
fn a_broken_chain_is_refused() {
    let circle = step(Tar::default(), 'a', json!({"parent": id('b')}));
    let circle = named(step(circle, 'b', json!({"parent": id('a')})), 'a');
    assert!(problem(circle).contains("lead in a circle"));
    let own = named(step(Tar::default(), 'a', json!({"parent": id('a')})), 'a');
    assert!(problem(own).contains("lead in a circle"));
    let orphan = named(step(Tar::default(), 'a', json!({"parent": id('b')})), 'a');
    assert!(problem(orphan).contains(&format!("it does not hold image {}", id('b'))));
    let hollow = named(Tar::default().json(&format!("{}/json", id('a')), &json!({})), 'a');
    assert!(problem(hollow).contains(&format!("it does not hold {}/layer.tar", id('a'))));
    let unnamed_circle = step(Tar::default(), 'a', json!({"parent": id('b')}));
    assert!(problem(step(unnamed_circle, 'b', json!({"parent": id('a')}))).contains("it holds none"));
}

#[test]
fn what_is_no_id_is_not_looked_up() {
    for parent in ["../../etc", "a", &"A/".repeat(32), &format!("../{}", id('b'))] {
        let error = problem(named(step(Tar::default(), 'a', json!({"parent": parent})), 'a'));
        assert!(error.contains("is not an image ID"), "{error}");
    }
    let error = problem(step(Tar::default(), 'a', json!({})).json("repositories", &json!({"app": {"1": "x"}})));
    assert!(error.contains("\"x\" is not an image ID"), "{error}");
    let image = image(named(step(Tar::default(), 'a', json!({"parent": ""})), 'a'), None).unwrap();
    assert_eq!(image.layers.len(), 1, "no parent may be written as an empty one");
}

#[test]
fn another_version_is_refused() {
    let tar = step(Tar::default(), 'a', json!({})).file(format!("{}/VERSION", id('a')), "2.0");
    assert!(problem(named(tar, 'a')).contains("is of version 2.0, not 1.0"));
}

#[test]
fn what_cannot_be_read_says_where() {
    let tar = Tar::default().file(format!("{}/json", id('a')), "{").file(format!("{}/layer.tar", id('a')), "");
    assert!(problem(named(tar, 'a')).contains("/json cannot be read"));
    let tar = step(Tar::default(), 'a', json!({})).file("repositories", "[]");
    assert!(problem(tar).contains("repositories cannot be read"));
}

#[test]
fn links_to_one_description_are_not_read_for_ever() {
    let large = format!("{{\"comment\":\"{}\"}}", " ".repeat(7 << 20));
    let mut tar = Tar::default().file("large", &large);
    let chain: Vec<String> = (0..20).map(|number| format!("{number:064x}")).collect();
    for id in &chain {
        tar = tar.link(&format!("{id}/json"), b'2', "../large");
    }
    assert!(problem(tar).contains("are described in more than"));
}
