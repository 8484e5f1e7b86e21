//! The recipes of `docs/recipes.md`, run as they stand there: each in a directory of its own, its Dockerfile built, its commands run by a
//! shell. Only the names of things that are elsewhere are exchanged. The steps of CI jobs are followed in `ci_recipes.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{self, Command};

use tempfile::TempDir;

use crate::registry::{PASSWORD, Registry, USER};
use crate::tools::{
    BUILDKIT, ENGINE, STATIC_BINARY, at_exit, can_run, docker_with_buildkit, feed, finish, run, static_binary,
};

pub const RECIPES: &str = include_str!("../../docs/recipes.md");

pub const NEEDS: &[&str] = &["docker", ENGINE, BUILDKIT, "busybox", "curl", "docker-registry", STATIC_BINARY];

/// The blocks of the recipe `name`, in their order, with the language that each is in.
pub fn blocks(name: &str) -> Vec<(&'static str, &'static str)> {
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
pub struct Kitchen {
    pub home: TempDir,
    pub registry: Registry,
    base: String,
}

impl Kitchen {
    pub fn new(registry: Registry) -> Self {
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

    /// One that has what the recipes take for granted: the program, the image of `copy_binary` and the labelled image.
    pub fn stocked(registry: Registry, login: bool) -> Self {
        let kitchen = Self::new(registry);
        kitchen.install();
        if login {
            kitchen.login();
        }
        kitchen.cook("publish");
        kitchen.publish_copy_binary();
        kitchen
    }

    /// The image that a release has, for this machine's platform alone.
    fn publish_copy_binary(&self) {
        let context = static_binary().parent().unwrap().to_path_buf();
        let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/copy_binary/Dockerfile");
        let script = format!(
            "docker build --file {} --tag ghcr.io/docker-artifact/copy_binary:{version} . && docker push ghcr.io/docker-artifact/copy_binary:{version}",
            dockerfile.display(),
            version = env!("CARGO_PKG_VERSION")
        );
        self.shell("copy_binary", &context, &script, &BTreeMap::new());
    }

    pub fn install(&self) {
        let plugins = self.home.path().join(".docker/cli-plugins");
        fs::create_dir_all(&plugins).unwrap();
        symlink(env!("CARGO_BIN_EXE_docker-artifact"), plugins.join("docker-artifact")).unwrap();
    }

    pub fn login(&self) {
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
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
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
    pub fn here(&self, text: &str) -> String {
        // The registry listens on loopback, where a build reaches it only from the machine's own network; and the cache knows
        // nothing of a registry that was made a moment ago.
        text.replace("registry.example.com", &self.registry.host)
            .replace("alpine:3.22", &self.base)
            .replace("ghcr.io/docker-artifact", &format!("{}/docker-artifact", self.registry.host))
            .replace("docker build ", &format!("docker build --network host --no-cache --label {} ", mark()))
    }

    /// A directory with the recipe's Dockerfile.
    pub fn directory(&self, name: &str) -> TempDir {
        let directory = TempDir::new().unwrap();
        for (language, text) in blocks(name) {
            if language == "dockerfile" {
                fs::write(directory.path().join("Dockerfile"), self.here(text)).unwrap();
            }
        }
        directory
    }

    pub fn shell(&self, name: &str, directory: &Path, script: &str, environment: &BTreeMap<String, String>) {
        let mut shell = self.command("sh");
        shell.args(["-euxc", &self.here(script)]).current_dir(directory).envs(environment);
        let output = finish(&mut shell);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "recipe {name}:\n{}{}", said(&output.stdout), said(&output.stderr));
    }

    /// As GitHub's runner starts the script of a step.
    pub fn bash(&self, directory: &Path, script: &str, environment: &BTreeMap<String, String>) {
        let mut bash = self.command("bash");
        bash.args(["--noprofile", "--norc", "-exo", "pipefail", "-c", &self.here(script)]);
        let output = finish(bash.current_dir(directory).envs(environment));
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{script}:\n{}{}", said(&output.stdout), said(&output.stderr));
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

    pub fn cook(&self, name: &str) {
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

#[test]
fn every_recipe_is_followed_by_a_test() {
    let marks = RECIPES.lines().filter_map(|line| line.strip_prefix("<!-- recipe: ")?.strip_suffix(" -->"));
    let sources = concat!(include_str!("recipes.rs"), include_str!("ci_recipes.rs"));
    for name in marks {
        assert!(sources.contains(&format!("\"{name}\"")), "no test follows {name}");
    }
    let fences = RECIPES.lines().filter(|line| line.starts_with("```") && line.len() > 3).count();
    assert_eq!(fences, RECIPES.matches("<!-- recipe: ").count(), "a block that belongs to no recipe");
}

#[test]
fn recipes_name_the_release_that_they_came_with() {
    let version = env!("CARGO_PKG_VERSION");
    let template = include_str!("../../templates/extract.yml");
    for mark in [
        "copy_binary:",
        "setup-docker-artifact@v",
        "extract@v",
        "docker-artifact/v",
        "download/v",
        "--version ",
        "default: 0.",
    ] {
        for text in [RECIPES, template] {
            for (_, after) in text.match_indices(mark).map(|(place, _)| text.split_at(place + mark.len())) {
                let named = if mark == "default: 0." { format!("0.{after}") } else { after.to_owned() };
                assert!(
                    named.starts_with(version) || named.starts_with(['$', '"']),
                    "{mark}{}",
                    after.lines().next().unwrap()
                );
            }
        }
    }
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
