//! A Docker engine in this process, on a socket in a folder of its own: one image, the containers that are made of it, and
//! faults when it is told to have them.
//!
//! It shows in a container what Docker shows in one that was never started: the image's layers, and its own files over them.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tar::EntryType;

use super::archive::{Form, archive, uncompressed};
use super::entry::{dir, fifo, file, hardlink, symlink, tar_of};
use super::http::{self, Request, Response, Service};
use super::image::{Pack, Packed, sha256};
use super::registry::{Faults, Requests};

/// What Docker puts into every container, so that its mounts have something to cover.
const DIRECTORIES: [&str; 7] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys", "run"];
const FILES: [&str; 5] = [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// How long something may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(60);

/// A running engine.
pub struct Engine {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `created`, `running` and so on.
    pub state: String,
    /// When it was made, in seconds since the Unix epoch.
    pub created: i64,
}

struct Shared {
    image: Packed,
    tag: String,
    form: Form,
    mounts: Vec<String>,
    shown: BTreeMap<Vec<u8>, Shown>,
    faults: Faults,
    containers: Mutex<Vec<Container>>,
    /// What was loaded, or given another name, by its name: the config of each.
    loaded: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Whether layers are taken by their diff IDs alone where they are there, as in Docker's own store.
    knows_layers: Mutex<bool>,
    log: Mutex<Vec<String>>,
    stalled: Mutex<usize>,
    stall: Condvar,
    /// Whether a container is made only when [`Engine::release`] says so.
    held: Mutex<bool>,
    release: Condvar,
}

/// What stands at a path of a container.
#[derive(Clone)]
struct Shown {
    kind: EntryType,
    mode: u32,
    mtime: u64,
    target: Vec<u8>,
    content: Vec<u8>,
}

impl Engine {
    /// An engine that has this image under the name `tag`, and exports it as Docker before version 25.
    pub fn start(image: &dyn Pack, tag: &str) -> Self {
        Engine::exporting(image, tag, Form::Docker110, &[])
    }

    /// One that exports it in this form, and in whose containers something is mounted at `mounts`, which hides the image's.
    pub fn exporting(image: &dyn Pack, tag: &str, form: Form, mounts: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let image = image.pack();
        let mut shown = merged(&image);
        mounts.iter().for_each(|mount| {
            let below = format!("{mount}/");
            shown.retain(|path, _| !path.starts_with(&below.as_bytes()[1..]));
        });
        let mounts = mounts.iter().map(|&mount| mount.to_owned()).collect();
        let shared = Arc::new(Shared {
            image,
            tag: tag.to_owned(),
            form,
            mounts,
            shown,
            faults: Faults::default(),
            containers: Mutex::default(),
            loaded: Mutex::default(),
            knows_layers: Mutex::new(true),
            log: Mutex::default(),
            stalled: Mutex::new(0),
            stall: Condvar::new(),
            held: Mutex::new(false),
            release: Condvar::new(),
        });
        let listener = UnixListener::bind(folder.path().join("docker.sock")).expect("a socket of our own");
        http::spawn_unix(listener, Arc::clone(&shared) as Arc<dyn Service>);
        Engine { folder, shared }
    }

    /// Takes no more layers by their diff IDs alone.
    pub fn wants_layers(&self) {
        *self.shared.knows_layers.lock().expect("no thread panics here") = false;
    }

    /// The config of what was loaded, or got its name later, under `name`.
    pub fn loaded(&self, name: &str) -> Option<Value> {
        let loaded = self.shared.loaded.lock().expect("no thread panics here");
        loaded.get(name).map(|config| serde_json::from_slice(config).expect("a config is JSON"))
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// What `DOCKER_HOST` is for it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The ID of its image, which is the digest of the config.
    pub fn id(&self) -> String {
        self.shared.id()
    }

    /// The requests whose path (with its query, and with the method and a space before it) contains this.
    pub fn requests_for(&self, path_part: &str) -> Requests<'_> {
        self.shared.faults.requests(path_part)
    }

    /// How many requests there were with this in their line.
    pub fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|line| line.contains(part)).count()
    }

    /// The requests so far: methods and targets.
    pub fn asked(&self) -> Vec<String> {
        self.shared.log.lock().expect("no thread panics here").clone()
    }

    /// The names of the containers that are there.
    pub fn containers(&self) -> Vec<String> {
        let containers = self.shared.containers.lock().expect("no thread panics here");
        containers.iter().map(|container| container.name.clone()).collect()
    }

    /// A container that somebody else has made.
    pub fn add(&self, name: &str, labels: &[(&str, &str)], state: &str, created: i64) {
        let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let container = Container { name: name.to_owned(), labels, state: state.to_owned(), created };
        self.shared.containers.lock().expect("no thread panics here").push(container);
    }

    /// Waits until a request has been stalled.
    pub fn wait_for_stall(&self) {
        self.wait_for_stalls(1);
    }

    /// Waits until so many requests have been stalled.
    pub fn wait_for_stalls(&self, count: usize) {
        let stalled = self.shared.stalled.lock().expect("no thread panics here");
        let waited = self.shared.stall.wait_timeout_while(stalled, HUNG, |stalled| *stalled < count);
        let waited = waited.expect("no thread panics here").1;
        assert!(!waited.timed_out(), "nobody asked for what is stalled: {:#?}", self.asked());
    }

    /// Makes no container from now on until [`release`](Self::release): whoever asks for one is stalled.
    pub fn hold(&self) {
        *self.shared.held.lock().expect("no thread panics here") = true;
    }

    /// Makes the containers that were asked for meanwhile, and answers.
    pub fn release(&self) {
        *self.shared.held.lock().expect("no thread panics here") = false;
        self.shared.release.notify_all();
    }
}

/// The rootfs of an image without whiteouts, with what Docker puts over it.
fn merged(image: &Packed) -> BTreeMap<Vec<u8>, Shown> {
    let own = DIRECTORIES.map(dir).into_iter().chain(FILES.map(|name| file(name, "the engine's")));
    let mut shown = BTreeMap::new();
    let all = image.layers.iter().map(|layer| uncompressed(&layer.bytes)).chain([tar_of(own)]);
    for (number, tar) in all.enumerate() {
        let is_own = number == image.layers.len();
        for member in tar::Archive::new(tar.as_slice()).entries().expect("a tar of our own") {
            let mut member = member.expect("a tar of our own");
            let path = trimmed(&member.path_bytes());
            let header = member.header();
            let mut target = member.link_name_bytes().map(|name| name.to_vec()).unwrap_or_default();
            if header.entry_type() == EntryType::Link {
                target = trimmed(&target);
            }
            let (kind, mode) = (header.entry_type(), header.mode().expect("a mode"));
            let mtime = header.mtime().expect("a time");
            let mut content = Vec::new();
            member.read_to_end(&mut content).expect("a tar of our own");
            let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| path[..at].to_vec());
            let implied =
                Shown { kind: EntryType::Directory, mode: 0o755, mtime: 0, target: Vec::new(), content: Vec::new() };
            for parent in parents {
                shown.entry(parent).or_insert(implied.clone());
            }
            // Docker removes what is no directory where it needs one.
            let is_directory = |there: &Shown| there.kind == EntryType::Directory;
            let is_there = is_own && kind == EntryType::Directory && shown.get(&path).is_some_and(is_directory);
            if !is_there {
                shown.insert(path, Shown { kind, mode, mtime, target, content });
            }
        }
    }
    shown
}

fn trimmed(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path).to_vec()
}

impl Service for Shared {
    fn answer(&self, request: Request) -> Response {
        self.log.lock().expect("no thread panics here").push(format!("{} {}", request.method, request.target));
        let fault = self.faults.take(&request);
        let response = self.response(&request);
        fault.map_or(response.clone(), |fault| fault.befall(response))
    }

    fn has_stalled(&self) {
        *self.stalled.lock().expect("no thread panics here") += 1;
        self.stall.notify_all();
    }
}

impl Shared {
    fn id(&self) -> String {
        self.image.config.as_ref().expect("an image has a config").digest()
    }

    fn response(&self, request: &Request) -> Response {
        let path = request.path();
        if path == "/_ping" {
            return Response::new(200, &[("Api-Version", "1.41")], b"OK");
        }
        let Some(path) = path.strip_prefix("/v1.41/") else { return refused(400, "client version is too old") };
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["images", "load"]) => self.load(&request.body),
            ("POST", ["images", reference @ .., "tag"]) => self.give_name(&reference.join("/"), request),
            ("GET", ["images", "json"]) => {
                Response::json(&json!([{"RepoTags": [self.tag]}, {"RepoTags": ["<none>:<none>"]}, {"RepoTags": null}]))
            }
            ("GET", ["images", reference @ .., what]) => self.image(&reference.join("/"), what),
            ("POST", ["containers", "create"]) => self.create(request),
            ("GET", ["containers", "json"]) => self.list(),
            (method, ["containers", name, rest @ ..]) => self.container(method, name, rest, request),
            _ => refused(404, "page not found"),
        }
    }

    fn image(&self, reference: &str, what: &str) -> Response {
        let Some(bytes) = self.config_of(reference) else {
            return refused(404, &format!("No such image: {reference}"));
        };
        let config: Value = serde_json::from_slice(&bytes).expect("a config is JSON");
        let layers: Vec<usize> = self.image.layers.iter().map(|layer| uncompressed(&layer.bytes).len()).collect();
        match what {
            "json" => Response::json(&json!({
                "Id": sha256(&bytes), "RepoTags": [self.tag], "Os": config["os"], "Architecture": config["architecture"],
                "Size": layers.iter().sum::<usize>(), "Config": config["config"],
                "RootFS": {"Type": "layers", "Layers": config["rootfs"]["diff_ids"]},
            })),
            "history" => {
                let mut sizes = layers.iter();
                let steps = config["history"].as_array().into_iter().flatten();
                let steps = steps.map(|step| {
                    let made = step["empty_layer"] != true;
                    let size = if made { *sizes.next().expect("as many steps as layers") } else { 0 };
                    // An empty tar has its end mark alone.
                    json!({"Id": "<missing>", "CreatedBy": step["created_by"], "Size": size.saturating_sub(1024)})
                });
                let mut steps: Vec<Value> = steps.collect();
                steps.reverse();
                Response::json(&json!(steps))
            }
            "get" => Response::new(200, &[], archive(&self.image, self.form, &self.tag)),
            _ => refused(404, "page not found"),
        }
    }

    /// The config of the image that `reference` names.
    fn config_of(&self, reference: &str) -> Option<Vec<u8>> {
        let loaded = self.loaded.lock().expect("no thread panics here");
        let is_meant = |(name, config): &(&String, &Vec<u8>)| *name == reference || sha256(config) == reference;
        if let Some((_, config)) = loaded.iter().find(is_meant) {
            return Some(config.clone());
        }
        let is_own = reference == self.tag
            || reference == self.id()
            || (reference.len() >= 12 && self.id()["sha256:".len()..].starts_with(reference));
        is_own.then(|| self.image.config.as_ref().expect("an image has a config").bytes.to_vec())
    }

    fn give_name(&self, reference: &str, request: &Request) -> Response {
        let Some(config) = self.config_of(reference) else { return refused(404, "No such image") };
        let value = |name| request.query_value(name).expect("a name and a tag");
        let name = format!("{}:{}", value("repo"), value("tag"));
        self.loaded.lock().expect("no thread panics here").insert(name, config);
        Response::status(201)
    }

    /// Docker's own store takes a layer of which it has the diff ID without looking for its file (moby, `image/tarexport/load.go`).
    fn load(&self, archive: &[u8]) -> Response {
        let mut members = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().expect("a tar") {
            let mut entry = entry.expect("a tar");
            let name = entry.path().expect("a name").display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a tar");
            members.insert(name, bytes);
        }
        let manifest: Value = serde_json::from_slice(&members["manifest.json"]).expect("JSON");
        let mut layers = manifest[0]["Layers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let knows_layers = *self.knows_layers.lock().expect("no thread panics here");
        if let Some(missing) = layers.find(|layer| !knows_layers && !members.contains_key(*layer)) {
            return Response::json(
                &json!({"error": format!("open /var/lib/docker/tmp/{missing}: no such file or directory")}),
            );
        }
        let config = &members[manifest[0]["Config"].as_str().expect("a name")];
        for name in manifest[0]["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.loaded.lock().expect("no thread panics here").insert(name.to_owned(), config.clone());
        }
        Response::json(&json!({"stream": "Loaded image"}))
    }

    fn create(&self, request: &Request) -> Response {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        if body["Image"] != json!(self.id()) {
            return refused(404, &format!("No such image: {}", body["Image"]));
        }
        assert_eq!(body["WorkingDir"], json!("/"), "Docker would make the image's, where that is not there");
        let mut held = self.held.lock().expect("no thread panics here");
        if *held {
            self.has_stalled();
            held = self.release.wait_while(held, |held| *held).expect("no thread panics here");
        }
        drop(held);
        let labels = body["Labels"].as_object().into_iter().flatten();
        let labels = labels.map(|(key, value)| (key.clone(), value.as_str().expect("text").to_owned())).collect();
        let name = request.query_value("name").expect("a name");
        let container = Container { name: name.clone(), labels, state: "created".to_owned(), created: 0 };
        self.containers.lock().expect("no thread panics here").push(container);
        let mut answer = Response::json(&json!({"Id": id_of(&name), "Warnings": []}));
        answer.status = 201;
        answer
    }

    /// All of them, whatever is asked for.
    fn list(&self) -> Response {
        let containers = self.containers.lock().expect("no thread panics here");
        let listed = containers.iter().map(|container| {
            json!({"Id": id_of(&container.name), "Names": [format!("/{}", container.name)], "Labels": container.labels,
                "State": container.state, "Created": container.created})
        });
        Response::json(&json!(listed.collect::<Vec<_>>()))
    }

    fn container(&self, method: &str, name: &str, rest: &[&str], request: &Request) -> Response {
        let mut containers = self.containers.lock().expect("no thread panics here");
        let is_meant = |container: &Container| container.name == name || id_of(&container.name) == name;
        let Some(at) = containers.iter().position(is_meant) else {
            return refused(404, &format!("No such container: {name}"));
        };
        match (method, rest) {
            ("DELETE", []) => {
                assert_eq!(request.target.split_once('?').map(|(_, query)| query), Some("v=1&force=1"));
                containers.remove(at);
                Response::new(204, &[], Vec::new())
            }
            ("GET", ["json"]) => {
                let mounts = self.mounts.iter().map(|mount| json!({"Type": "volume", "Destination": mount}));
                Response::json(&json!({"Id": id_of(name), "Mounts": mounts.collect::<Vec<_>>()}))
            }
            ("GET" | "HEAD", ["archive"]) => {
                let path = raw_query(&request.target).expect("a path");
                let Some((path, shown)) = self.shown.get_key_value(&trimmed(&path)) else {
                    return refused(404, &format!("Could not find the file {}", path.escape_ascii()));
                };
                let response = Response::new(200, &[], self.archive(path));
                response.header("X-Docker-Container-Path-Stat", &STANDARD.encode(shown.stat(path).to_string()))
            }
            _ => refused(404, "page not found"),
        }
    }

    /// What stands at `path` and below it, as a tar whose names begin with the last one of `path`.
    fn archive(&self, path: &[u8]) -> Vec<u8> {
        let above = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let below = [path, b"/"].concat();
        let inside = self.shown.iter().filter(|(other, _)| *other == path || other.starts_with(&below));
        // As Docker writes it: the first name of a file has the content, and the others are links to that.
        let mut first: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        let entries = inside.map(|(path, shown)| {
            let name = &path[above..];
            let file_itself = if shown.kind == EntryType::Link { &shown.target } else { path };
            let first = *first.entry(file_itself.as_slice()).or_insert(name);
            let entry = match shown.kind {
                EntryType::Directory => dir(name),
                EntryType::Symlink => symlink(name, &shown.target),
                EntryType::Fifo => fifo(&String::from_utf8_lossy(name)),
                _ if first != name => hardlink(name, first),
                _ => file(name, &self.shown[file_itself].content),
            };
            entry.mode(shown.mode).mtime(shown.mtime)
        });
        tar_of(entries)
    }
}

impl Shown {
    fn stat(&self, path: &[u8]) -> Value {
        let kind = match self.kind {
            EntryType::Directory => 1 << 31,
            EntryType::Symlink => 1 << 27,
            EntryType::Fifo => 1 << 25,
            _ => 0_u32,
        };
        let special = [(0o4000, 23), (0o2000, 22), (0o1000, 20)];
        let special = special.iter().filter(|(bit, _)| self.mode & bit != 0).fold(0, |all, (_, go)| all | 1 << go);
        json!({"name": String::from_utf8_lossy(path), "size": self.content.len(), "mode": kind | special | (self.mode & 0o777),
            "mtime": rfc_3339(self.mtime), "linkTarget": ""})
    }
}

/// A time since the Unix epoch as Go writes it.
fn rfc_3339(mut seconds: u64) -> String {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut days = seconds / 86_400;
    seconds %= 86_400;
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}

fn refused(status: u16, message: &str) -> Response {
    Response::new(status, &[], json!({"message": message}).to_string().into_bytes())
}

fn id_of(name: &str) -> String {
    sha256(name.as_bytes()).trim_start_matches("sha256:").to_owned()
}

/// The value of `path` in a query, as raw bytes.
fn raw_query(target: &str) -> Option<Vec<u8>> {
    let value = target.split_once("?path=")?.1;
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}
