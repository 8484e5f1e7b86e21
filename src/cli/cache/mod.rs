//! `docker artifact cache`: what this machine keeps, for a person to look at and to empty.

mod held;

use std::io::{BufRead as _, stdin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use indicatif::DecimalBytes;

use super::failure::Failure;
use super::local_cache::LocalCache;
use super::options::CacheOptions;
use super::output::{complain, write_out};
use super::progress::Display;
use crate::artifact::{Error, blocking};
use crate::cache::{Cache, Pruned};
use crate::image::digest::Digest;
use crate::source::SourceError;
use held::Held;

/// The digests of all that `cache` keeps, as `cache rm` takes them.
pub(super) fn digests(cache: Option<Arc<Cache>>) -> Vec<Digest> {
    Held::new(cache).digests()
}

/// What nobody has used for so long is old.
const OLD: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Does what `options` say.
pub async fn run(options: CacheOptions, display: Arc<Display>) -> Result<(), Failure> {
    let cache = LocalCache::new(true).open(&*display);
    // All of it is the disk's and the terminal's work, on which a person may be waited for.
    let done = blocking(move || Ok(perform(options, &Held::new(cache)))).await?;
    write_out(&done?).map_err(Failure::Output)
}

/// Does it, and gives what is to be printed.
fn perform(options: CacheOptions, held: &Held) -> Result<String, Failure> {
    match options {
        CacheOptions::Ls { format, whole, digests } => Ok(format.render(&held.rows(digests), whole)),
        CacheOptions::Rm(digests) => remove(held, &digests),
        CacheOptions::Prune { all, force } => prune(held, all, force),
    }
}

/// Forgets what these digests or beginnings of digests name. None is forgotten unless each names one.
fn remove(held: &Held, typed: &[String]) -> Result<String, Failure> {
    let known = held.digests();
    let mut wanted = Vec::new();
    for text in typed {
        let begins = |digest: &str| {
            digest.starts_with(text) || digest.split_once(':').is_some_and(|(_, hex)| hex.starts_with(text))
        };
        let mut found = known.iter().filter(|digest| begins(digest.as_str()));
        match (found.next(), found.next()) {
            (Some(digest), None) if wanted.contains(&digest) => {}
            (Some(digest), None) => wanted.push(digest),
            (Some(_), Some(_)) => {
                return Err(Error::Usage(format!("several digests begin with {text}; type more digits")).into());
            }
            (None, _) => {
                let detail = "nothing with this digest is kept; to see what is: docker artifact cache ls".to_owned();
                return Err(Error::from(SourceError::NotFound { what: text.clone(), detail }).into());
            }
        }
    }
    let mut text = String::new();
    for digest in &wanted {
        if held.forget(digest) != Pruned::default() {
            text.push_str(&format!("Deleted: {digest}\n"));
        }
    }
    let left = held.digests();
    match wanted.into_iter().find(|digest| left.contains(digest)) {
        Some(digest) => Err(Failure::NotRemoved(digest.to_string())),
        None => Ok(text),
    }
}

fn prune(held: &Held, all: bool, force: bool) -> Result<String, Failure> {
    let what = if all { "everything that this machine keeps of images" } else { "what was not used for two weeks" };
    if !force {
        complain(&format!("WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] "));
        let mut answer = String::new();
        // Where nobody can be asked, nobody has agreed.
        let _ = stdin().lock().read_line(&mut answer);
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Failure::Declined);
        }
    }
    let unused_since = if all { None } else { SystemTime::now().checked_sub(OLD) };
    let pruned = held.prune(unused_since);
    Ok(format!("Total reclaimed space: {}\n", DecimalBytes(pruned.bytes)))
}
