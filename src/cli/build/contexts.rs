//! From a plan to the folders that BuildKit is given: each image is asked for once, what its uses need is fetched, or was kept by
//! an earlier build; what a folder cannot stand for is left to BuildKit, with the reason.

use std::slice;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::super::access::Access;
use super::super::failure::Failure;
use super::super::progress::Display;
use crate::artifact::context::{self, Outcome, Report, Wanted};
use crate::build::kept::{Kept, Record};
use crate::build::{Context, Left, Use, context_name};
use crate::image::Image;
use crate::image::platform::{Choice, Platform};
use crate::source::{Source, SourceError};

/// What BuildKit is given in place of one image.
#[derive(Debug)]
pub struct Ready {
    /// What the Dockerfile says.
    pub context: Context,
    /// What each platform's files are in; one for all of them where the image is the same for all.
    pub folders: Vec<Folder>,
}

/// The files of one image.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The platforms that it is for.
    pub platforms: Vec<Platform>,
    /// The value of `--build-context`.
    pub value: String,
    /// What is in it.
    pub record: Record,
    /// The bytes that were fetched for it now; `None` where an earlier build had.
    pub fetched_bytes: Option<u64>,
}

/// What stands in for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A folder.
    Folder,
    /// An OCI image layout, which keeps owners.
    Layout,
}

/// How contexts are made.
pub struct Contexts<'a> {
    /// How to reach registries.
    pub access: &'a Access,
    /// Where folders are.
    pub kept: &'a Kept,
    /// Whether nothing of an earlier build is used (`--pull`).
    pub afresh: bool,
    /// What BuildKit takes: a folder, or an image layout, which keeps owners.
    pub form: Form,
    /// Whether each platform may have a folder of its own, as in a bake file.
    pub by_platform: bool,
    /// The Dockerfile, for messages.
    pub dockerfile: &'a str,
    /// Who is told.
    pub display: &'a Arc<Display>,
}

/// So many images are fetched from side by side.
const SIDE_BY_SIDE: usize = 3;

/// An image for some platforms, in the place that has it.
struct Resolved {
    source: Arc<dyn Source>,
    image: Arc<Image>,
    platforms: Vec<Platform>,
}

impl Contexts<'_> {
    /// Makes `contexts` ready. What turns out to be better left to BuildKit goes to `left`.
    ///
    /// # Errors
    ///
    /// A path that an image does not have, content that is not what its digest says, and whatever goes wrong once an image has been
    /// found. An image that cannot be found is left to BuildKit: it may know another way.
    pub async fn make(&self, contexts: Vec<Context>, left: &mut Vec<Left>) -> Result<Vec<Ready>, Failure> {
        let groups = stream::iter(of_one_image(contexts)).map(|group| self.make_group(group));
        let mut ready = Vec::new();
        for (context, outcome) in groups.buffered(SIDE_BY_SIDE).try_concat().await? {
            match outcome {
                Ok(folders) => ready.push(Ready { context, folders }),
                Err(reason) => left.push(Left { line: context.line(), name: context.name, reason }),
            }
        }
        ready.sort_by_key(|ready| ready.context.line());
        Ok(ready)
    }

    /// The folders for contexts of one image, or why each of them is left. If one folder can be for all of them, it is fetched once.
    async fn make_group(&self, group: Vec<Context>) -> Result<Vec<(Context, Result<Vec<Folder>, String>)>, Failure> {
        let images = match self.images(&group).await {
            Ok(images) => images,
            Err(reason) => return Ok(group.into_iter().map(|context| (context, Err(reason.clone()))).collect()),
        };
        let together = self.folders(&images, &group).await?;
        if together.is_ok() || group.len() == 1 {
            return Ok(group.into_iter().map(|context| (context, together.clone())).collect());
        }
        let mut outcomes = Vec::with_capacity(group.len());
        for context in group {
            let outcome = self.folders(&images, slice::from_ref(&context)).await?;
            outcomes.push((context, outcome));
        }
        Ok(outcomes)
    }

    /// The image for each platform, those that are one image together; or why it is left.
    async fn images(&self, group: &[Context]) -> Result<Vec<Resolved>, String> {
        let Some(Context { image: name, platforms, .. }) = group.first() else { return Ok(Vec::new()) };
        let unreadable = |error: SourceError| format!("it cannot be read here: {error}");
        let mut images: Vec<Resolved> = Vec::new();
        for platform in platforms {
            let source: Arc<dyn Source> =
                self.access.registry(name, Arc::clone(self.display) as _).map_err(unreadable)?;
            let choice = Choice::Asked(platform.clone());
            let image = Arc::new(source.image(&choice, &**self.display).await.map_err(unreadable)?);
            match images.iter_mut().find(|other| other.image.digest == image.digest) {
                Some(other) => other.platforms.push(platform.clone()),
                None => images.push(Resolved { source, image, platforms: vec![platform.clone()] }),
            }
        }
        if images.len() > 1 && !self.by_platform {
            let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
            return Err(format!(
                "its files differ between the platforms {}; only --print=bake can name them",
                platforms.join(", ")
            ));
        }
        Ok(images)
    }

    /// A folder of each image for all that the contexts need of it, or why there can be none.
    async fn folders(&self, images: &[Resolved], contexts: &[Context]) -> Result<Result<Vec<Folder>, String>, Failure> {
        let mut folders = Vec::new();
        for resolved in images {
            match self.folder(resolved, contexts).await? {
                Ok(folder) => folders.push(folder),
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(folders))
    }

    /// The folder for what the contexts need of one image, or why there can be none.
    async fn folder(&self, resolved: &Resolved, contexts: &[Context]) -> Result<Result<Folder, String>, Failure> {
        let Some(digest) = &resolved.image.digest else { return Ok(Err("it has no digest".to_owned())) };
        let uses: Vec<&Use> = contexts.iter().flat_map(|context| &context.uses).collect();
        let wanted: Vec<Wanted> = uses.iter().copied().map(wanted).collect();
        let is_stage = contexts.iter().any(|context| context.is_stage);
        let place = self.kept.place(digest, &asked(&wanted, is_stage, self.form)).map_err(Failure::Kept)?;
        let new_folder = place.new_folder();
        if self.form == Form::Layout && new_folder.to_string_lossy().contains([':', '@']) {
            // buildx takes what follows them for a tag, or a digest (docker/buildx, `build/opt.go`).
            let problem = format!("the path of a layout, {}, may not contain : or @", new_folder.display());
            return Ok(Err(problem));
        }
        let earlier = if self.afresh { None } else { self.kept.get(&place) };
        let (record, fetched_bytes) = match earlier {
            Some(record) => (record, None),
            None => {
                let tables = self.access.cache.tables(true, &**self.display);
                let request = context::Request { wanted, is_stage, tables, folder: new_folder };
                let (record, bytes) = self.fetch(resolved, &uses, &request).await?;
                self.kept.put(&place, &record).map_err(Failure::Kept)?;
                (record, Some(bytes))
            }
        };
        if let Some(why) = record.unfit {
            return Ok(Err(why));
        }
        let folder = place.folder_of(&record);
        let value = match &record.manifest {
            Some(manifest) => format!("oci-layout://{}@{manifest}", folder.display()),
            None => folder.display().to_string(),
        };
        Ok(Ok(Folder { platforms: resolved.platforms.clone(), value, record, fetched_bytes }))
    }

    /// Fetches what is asked of an image, and gives the bytes that came.
    async fn fetch(
        &self,
        resolved: &Resolved,
        uses: &[&Use],
        request: &context::Request,
    ) -> Result<(Record, u64), Failure> {
        let Resolved { source, image, .. } = resolved;
        let progress = Arc::clone(self.display) as _;
        let outcome = match self.form {
            Form::Folder => context::context(Arc::clone(source), Arc::clone(image), request, progress).await,
            Form::Layout => context::layout(Arc::clone(source), Arc::clone(image), request, progress).await,
        };
        match outcome {
            Ok(Outcome::Written(Report { image, things, layout, fetched_bytes, image_bytes, .. })) => {
                let paths = things.into_iter().map(|taken| (taken.path, taken.size)).collect();
                let mut record = Record::of(&request.folder, image, paths, image_bytes);
                record.manifest = layout;
                Ok((record, fetched_bytes))
            }
            Ok(Outcome::Unfit(why)) => {
                let name = source.address(image.digest.as_ref());
                Ok((Record::unfit(name, why.to_string()), source.bytes_fetched()))
            }
            Err(context::Failure { at, error }) => Err(match at.and_then(|(of, _)| uses.get(of)) {
                Some(of) => {
                    let place = format!("{}:{}: {}", self.dockerfile, of.line, of.instruction);
                    Failure::InDockerfile { place, error }
                }
                None => Failure::Artifact(*error),
            }),
        }
    }
}

/// The contexts of one image for the same platforms together, in their order.
fn of_one_image(contexts: Vec<Context>) -> Vec<Vec<Context>> {
    let mut groups: Vec<Vec<Context>> = Vec::new();
    for context in contexts {
        let is_same = |group: &&mut Vec<Context>| {
            let of_group = group.first();
            of_group.is_some_and(|other| {
                context_name(&other.image) == context_name(&context.image) && other.platforms == context.platforms
            })
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.push(context),
            None => groups.push(vec![context]),
        }
    }
    groups
}

/// What an instruction wants, as what fetches it knows it.
fn wanted(of: &Use) -> Wanted {
    let paths = of.paths.iter().map(|path| context::Path { text: path.text.clone(), is_pattern: path.is_pattern });
    Wanted { paths: paths.collect(), keeps_owner: of.keeps_owner, with_parents: of.with_parents, excludes: of.excludes }
}

/// All that decides what a folder holds: two uses that want the same share one.
fn asked(wanted: &[Wanted], is_stage: bool, form: Form) -> Vec<u8> {
    let uses: Vec<_> = wanted
        .iter()
        .map(|of| {
            let paths: Vec<_> = of.paths.iter().map(|path| json!([path.text, path.is_pattern])).collect();
            json!([paths, of.keeps_owner, of.with_parents, of.excludes])
        })
        .collect();
    let form = match form {
        Form::Folder => "folder",
        Form::Layout => "layout",
    };
    json!([form, is_stage, uses]).to_string().into_bytes()
}
