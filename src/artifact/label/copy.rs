//! Writing a labelled copy of an archive or a layout: a new file or a new folder, whole or not there, with everything that is not
//! the image's as it was.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::prepare::{Prepared, prepare};
use super::request::{Labelled, Request};
use crate::artifact::blocking::blocking;
use crate::artifact::candidate::Candidate;
use crate::artifact::error::Error;
use crate::artifact::found::{Found, Reach};
use crate::extract::{Destination, ExtractError, Item, Metadata, Node, PublishOptions, StageError, Staging, publish};
use crate::progress::Progress;
use crate::source::copied::{Assembled, Copied};
use crate::source::place::LocalSource;
use crate::source::renamed::NewName;
use crate::source::{Source, SourceError, Store};

/// The mode of a copy of what has none, as `docker save` gives it to what it writes.
const PRIVATE: u32 = 0o600;

/// The file that makes a folder a layout.
const INDEX: &str = "index.json";

/// How many bytes are written to standard output at a time.
const PIECE: usize = 256 * 1024;

/// Labels the image in `from` as `request` says, and writes a copy of the whole place with it to `output`: a file for an archive
/// (`-` for standard output), a folder for a layout. The image keeps its names, or has none but `name`.
pub async fn label_copy(
    from: Arc<LocalSource>,
    output: Option<OsString>,
    name: Option<NewName>,
    request: Request,
    progress: Arc<dyn Progress>,
) -> Result<Labelled, Error> {
    let destination = match &output {
        Some(output) => Some(destination(&from, output)?),
        None if request.dry_run => None,
        None => {
            return Err(Error::Usage("where should the labelled copy go? name a file or a folder with -o".to_owned()));
        }
    };
    let prepared = prepare_local(&from, &request, &progress).await?;
    let Some(destination) = destination.filter(|_| !request.dry_run) else { return Ok(prepared.outcome(false)) };
    let outcome = prepared.outcome(true);
    blocking(move || {
        let copied = from.copied(&prepared.moved, name.as_ref())?;
        let task = format!("writing {}", shown(&destination));
        let length = match &copied {
            Copied::Archive(archive) => archive.length(),
            Copied::Layout(files) => files.iter().map(|(_, file)| file.length()).sum(),
        };
        progress.start(&task, &task, Some(length));
        let mode = from.identity()?.map_or(PRIVATE, |identity| identity.mode);
        let written = Writing { task: &task, mode, progress: &*progress }.write(copied, &destination);
        progress.finish(&task);
        written
    })
    .await?;
    Ok(outcome)
}

/// What labelling the image in `from` comes to.
pub async fn prepare_local(
    from: &Arc<LocalSource>,
    request: &Request,
    progress: &Arc<dyn Progress>,
) -> Result<Prepared, Error> {
    let found = match from.bare_image()? {
        Some(bare) if !bare.has_config => {
            let problem = "was saved by Docker before version 1.10, without a digest to check its layers against; \
                           docker load it, and save it again";
            return Err(Error::Unlabelable { what: from.name(), problem: problem.to_owned() });
        }
        Some(bare) => {
            let image = Arc::new(bare.image);
            Found::bare(
                Candidate { manifest: None, image, config: bare.config, name: from.name(), also: Vec::new() },
                &request.platforms,
            )?
        }
        None => {
            let root = from.manifest(None).await?;
            Found::of(&**from, root, &request.platforms, Reach { may_lack: true, ..Reach::default() }).await?
        }
    };
    let source: Arc<dyn Source> = Arc::clone(from) as Arc<dyn Source>;
    prepare(&source, found, request, progress).await
}

/// Where a copy of `from` goes that is to be at `output`: never over `from` itself, and for a folder never over anything.
fn destination(from: &LocalSource, output: &OsStr) -> Result<Destination, Error> {
    let usage = |problem: String| Err(Error::Usage(problem));
    let shown = output.display();
    let output = match output.as_bytes() {
        // A folder that is not there is made as a whole.
        typed if from.is_folder() && typed.len() > 1 => {
            let end = typed.iter().rposition(|&byte| byte != b'/').map_or(1, |last| last + 1);
            OsString::from_vec(typed[..end].to_vec())
        }
        typed => OsString::from_vec(typed.to_vec()),
    };
    let destination = Destination::parse(Some(&output))?;
    if let Destination::File(path) | Destination::Directory(path) = &destination
        && from.is_folder()
        && from.identity()?.is_some_and(|identity| identity.is_above(path))
    {
        return usage(format!("{shown} is inside the layout that is read; name a new folder elsewhere with -o"));
    }
    match &destination {
        Destination::Stdout if from.is_folder() => usage(
            "a layout is a folder, and cannot be written to standard output; name a new folder with -o".to_owned(),
        ),
        Destination::Stdout => Ok(destination),
        Destination::Directory(path) if from.is_folder() => {
            let is_empty = fs::read_dir(path).map(|mut entries| entries.next().is_none());
            match is_empty.map_err(|error| SourceError::Io { what: format!("reading {shown}"), error })? {
                true => Ok(destination),
                false => usage(format!("{shown} is a folder that is not empty; name a new one with -o")),
            }
        }
        Destination::Directory(_) => {
            usage(format!("{shown} is a folder; name the new archive, as in -o {}/labelled.tar", path_of(&output)))
        }
        Destination::File(path) if from.is_folder() && path.exists() => {
            usage(format!("{shown} is a file; a copy of a layout is a folder, so name a new one with -o"))
        }
        Destination::File(path) if from.identity()?.is_some_and(|identity| identity.is_at(path)) => usage(format!(
            "{shown} is the archive that is read; write the labelled one to another file, and move it to {shown} afterwards"
        )),
        Destination::File(_) => Ok(destination),
    }
}

fn path_of(output: &OsStr) -> String {
    output.to_string_lossy().trim_end_matches('/').to_owned()
}

fn shown(destination: &Destination) -> String {
    match destination {
        Destination::Stdout => "standard output".to_owned(),
        Destination::File(path) | Destination::Directory(path) => path.display().to_string(),
    }
}

/// How a copy is written.
struct Writing<'a> {
    task: &'a str,
    /// The permission bits of what was copied.
    mode: u32,
    progress: &'a dyn Progress,
}

impl Writing<'_> {
    fn write(&self, copied: Copied, destination: &Destination) -> Result<(), Error> {
        let files = match copied {
            Copied::Archive(archive) if *destination == Destination::Stdout => {
                return self.to_stdout(archive.reader());
            }
            Copied::Archive(archive) => {
                let staging = Staging::new(destination)?;
                let item = self.file(&staging, &archive)?;
                publish(staging, vec![(b"archive".to_vec(), item)], &PublishOptions::default())?;
                return Ok(());
            }
            Copied::Layout(files) => files,
        };
        let staging = Staging::new(destination)?;
        let mut items: BTreeMap<Vec<u8>, Item> = BTreeMap::new();
        for (name, file) in files {
            let item = self.file(&staging, &file)?;
            let (folders, name) =
                name.rsplit_once('/').map_or((None, name.as_str()), |(folders, name)| (Some(folders), name));
            let mut within = &mut items;
            for folder in folders.into_iter().flat_map(|folders| folders.split('/')) {
                let folder = within.entry(folder.as_bytes().to_vec()).or_insert_with(|| self.folder());
                let Node::Directory(children) = &mut folder.node else {
                    return Err(Error::Bug(format!("{name} lies in a file")));
                };
                within = children;
            }
            within.insert(name.as_bytes().to_vec(), item);
        }
        let items = match destination {
            Destination::File(_) => vec![(b"layout".to_vec(), Item { node: Node::Directory(items), ..self.folder() })],
            // A layout is one as soon as it has an index, which comes last.
            _ => {
                let index = items.remove_entry(INDEX.as_bytes());
                items.into_iter().chain(index).collect()
            }
        };
        publish(staging, items, &PublishOptions::default())?;
        Ok(())
    }

    /// A file with these bytes, without a name.
    fn file(&self, staging: &Staging, content: &Assembled) -> Result<Item, Error> {
        let mut reader = Reporting { reader: content.reader(), task: self.task, progress: self.progress };
        let staged = staging.stage(&mut reader, content.length()).map_err(|error| match error {
            StageError::Read(error) => Error::Source(SourceError::Io { what: self.task.to_owned(), error }),
            StageError::Write(error) => Error::Extract(error),
        })?;
        Ok(Item { metadata: self.metadata(self.mode & 0o666), node: Node::File(staged) })
    }

    fn folder(&self) -> Item {
        Item { metadata: self.metadata(self.mode), node: Node::Directory(BTreeMap::new()) }
    }

    fn metadata(&self, mode: u32) -> Metadata {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
        Metadata { mode, mtime: (seconds, now.subsec_nanos()), ..Metadata::default() }
    }

    fn to_stdout(&self, mut reader: impl Read) -> Result<(), Error> {
        let mut piece = vec![0; PIECE];
        let mut stdout = io::stdout().lock();
        loop {
            let read = reader.read(&mut piece);
            let read = read.map_err(|error| SourceError::Io { what: self.task.to_owned(), error })?;
            if read == 0 {
                break;
            }
            stdout.write_all(&piece[..read]).map_err(ExtractError::Output)?;
            self.progress.advance(self.task, read as u64);
        }
        stdout.flush().map_err(ExtractError::Output)?;
        Ok(())
    }
}

/// Tells how far it has been read.
struct Reporting<'a, R> {
    reader: R,
    task: &'a str,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Reporting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.progress.advance(self.task, read as u64);
        Ok(read)
    }
}
