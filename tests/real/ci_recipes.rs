//! The CI jobs of `docs/recipes.md`, followed step by step, with the actions and the template that are ours: `action.yml` and
//! `templates/extract.yml` are run as GitHub's and GitLab's runners do, as far as they use them. Of what others have made, `docker/build-push-action`
//! builds and pushes here as well; the rest only prepares what is here already.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::newer;
use crate::recipes::{Kitchen, NEEDS, blocks};
use crate::registry::{PASSWORD, Registry, USER};
use crate::tools::{NEWER_DEBIAN, WebServer, YAML, can_run, feed, run, static_binary};

const OUR_ACTIONS: &str = "docker-artifact/docker-artifact/.github/actions/";

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `dist/` as a web server gives it, in the folders that releases have.
fn releases() -> (WebServer, TempDir) {
    let root = TempDir::new().unwrap();
    let dist = static_binary().parent().unwrap().to_path_buf();
    for folder in [format!("download/v{}", env!("CARGO_PKG_VERSION")), "latest/download".to_owned()] {
        let folder = root.path().join(folder);
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        symlink(&dist, folder).unwrap();
    }
    (WebServer::of(root.path()), root)
}

/// The documents of a YAML text.
fn yaml(text: &str) -> Vec<Value> {
    // YAML 1.1 takes GitHub's key "on" for a truth value, which JSON shows as "true"; neither is read here.
    let convert = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let output = feed(Command::new("python3").args(["-c", convert]), text.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one YAML block of the recipe `name`.
fn recipe(name: &str) -> Value {
    let [("yaml", text)] = blocks(name)[..] else { panic!("{name} is not one YAML block") };
    yaml(text).remove(0)
}

fn lines(script: &Value) -> String {
    script.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

type Values = BTreeMap<String, String>;

/// `text` with each `${{ NAME }}` replaced by what `values` has for it.
fn evaluated(text: &str, values: &Values) -> String {
    let mut parts = text.split("${{");
    let mut result = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap();
        result += values.get(name.trim()).unwrap_or_else(|| panic!("nothing here has {}", name.trim()));
        result += rest;
    }
    result
}

/// GitHub's runner of one job: what its steps have left for the next ones.
struct Job<'a> {
    kitchen: &'a Kitchen,
    directory: &'a Path,
    environment: Values,
    values: Values,
    temporary: TempDir,
}

impl<'a> Job<'a> {
    fn new(kitchen: &'a Kitchen, directory: &'a Path, environment: Values) -> Self {
        let mut values: Values =
            environment.iter().map(|(name, value)| (format!("env.{name}"), value.clone())).collect();
        let temporary = TempDir::new().unwrap();
        values.insert("runner.temp".to_owned(), temporary.path().display().to_string());
        Job { kitchen, directory, environment, values, temporary }
    }

    fn run(&mut self, steps: &Value) {
        for step in steps.as_array().unwrap() {
            let outputs = match (step["run"].as_str(), step["uses"].as_str()) {
                (Some(script), None) => self.run_script(script, &step["env"]),
                (None, Some(action)) => self.use_action(action, &step["with"]),
                _ => panic!("{step}"),
            };
            if let Some(id) = step["id"].as_str() {
                self.values
                    .extend(outputs.into_iter().map(|(name, value)| (format!("steps.{id}.outputs.{name}"), value)));
            }
        }
    }

    fn run_script(&mut self, script: &str, with: &Value) -> Values {
        let (output, path) = (self.temporary.path().join("output"), self.temporary.path().join("path"));
        fs::write(&output, "").unwrap();
        let mut environment = self.environment.clone();
        for (name, value) in with.as_object().into_iter().flatten() {
            environment.insert(name.clone(), evaluated(value.as_str().unwrap(), &self.values));
        }
        environment.insert("GITHUB_OUTPUT".to_owned(), output.display().to_string());
        environment.insert("GITHUB_PATH".to_owned(), path.display().to_string());
        let added =
            fs::read_to_string(&path).unwrap_or_default().lines().map(|line| format!("{line}:")).collect::<String>();
        let script = format!("PATH={added}$PATH\n{}", evaluated(script, &self.values));
        self.kitchen.bash(self.directory, &script, &environment);
        outputs(&fs::read_to_string(output).unwrap())
    }

    fn use_action(&mut self, action: &str, with: &Value) -> Values {
        let mut inputs: Values = with
            .as_object()
            .into_iter()
            .flatten()
            // Of secrets and of GitHub's own context only the names of logins are made, which are there already.
            .filter(|(_, value)| !value.to_string().contains("secrets.") && !value.to_string().contains("github."))
            .map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                (name.clone(), evaluated(&text, &self.values))
            })
            .collect();
        if let Some(ours) = action.strip_prefix(OUR_ACTIONS) {
            let folder = source().join(".github/actions").join(ours.split('@').next().unwrap());
            return self.run_ours(&folder, inputs);
        }
        match action.split('@').next().unwrap() {
            "actions/checkout" | "docker/login-action" => (),
            "docker/build-push-action" => self.build_and_push(&mut inputs),
            other => panic!("{other} is not followed here"),
        }
        Values::new()
    }

    /// A composite action of this repository, which sees its own inputs and its own steps alone.
    fn run_ours(&mut self, folder: &Path, inputs: Values) -> Values {
        let action = yaml(&fs::read_to_string(folder.join("action.yml")).unwrap()).remove(0);
        let declared = action["inputs"].as_object().unwrap();
        assert!(inputs.keys().all(|name| declared.contains_key(name)), "{inputs:?}");
        let mut inner = self.values.clone();
        inner.insert("github.action_path".to_owned(), folder.display().to_string());
        for (name, input) in declared {
            let given = inputs.get(name).cloned().or_else(|| input["default"].as_str().map(ToOwned::to_owned));
            let value = given.unwrap_or_else(|| panic!("{name} is required"));
            inner.insert(format!("inputs.{name}"), value);
        }
        let outer = std::mem::replace(&mut self.values, inner);
        self.run(&action["runs"]["steps"]);
        let inner = std::mem::replace(&mut self.values, outer);
        let outputs = action["outputs"].as_object().into_iter().flatten();
        outputs.map(|(name, output)| (name.clone(), evaluated(output["value"].as_str().unwrap(), &inner))).collect()
    }

    /// With folders it builds only in thought: the engine here is too old for them. That they have the file is what counts.
    fn build_and_push(&self, inputs: &mut Values) {
        assert_eq!(inputs.remove("context").as_deref(), Some("."));
        if let Some(contexts) = inputs.remove("build-contexts") {
            let folders: Vec<PathBuf> = contexts.lines().map(|line| line.split_once('=').unwrap().1.into()).collect();
            assert!(folders.iter().any(|folder| folder.join("opt/app/bin/hello").is_file()), "{contexts}");
        } else {
            let tag = inputs.remove("tags").unwrap();
            let script = format!("docker build --tag {tag} . && docker push {tag}");
            assert_eq!(inputs.remove("push").as_deref(), Some("true"));
            self.kitchen.shell("build-push-action", self.directory, &script, &Values::new());
        }
        assert!(inputs.is_empty(), "{inputs:?}");
    }
}

/// What a step has written into the file of its outputs: `NAME=VALUE`, or `NAME<<END` and lines.
fn outputs(text: &str) -> Values {
    let mut lines = text.lines();
    let mut outputs = Values::new();
    while let Some(line) = lines.next() {
        let (name, value) = match line.split_once("<<") {
            Some((name, end)) => (name, lines.by_ref().take_while(|line| *line != end).collect::<Vec<_>>().join("\n")),
            None => line.split_once('=').map(|(name, value)| (name, value.to_owned())).unwrap(),
        };
        outputs.insert(name.to_owned(), value);
    }
    outputs
}

fn needs() -> Vec<&'static str> {
    [NEEDS, &["bash", "python3", YAML]].concat()
}

#[test]
fn the_github_workflow_publishes_and_gets() {
    if !can_run("the_github_workflow_publishes_and_gets", &needs()) {
        return;
    }
    let (kitchen, (server, _root)) = (Kitchen::new(Registry::open()), releases());
    let workflow = recipe("github");
    let environment = Values::from([
        ("IMAGE".to_owned(), format!("{}/team/app:github", kitchen.registry.host)),
        ("DOCKER_ARTIFACT_RELEASES".to_owned(), server.url.clone()),
    ]);
    assert!(workflow["env"]["IMAGE"].is_string());
    let checkout = kitchen.directory("publish");
    let elsewhere = TempDir::new().unwrap();
    for (job, directory) in [("publish", checkout.path()), ("use", elsewhere.path())] {
        Job::new(&kitchen, directory, environment.clone()).run(&workflow["jobs"][job]["steps"]);
    }
    assert!(elsewhere.path().join("bin/hello").is_file());
}

#[test]
fn a_github_workflow_hands_over_folders_in_the_place_of_images() {
    let test = "a_github_workflow_hands_over_folders_in_the_place_of_images";
    if !can_run(test, &[&needs()[..], &[NEWER_DEBIAN]].concat()) {
        return;
    }
    let (kitchen, (server, _root)) = (Kitchen::stocked(Registry::open(), false), releases());
    // A runner's docker has buildx, and its engine a BuildKit that takes folders, and none of the images.
    let buildx = newer::root().unwrap().join("usr/libexec/docker/cli-plugins/docker-buildx");
    symlink(buildx, kitchen.home.path().join(".docker/cli-plugins/docker-buildx")).unwrap();
    fs::remove_file(kitchen.home.path().join(".docker/cli-plugins/docker-artifact")).unwrap();
    let checkout = kitchen.directory("copy-from");
    let environment = Values::from([
        ("DOCKER_ARTIFACT_RELEASES".to_owned(), server.url.clone()),
        ("DOCKER_HOST".to_owned(), newer::engine(newer::Kind::Classic).to_owned()),
    ]);
    Job::new(&kitchen, checkout.path(), environment).run(&recipe("github-folders")["steps"]);
}

#[test]
fn the_extract_action_takes_what_docker_cp_takes() {
    if !can_run("the_extract_action_takes_what_docker_cp_takes", &needs()) {
        return;
    }
    let (kitchen, (server, _root)) = (Kitchen::stocked(Registry::open(), false), releases());
    fs::remove_file(kitchen.home.path().join(".docker/cli-plugins/docker-artifact")).unwrap();
    let image = format!("{}/team/app:1", kitchen.registry.host);
    let directory = TempDir::new().unwrap();
    let environment = Values::from([("DOCKER_ARTIFACT_RELEASES".to_owned(), server.url.clone())]);
    let mut job = Job::new(&kitchen, directory.path(), environment);
    let mut extract = |path: &str, destination: Option<&str>| {
        let mut inputs = Values::from([("image".to_owned(), image.clone()), ("path".to_owned(), path.to_owned())]);
        inputs.extend(destination.map(|destination| ("destination".to_owned(), destination.to_owned())));
        job.run_ours(&source().join(".github/actions/extract"), inputs).remove("destination").unwrap()
    };
    assert_eq!(extract("/opt/app", Some("a folder")), "a folder");
    assert_eq!(extract("opt/app/.", Some("inside")), "inside");
    let fresh = extract("/opt/app/bin/hello", None);
    for file in ["a folder/app/bin/hello", "inside/bin/hello", &format!("{fresh}/hello")] {
        assert!(directory.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn jobs_hand_on_what_they_have_learnt() {
    if !can_run("jobs_hand_on_what_they_have_learnt", &needs()) {
        return;
    }
    let kitchen = Kitchen::stocked(Registry::open(), false);
    symlink(env!("CARGO_BIN_EXE_docker-artifact"), kitchen.home.path().join("bin/docker-artifact")).unwrap();
    for name in ["github-cache", "gitlab-cache"] {
        let job = recipe(name);
        let scripts: Vec<String> = match job["jobs"]["use"]["steps"].as_array() {
            Some(steps) => steps.iter().filter_map(|step| step["run"].as_str()).map(str::to_owned).collect(),
            None => vec![lines(&job["use"]["script"])],
        };
        let checkout = TempDir::new().unwrap();
        let cache = checkout.path().join(".docker-artifact");
        let environment = Values::from([
            ("IMAGE".to_owned(), format!("{}/team/app:1", kitchen.registry.host)),
            ("DOCKER_ARTIFACT_CACHE".to_owned(), cache.to_str().unwrap().to_owned()),
        ]);
        let declared = if job["env"].is_object() { &job["env"] } else { &job["variables"] };
        assert!(environment.keys().all(|name| declared[name].is_string()));
        for turn in ["first", "second"] {
            for script in &scripts {
                kitchen.shell(name, checkout.path(), script, &environment);
            }
            let kept = cache.join("manifests/sha256").read_dir().unwrap().count();
            assert_eq!(kept, 1, "{name}, the {turn} time");
            // Between two jobs lies an archive of the folder, and a runner that opens what it unpacks to everybody.
            let handed_on = checkout.path().join("cache.tar");
            run(Command::new("tar").arg("-C").arg(checkout.path()).arg("-cf").arg(&handed_on).arg(".docker-artifact"));
            fs::remove_dir_all(&cache).unwrap();
            run(Command::new("tar").arg("-C").arg(checkout.path()).arg("-xf").arg(&handed_on));
            if name == "gitlab-cache" {
                run(Command::new("chmod").args(["-R", "a+rwX"]).arg(&cache));
            }
        }
    }
}

#[test]
fn the_gitlab_pipeline_publishes_and_gets() {
    if !can_run("the_gitlab_pipeline_publishes_and_gets", &needs()) {
        return;
    }
    let (kitchen, (server, _root)) = (Kitchen::new(Registry::with_password()), releases());
    let pipeline = recipe("gitlab");
    let host = kitchen.registry.host.clone();
    let mut environment: Values = [
        ("IMAGE", format!("{host}/team/app:gitlab")),
        ("CI_REGISTRY", host.clone()),
        ("CI_REGISTRY_USER", USER.to_owned()),
        ("CI_REGISTRY_PASSWORD", PASSWORD.to_owned()),
        ("DOCKER_ARTIFACT_RELEASES", server.url.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let follow = |job: &Value, directory: &Path, environment: &Values| {
        let before = if job["before_script"].is_array() { lines(&job["before_script"]) } else { String::new() };
        let script = format!("{before}\n{}", lines(&job["script"]))
            .replace("https://github.com/docker-artifact/docker-artifact/releases", &server.url)
            .replace("--bin-dir /usr/local/bin", &format!("--bin-dir {}/bin", kitchen.home.path().display()));
        kitchen.shell("gitlab", directory, &script, environment);
    };
    follow(&pipeline["publish"], kitchen.directory("publish").path(), &environment);

    // The other jobs run on another machine, where nobody has logged in.
    fs::remove_file(kitchen.home.path().join(".docker/config.json")).unwrap();
    let elsewhere = TempDir::new().unwrap();
    let include = &pipeline["include"][0];
    assert!(include["remote"].as_str().unwrap().ends_with("/templates/extract.yml"));
    let mut inputs = include["inputs"].clone();
    inputs["image"] = environment["IMAGE"].clone().into();
    let job = templated(&inputs);
    for (name, value) in job["variables"].as_object().unwrap() {
        environment.entry(name.clone()).or_insert_with(|| value.as_str().unwrap().to_owned());
    }
    follow(&job, elsewhere.path(), &environment);
    assert_eq!(job["artifacts"]["paths"][0], "extracted");
    follow(&pipeline["use"], elsewhere.path(), &environment);
}

/// The job of `templates/extract.yml` with these inputs.
fn templated(inputs: &Value) -> Value {
    let text = fs::read_to_string(source().join("templates/extract.yml")).unwrap();
    let (spec, mut jobs) =
        text.split_once("\n---\n").map(|(spec, jobs)| (yaml(spec).remove(0), jobs.to_owned())).unwrap();
    let declared = spec["spec"]["inputs"].as_object().unwrap();
    assert!(inputs.as_object().unwrap().keys().all(|name| declared.contains_key(name)), "{inputs}");
    for (name, input) in declared {
        let value = inputs[name].as_str().or(input["default"].as_str()).unwrap_or_else(|| panic!("{name} is required"));
        jobs = jobs.replace(&format!("$[[ inputs.{name} ]]"), value);
    }
    let name = inputs["job-name"].as_str().unwrap();
    yaml(&jobs).remove(0)[name].take()
}
