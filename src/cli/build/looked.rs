//! What is known of a build before anything is fetched: its Dockerfile is read, with what the builder is and what was typed, and
//! says what is needed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::builder::Builder;
use super::docker::Docker;
use crate::build::command_line::{CommandLine, Own};
use crate::build::{NotUnderstood, Plan, Request, context_name, dockerfile, plan};
use crate::image::platform::Platform;

/// A Dockerfile larger than this many bytes is not looked into.
const MAX_BYTES: u64 = 4 << 20;

/// The oldest buildx that takes contexts by name.
const OLDEST_BUILDX: (u32, u32) = (0, 8);

/// What is known of a build.
pub struct Looked {
    /// What was typed.
    pub line: CommandLine,
    /// The Dockerfile, for messages.
    pub dockerfile: String,
    /// The builder.
    pub builder: Option<Builder>,
    /// What is needed.
    pub plan: Plan,
}

/// The Dockerfile, read.
#[derive(Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// Its text.
    text: String,
    /// What messages call it.
    shown: String,
}

/// Finds out what the build of `line` needs. What was read from standard input goes to `stdin`, so that the build can have it, whatever
/// comes of this.
///
/// # Errors
///
/// Why nobody can say; the build is then passed on as it is.
pub async fn look(
    line: CommandLine,
    own: &Own,
    docker: &Docker,
    stdin: &mut Option<Vec<u8>>,
) -> Result<Looked, NotUnderstood> {
    if line.check_only {
        return Err(NotUnderstood("nothing is built".to_owned()));
    }
    let read = read(&line, stdin)?;
    let (version, builder) = tokio::join!(docker.buildx_version(), docker.builder(line.builder.as_deref()));
    let version = version.ok_or_else(|| {
        NotUnderstood(
            "docker buildx is not installed; with it, files could be copied without pulling their images".to_owned(),
        )
    })?;
    let request = request(&line, own, builder.as_ref())?;
    let mut plan = plan(&dockerfile::parse(&read.text)?, &request)?;
    if let Some(reason) = too_old(version, builder.as_ref()) {
        plan.leave_all(&reason);
    }
    Ok(Looked { line, dockerfile: read.shown, builder, plan })
}

/// Why nothing here takes a folder in the place of an image, if so.
fn too_old(buildx: (u32, u32), builder: Option<&Builder>) -> Option<String> {
    let (what, needed) = match buildx < OLDEST_BUILDX {
        true => (format!("buildx {}.{}", buildx.0, buildx.1), "0.8"),
        false => builder?.too_old()?,
    };
    Some(format!("{what} cannot use a folder in place of an image; {needed} can"))
}

/// Reads the Dockerfile from where buildx reads it: the file named, or `Dockerfile` in the context, or `dockerfile`.
fn read(line: &CommandLine, stdin: &mut Option<Vec<u8>>) -> Result<Dockerfile, NotUnderstood> {
    let folder = line.folder()?;
    let (bytes, shown) = match &line.file {
        Some(file) if file.as_os_str() == "-" => {
            let bytes = read_all(&mut io::stdin().lock());
            let bytes = bytes.map_err(|error| NotUnderstood(format!("standard input cannot be read: {error}")))?;
            (stdin.insert(bytes).clone(), "Dockerfile".to_owned())
        }
        Some(file) => (open(file)?, file.display().to_string()),
        None => {
            let name = folder.join("Dockerfile");
            let name = if name.exists() { name } else { folder.join("dockerfile") };
            let shown = name.strip_prefix(".").unwrap_or(&name).display().to_string();
            (open(&name)?, shown)
        }
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(NotUnderstood(format!("{shown} is larger than 4 MiB")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Dockerfile { text, shown }),
        Err(_) => Err(NotUnderstood(format!("{shown} is not UTF-8"))),
    }
}

fn open(file: &Path) -> Result<Vec<u8>, NotUnderstood> {
    let unreadable = |error: io::Error| NotUnderstood(format!("{} cannot be read: {error}", file.display()));
    // A FIFO could be read only once, and the build is to read it.
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(NotUnderstood(format!("{} is not a regular file", file.display())));
    }
    let file = File::open(file).map_err(unreadable)?;
    read_all(&mut file.take(MAX_BYTES + 1)).map_err(unreadable)
}

fn read_all(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What decides, besides the Dockerfile, which files are needed.
fn request(line: &CommandLine, own: &Own, builder: Option<&Builder>) -> Result<Request, NotUnderstood> {
    let environment = |name: &str| std::env::var_os(name);
    let build_platform = builder.and_then(|builder| builder.platform.clone()).unwrap_or_else(Platform::host);
    let parsed = |text: &String| {
        // buildx's word for the builder's own.
        if text == "local" {
            return Ok(build_platform.clone());
        }
        text.parse::<Platform>().map_err(|error| NotUnderstood(error.to_string()))
    };
    let mut platforms = line.platforms(environment)?.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
    if platforms.is_empty() {
        platforms.push(build_platform.clone());
    }
    let names = |typed: &[String]| -> BTreeSet<String> {
        typed.iter().map(|name| context_name(name).unwrap_or_else(|| name.clone())).collect()
    };
    Ok(Request {
        target: line.target.clone(),
        arguments: line.arguments(environment)?,
        platforms,
        build_platform,
        given: names(&line.contexts),
        leave: names(&own.leave),
    })
}
