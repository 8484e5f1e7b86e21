//! The recipes of `docs/recipes.md`, run as they stand there: each in a directory of its own, its Dockerfile built, its commands run by a
//! shell, the steps of its CI jobs one after the other. Only the names of things that are elsewhere are exchanged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{self, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::registry::{PASSWORD, Registry, USER};
use crate::tools::{
    BUILDKIT, ENGINE, STATIC_BINARY, YAML, at_exit, can_run, docker_with_buildkit, feed, finish, run, static_binary,
};

const RECIPES: &str = include_str!("../../docs/recipes.md");

const NEEDS: &[&str] = &["docker", ENGINE, BUILDKIT, "busybox", "curl", "docker-registry", STATIC_BINARY];

/// The blocks of the recipe `name`, in their order, with the language that each is in.
fn blocks(name: &str) -> Vec<(&'static str, &'static str)> {
    let blocks: Vec<_> = RECIPES
        .split(&format!("<!-- recipe: {name} -->\n```"))
        .skip(1)
        .map(|rest| {
            let (block, _) = rest.split_once("\n```").unwrap();
            block.split_once('\n').unwrap()
        })
        .collect();
    assert!(!blocks.is_empty(), "there is no recipe {name}");
    blocks
}

/// A machine on which recipes are tried: a home directory, a few programs in front of the `PATH`, a registry, a base image.
struct Kitchen {
    home: TempDir,
    registry: Registry,
    base: String,
}

impl Kitchen {
    fn new(registry: Registry) -> Self {
        let home = TempDir::new().unwrap();
        let bin = home.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(docker_with_buildkit().unwrap(), bin.join("docker")).unwrap();
        symlink("/bin/true", bin.join("apt-get")).unwrap();
        symlink(program("busybox"), bin.join("wget")).unwrap();
        let base = format!("docker-artifact-recipes:{}", process::id());
        let kitchen = Kitchen { home, registry, base };
        kitchen.make_base();
        kitchen
    }

    /// One that has what the recipes take for granted: the program, the helper's image and the labelled image.
    fn stocked(registry: Registry, login: bool) -> Self {
        let kitchen = Self::new(registry);
        kitchen.install();
        if login {
            kitchen.login();
        }
        kitchen.cook("publish");
        kitchen.cook("helper");
        kitchen
    }

    fn install(&self) {
        let plugins = self.home.path().join(".docker/cli-plugins");
        fs::create_dir_all(&plugins).unwrap();
        symlink(env!("CARGO_BIN_EXE_docker-artifact"), plugins.join("docker-artifact")).unwrap();
    }

    fn login(&self) {
        let mut docker = self.command(self.home.path().join("bin/docker"));
        docker.args(["login", "--username", USER, "--password-stdin", &self.registry.host]);
        let output = feed(&mut docker, PASSWORD.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// An image with a shell, as no registry can be asked for one.
    fn make_base(&self) {
        let context = TempDir::new().unwrap();
        fs::copy(program("busybox"), context.path().join("busybox")).unwrap();
        let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"/bin\"]\nRUN mkdir -p /tmp /usr/local/bin\n";
        fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        let mut docker = self.command(self.home.path().join("bin/docker"));
        run(docker.args(["build", "--quiet", "--tag", &self.base]).arg(context.path()));
        at_exit(&format!(
            "docker rmi --force {} $(docker images --quiet --filter label={} | sort --unique)",
            self.base,
            mark()
        ));
    }

    /// A program that finds nothing of the person who runs the tests.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let home = self.home.path();
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(home.join("bin")).chain(std::env::split_paths(&path));
        command
            .env_remove("DOCKER_CONFIG")
            .env_remove("DOCKER_AUTH_CONFIG")
            .env("HOME", home)
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("DOCKER_BUILDKIT", "1");
        command
    }

    /// `text` with what is elsewhere exchanged for what is here.
    fn here(&self, text: &str) -> String {
        // The registry listens on loopback, where a build reaches it only from the machine's own network; and the cache knows
        // nothing of a registry that was made a moment ago.
        text.replace("registry.example.com", &self.registry.host)
            .replace("alpine:3.22", &self.base)
            .replace("docker build ", &format!("docker build --network host --no-cache --label {} ", mark()))
            .replace("/usr/local/bin/docker-artifact", &format!("{}/bin/docker-artifact", self.home.path().display()))
    }

    /// A directory with everything that a recipe's files refer to, and its Dockerfile.
    fn directory(&self, name: &str) -> TempDir {
        let directory = TempDir::new().unwrap();
        fs::copy(static_binary(), directory.path().join("docker-artifact")).unwrap();
        for (language, text) in blocks(name) {
            if language == "dockerfile" {
                fs::write(directory.path().join("Dockerfile"), self.here(text)).unwrap();
            }
        }
        directory
    }

    fn shell(&self, name: &str, directory: &Path, script: &str, environment: &BTreeMap<String, String>) {
        let mut shell = self.command("sh");
        shell.args(["-euxc", &self.here(script)]).current_dir(directory).envs(environment);
        let output = finish(&mut shell);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "recipe {name}:\n{}{}", said(&output.stdout), said(&output.stderr));
    }

    /// Follows the recipe `name`, with `environment` set.
    fn cook_with(&self, name: &str, environment: &BTreeMap<String, String>) {
        let directory = self.directory(name);
        for (language, text) in blocks(name) {
            if language == "sh" {
                self.shell(name, directory.path(), text, environment);
            }
        }
    }

    fn cook(&self, name: &str) {
        self.cook_with(name, &BTreeMap::new());
    }
}

/// The label of every image that this run builds, by which they are removed.
fn mark() -> String {
    format!("docker-artifact-recipes={}", process::id())
}

fn program(name: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()).unwrap()
}

/// `dist/` as a web server gives it, as releases are.
struct Releases {
    url: String,
    server: process::Child,
}

impl Releases {
    fn open() -> Self {
        let mut server = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"])
            .arg(static_binary().parent().unwrap())
            .arg("0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // "Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ..."
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split(['(', ')']).nth(1).unwrap().trim_end_matches('/').to_owned();
        Releases { url, server }
    }
}

impl Drop for Releases {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The one YAML block of the recipe `name`.
fn yaml(name: &str) -> Value {
    let convert = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let [("yaml", text)] = blocks(name)[..] else { panic!("{name} is not one YAML block") };
    // YAML 1.1 takes GitHub's key "on" for a truth value, which JSON shows as "true"; neither is read here.
    let output = feed(Command::new("python3").args(["-c", convert]), text.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lines(script: &Value) -> String {
    script.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_recipe_is_followed_by_a_test() {
    let marks = RECIPES.lines().filter_map(|line| line.strip_prefix("<!-- recipe: ")?.strip_suffix(" -->"));
    let source = include_str!("recipes.rs");
    for name in marks {
        assert!(source.contains(&format!("\"{name}\"")), "no test follows {name}");
    }
    let fences = RECIPES.lines().filter(|line| line.starts_with("```") && line.len() > 3).count();
    assert_eq!(fences, RECIPES.matches("<!-- recipe: ").count(), "a block that belongs to no recipe");
}

#[test]
fn an_artifact_is_declared_published_got_and_copied_in_builds() {
    if !can_run("an_artifact_is_declared_published_got_and_copied_in_builds", NEEDS) {
        return;
    }
    let kitchen = Kitchen::stocked(Registry::open(), false);
    for recipe in ["run-line", "empty-stage", "copy-from"] {
        kitchen.cook(recipe);
    }
}

#[test]
fn what_a_build_step_left_behind_is_got() {
    if !can_run("what_a_build_step_left_behind_is_got", NEEDS) {
        return;
    }
    let kitchen = Kitchen::new(Registry::open());
    kitchen.install();
    kitchen.cook("build-step");
}

#[test]
fn credentials_reach_a_build_as_a_secret() {
    if !can_run("credentials_reach_a_build_as_a_secret", NEEDS) {
        return;
    }
    let kitchen = Kitchen::stocked(Registry::with_password(), true);
    kitchen.cook("secret");
    let config = fs::read_to_string(kitchen.home.path().join(".docker/config.json")).unwrap();
    kitchen.cook_with("secret-variable", &BTreeMap::from([("DOCKER_AUTH_CONFIG".to_owned(), config)]));
}

#[test]
fn the_github_workflow_publishes_and_gets() {
    if !can_run("the_github_workflow_publishes_and_gets", &[NEEDS, &["python3", YAML]].concat()) {
        return;
    }
    let (kitchen, releases) = (Kitchen::new(Registry::open()), Releases::open());
    let workflow = yaml("github");
    let environment = BTreeMap::from([
        ("IMAGE".to_owned(), format!("{}/team/app:github", kitchen.registry.host)),
        ("RELEASE".to_owned(), releases.url.clone()),
    ]);
    assert!(environment.keys().all(|name| workflow["env"][name].is_string()));
    let checkout = kitchen.directory("publish");
    let elsewhere = TempDir::new().unwrap();
    for (job, directory) in [("publish", checkout.path()), ("use", elsewhere.path())] {
        for step in workflow["jobs"][job]["steps"].as_array().unwrap() {
            match step["run"].as_str() {
                Some(script) => kitchen.shell("github", directory, script, &environment),
                None => assert!(step["uses"].is_string(), "{step}"),
            }
        }
    }
}

#[test]
fn jobs_hand_on_what_they_have_learnt() {
    if !can_run("jobs_hand_on_what_they_have_learnt", &[NEEDS, &["python3", YAML]].concat()) {
        return;
    }
    let kitchen = Kitchen::stocked(Registry::open(), false);
    symlink(env!("CARGO_BIN_EXE_docker-artifact"), kitchen.home.path().join("bin/docker-artifact")).unwrap();
    for name in ["github-cache", "gitlab-cache"] {
        let job = yaml(name);
        let scripts: Vec<String> = match job["jobs"]["use"]["steps"].as_array() {
            Some(steps) => steps.iter().filter_map(|step| step["run"].as_str()).map(str::to_owned).collect(),
            None => vec![lines(&job["use"]["script"])],
        };
        let checkout = TempDir::new().unwrap();
        let cache = checkout.path().join(".docker-artifact");
        let environment = BTreeMap::from([
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
    if !can_run("the_gitlab_pipeline_publishes_and_gets", &[NEEDS, &["python3", YAML]].concat()) {
        return;
    }
    let (kitchen, releases) = (Kitchen::new(Registry::with_password()), Releases::open());
    let pipeline = yaml("gitlab");
    let host = kitchen.registry.host.clone();
    let mut environment: BTreeMap<_, _> = [
        ("IMAGE", format!("{host}/team/app:gitlab")),
        ("RELEASE", releases.url.clone()),
        ("CI_REGISTRY", host),
        ("CI_REGISTRY_USER", USER.to_owned()),
        ("CI_REGISTRY_PASSWORD", PASSWORD.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let checkout = kitchen.directory("publish");
    let elsewhere = TempDir::new().unwrap();
    for (job, directory) in [("publish", checkout.path()), ("use", elsewhere.path())] {
        let config = kitchen.home.path().join(".docker/config.json");
        if job == "use" {
            // It runs on another machine, which has but the project's variable.
            environment.insert("DOCKER_AUTH_CONFIG".to_owned(), fs::read_to_string(&config).unwrap());
            fs::remove_file(&config).unwrap();
        }
        let script = [lines(&pipeline[job]["before_script"]), lines(&pipeline[job]["script"])].join("\n");
        kitchen.shell("gitlab", directory, &script, &environment);
    }
}
