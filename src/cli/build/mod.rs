//! `docker artifact build`: `docker build`, except that of images which the build only copies files from, these files are fetched
//! and nothing else.
//!
//! [`run`] is the whole way: what was typed is read as buildx reads it; the Dockerfile tells which files are needed
//! ([`looked`]); they are fetched ([`contexts`]); Docker builds with them ([`docker`]); what came out is labelled ([`labels`]).
//! Whatever is not understood is passed on as it is.

mod builder;
mod contexts;
mod docker;
mod labels;
mod looked;
mod show;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use indicatif::DecimalBytes;

use self::builder::Builder;
use self::contexts::{Contexts, Folder, Form, Ready};
use self::docker::Docker;
use self::labels::{Destination, label_result};
use self::looked::{Looked, look};
use super::access::Access;
use super::exit::Exit;
use super::failure::Failure;
use super::metadata_file::{MetadataFile, Moved, mend_id_file};
use super::options::BuildOptions;
use super::output::write_out;
use super::progress::Display;
use crate::build::command_line::{CommandLine, Own, Print};
use crate::build::kept::Kept;
use crate::build::temporary::Temporary;
use crate::build::{Left, NotUnderstood, Plan};
use crate::progress::Progress as _;

/// Builds what `options` say, or prints what that would be. Gives the exit code of the build.
pub async fn run(options: BuildOptions, display: Arc<Display>) -> Result<Exit, Failure> {
    let BuildOptions { own, words, understood, access, engine, debug, .. } = options;
    let build = Build { docker: Docker::new(&engine, debug), own, words, access, display };
    let mut stdin = None;
    let looked = match understood {
        Ok(line) => look(line, &build.own, &build.docker, &mut stdin).await,
        Err(why) => Err(why),
    };
    match looked {
        Ok(looked) => build.with_contexts(looked, stdin).await,
        Err(why) => build.as_it_is(&why, stdin).await,
    }
}

/// One build.
struct Build {
    docker: Docker,
    own: Own,
    /// What Docker is given.
    words: Vec<OsString>,
    access: Access,
    display: Arc<Display>,
}

impl Build {
    /// Builds without looking into it.
    async fn as_it_is(&self, why: &NotUnderstood, stdin: Option<Vec<u8>>) -> Result<Exit, Failure> {
        self.display.notice(&format!("passing the build on unchanged: {why}"));
        match self.own.print {
            Some(_) => self.print("", &[], &[]),
            None => {
                let built = self.docker.build(self.words.clone(), stdin, false).await;
                built.map(|(exit, _)| exit).map_err(Failure::Docker)
            }
        }
    }

    /// Fetches what the build copies, and builds with it.
    async fn with_contexts(&self, looked: Looked, stdin: Option<Vec<u8>>) -> Result<Exit, Failure> {
        let Looked { line, dockerfile, builder, plan } = looked;
        let Plan { contexts, mut left, declared } = plan;
        let is_engine = builder.as_ref().is_some_and(Builder::is_engine);
        if self.own.keep_owners && !contexts.is_empty() && !self.docker.takes_layouts(builder.as_ref()).await {
            let problem = "--keep-owners needs a builder that takes OCI layouts; this engine's does not, because it does not keep images with \
                           containerd; choose another with --builder";
            return Err(Failure::Build(problem.to_owned()));
        }
        let mut wanted = Vec::with_capacity(contexts.len());
        for context in contexts {
            if is_engine && self.docker.has_image(&context.image).await {
                let reason = "it is in the engine already".to_owned();
                left.push(Left { line: context.line(), name: context.name, reason });
            } else {
                wanted.push(context);
            }
        }
        let kept = self.kept(!wanted.is_empty())?;
        let contexts = Contexts {
            access: &self.access,
            kept: &kept,
            afresh: line.pull,
            form: if self.own.keep_owners { Form::Layout } else { Form::Folder },
            by_platform: matches!(self.own.print, Some(Print::Bake(_))),
            dockerfile: &dockerfile,
            display: &self.display,
        };
        let ready = contexts.make(wanted, &mut left).await?;
        left.sort_by_key(|left| left.line);
        if self.own.print.is_some() {
            return self.print(&dockerfile, &ready, &left);
        }
        self.tell(&dockerfile, &ready, &left);
        let declares = !declared.is_empty() || labels::declare(&line.labels);
        let destination = labels::destination(&line, is_engine).filter(|_| declares && !self.own.no_label);
        if destination.is_some() && labels::is_pushed_by_digest(&line) {
            self.display.notice(
                "the image is not labelled, because it is pushed only by its digest; label it when it has a tag",
            );
            return Ok(self.build(&ready, Vec::new(), stdin, false).await?.0);
        }
        match destination {
            Some(destination) => self.build_and_label(&line, destination, &ready, stdin).await,
            None => Ok(self.build(&ready, Vec::new(), stdin, false).await?.0),
        }
    }

    /// Where folders are kept. Nothing that is printed may be gone when it is used.
    fn kept(&self, is_needed: bool) -> Result<Kept, Failure> {
        let kept = Kept::open(&|name| std::env::var_os(name)).or_else(|error| {
            self.display.notice(&format!("nothing is kept for the next build: {error}"));
            Kept::temporary()
        });
        let kept = kept.map_err(Failure::Kept)?;
        if is_needed && self.own.print.is_some() && !kept.is_lasting() {
            let problem =
                "--print needs a place for what it fetches; unset DOCKER_ARTIFACT_CACHE, or set it to a folder";
            return Err(Failure::Build(problem.to_owned()));
        }
        Ok(kept)
    }

    /// Builds with what is ready, and some more arguments.
    async fn build(
        &self,
        ready: &[Ready],
        more: Vec<OsString>,
        stdin: Option<Vec<u8>>,
        is_heard: bool,
    ) -> Result<(Exit, Vec<u8>), Failure> {
        let words = arguments(ready).into_iter().chain(more).chain(self.words.iter().cloned());
        self.docker.build(words.collect(), stdin, is_heard).await.map_err(Failure::Docker)
    }

    /// The same; then labels the result, and mends what tells of it.
    async fn build_and_label(
        &self,
        line: &CommandLine,
        destination: Destination,
        ready: &[Ready],
        stdin: Option<Vec<u8>>,
    ) -> Result<Exit, Failure> {
        // If nobody else wants to know the digest, it is still needed here.
        let own = match &line.metadata_file {
            Some(_) => None,
            None => Some(Temporary::new().map_err(Failure::Kept)?),
        };
        let own_file = own.as_ref().map(|folder| folder.path().join("metadata.json"));
        let more = own_file.iter().flat_map(|file| ["--metadata-file".into(), file.into()]).collect();
        // What a quiet build prints is the ID of the image, which labelling changes.
        let prints_id = line.prints_id(|name| std::env::var_os(name));
        let (exit, said) = self.build(ready, more, stdin, prints_id).await?;
        let file = own_file.as_deref().or(line.metadata_file.as_deref());
        let moved = match file.filter(|_| exit == Exit::Done) {
            Some(file) => self.label(file, line, destination).await,
            None => Ok(Moved::new()),
        };
        if prints_id {
            let said = String::from_utf8_lossy(&said);
            let now = moved.as_ref().ok().and_then(|moved| moved.get(said.trim()));
            let text = now.map_or_else(|| said.into_owned(), |(now, _)| format!("{now}\n"));
            write_out(&text).map_err(Failure::Output)?;
        }
        moved.map(|_| exit)
    }

    /// Labels the result that a metadata file tells of, and mends what tells of it. Gives the digests that moved.
    async fn label(&self, file: &Path, line: &CommandLine, destination: Destination) -> Result<Moved, Failure> {
        let done = match destination {
            Destination::Registry => "pushed",
            Destination::Engine => "loaded",
        };
        let unlabelled = |failure| Failure::Unlabelled { done, failure: Box::new(failure) };
        let metadata = MetadataFile::read(file.as_os_str()).map_err(Failure::Build);
        let mut metadata = metadata.map_err(unlabelled)?;
        let names = labels::names(&metadata, line);
        if names.is_empty() {
            self.display.notice(
                "the artifacts that the image declares are not labelled, because it has no name; give it one with --tag",
            );
            return Ok(Moved::new());
        }
        let moved = label_result(&metadata, &names, destination, &self.access, &self.display).await;
        let moved = moved.map_err(unlabelled)?;
        metadata.mend(&moved).map_err(Failure::Kept)?;
        if let Some(file) = &line.iidfile {
            mend_id_file(file, &moved).map_err(Failure::Kept)?;
        }
        Ok(moved)
    }

    /// Says what was fetched, and what is left to BuildKit.
    fn tell(&self, dockerfile: &str, ready: &[Ready], left: &[Left]) {
        let mut told = BTreeSet::new();
        // Several names may stand for one image, and share a folder.
        for folder in ready.iter().flat_map(|ready| &ready.folders).filter(|folder| told.insert(&folder.value)) {
            let Folder { record, fetched_bytes, .. } = folder;
            let fetched = match fetched_bytes {
                Some(bytes) => format!("fetched {} of {}", DecimalBytes(*bytes), DecimalBytes(record.image_bytes)),
                None => "an earlier build has fetched what is needed".to_owned(),
            };
            self.display.close(&format!("{}: {fetched}", record.image));
        }
        for Left { name, line, reason } in left {
            self.display.notice(&format!("{dockerfile}:{line}: {name} is left to BuildKit: {reason}"));
        }
    }

    /// Prints what was asked for instead of building.
    fn print(&self, dockerfile: &str, ready: &[Ready], left: &[Left]) -> Result<Exit, Failure> {
        let text = match &self.own.print {
            Some(Print::Flags) => show::flags(ready),
            Some(Print::Bake(target)) => show::bake(target.as_deref().unwrap_or("default"), ready),
            Some(Print::Compose(service)) => show::compose(service.as_deref().unwrap_or("app"), ready),
            Some(Print::Plan) | None => {
                let words = arguments(ready).into_iter().chain(self.words.iter().cloned()).collect();
                let command = self.docker.command_line(words);
                let command: Vec<String> = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
                show::plan(&command, dockerfile, ready, left)
            }
        };
        if !matches!(self.own.print, Some(Print::Plan)) {
            self.tell(dockerfile, &[], left);
        }
        self.display.clear();
        write_out(&text).map_err(Failure::Output)?;
        Ok(Exit::Done)
    }
}

fn arguments(ready: &[Ready]) -> Vec<OsString> {
    show::arguments(ready).into_iter().map(OsString::from).collect()
}
