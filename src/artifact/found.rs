//! What a reference names, taken apart: the images that are meant, and whatever else has to follow when they change.

use super::candidate::Candidate;
use super::error::Error;
use crate::image::index::{IndexEntry, available};
use crate::image::manifest::Manifest;
use crate::image::platform::{NoSuchPlatform, Platform};
use crate::source::{self, RawManifest, SourceError, Store};

/// What the reference names, taken apart.
#[derive(Default)]
pub struct Found {
    /// The manifest, or the index, that it names; `None` where the place keeps no manifests.
    pub root: Option<RawManifest>,
    /// The images that are meant.
    pub images: Vec<Candidate>,
    /// Whatever else the index lists, as far as it may change or has to be copied.
    pub others: Vec<RawManifest>,
    /// Whether there is an index at all.
    pub is_index: bool,
    /// Whether attestations are among the others.
    pub attested: bool,
    /// The images that the index lists and the place does not hold, with what is missing.
    pub absent: Vec<(String, Error)>,
    /// Whether there may be more of them, whose layers are not held.
    pub may_lack: bool,
    /// Whether range indexes are kept beside the images.
    pub keeps_indexes: bool,
}

/// How far an index is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Also to images that stay as they are, as all of it is copied.
    pub copies_all: bool,
    /// Not to what the place does not hold, which is ordinary there: an archive is saved for some of an index's platforms.
    pub may_lack: bool,
    /// To the range indexes, too, which are kept where the result goes.
    pub keeps_indexes: bool,
}

impl Found {
    /// An image of a place that keeps no manifests.
    pub fn bare(candidate: Candidate, platforms: &[Platform]) -> Result<Self, Error> {
        let (name, mut found) = (candidate.name.clone(), Found::default());
        let there = found.add_alone(candidate, platforms);
        found.checked(&name, platforms, there)
    }

    /// Finds the images for these platforms, or for all where there are none, in `root`, which the reference names, and reads their configs.
    pub async fn of(from: &dyn Store, root: RawManifest, platforms: &[Platform], reach: Reach) -> Result<Self, Error> {
        let name = from.name();
        let may_lack = reach.may_lack && platforms.is_empty();
        let mut found =
            Found { root: Some(root.clone()), may_lack, keeps_indexes: reach.keeps_indexes, ..Found::default() };
        let there = match parse(&name, &root)? {
            Manifest::Image(manifest) => {
                let candidate = Candidate::read(from, root, *manifest, name.clone()).await?;
                found.add_alone(candidate, platforms)
            }
            Manifest::Index(entries) => {
                found.is_index = true;
                let mut there = available(&entries);
                for entry in entries {
                    match found.add(from, &entry, platforms, reach).await {
                        Ok(platform) => there.extend(platform),
                        Err(error @ Error::Source(SourceError::NotFound { .. })) if may_lack => {
                            let known = entry.platform.as_ref().filter(|platform| platform.is_known());
                            if let Some(platform) = known.filter(|_| entry.is_image()) {
                                found.absent.push((format!("{name} for {platform}"), error));
                            }
                        }
                        Err(error) => return Err(error),
                    }
                }
                there
            }
        };
        found.checked(&name, platforms, there)
    }

    /// Adds the only image, unless it is for another platform than those asked for, which then comes back.
    fn add_alone(&mut self, candidate: Candidate, platforms: &[Platform]) -> Vec<Platform> {
        let platform = candidate.image.platform();
        if platform.is_known() && !is_wanted(&platform, platforms) {
            return vec![platform];
        }
        self.images.push(candidate);
        Vec::new()
    }

    /// Adds what the index has this entry of. The platform of an image comes back where only its config told that nobody asked
    /// for it.
    async fn add(
        &mut self,
        from: &dyn Store,
        entry: &IndexEntry,
        platforms: &[Platform],
        reach: Reach,
    ) -> Result<Option<Platform>, Error> {
        let known = entry.platform.as_ref().filter(|platform| platform.is_known());
        let is_other = !entry.is_image() || known.is_some_and(|platform| !is_wanted(platform, platforms));
        if is_other && entry.is_image() && !reach.copies_all {
            return Ok(None);
        }
        let raw = source::listed_manifest(from, entry).await?;
        if is_other {
            self.attested |= entry.is_attestation();
            self.others.push(raw);
            return Ok(None);
        }
        let name = from.name();
        let Manifest::Image(manifest) = parse(&name, &raw)? else {
            let problem = "is an index of indexes; name its images one by one".to_owned();
            return Err(Error::Unlabelable { what: name, problem });
        };
        let mut candidate = Candidate::read(from, raw.clone(), *manifest, name.clone()).await?;
        let platform = known.cloned().unwrap_or(candidate.image.platform());
        candidate.name = format!("{name} for {platform}");
        if known.is_none() && !is_wanted(&platform, platforms) {
            self.others.push(raw);
            return Ok(Some(platform));
        }
        self.images.push(candidate);
        Ok(None)
    }

    /// Fails where no image is meant, or nothing for one of the platforms asked for. Images are `there` for others.
    fn checked(mut self, name: &str, platforms: &[Platform], there: Vec<Platform>) -> Result<Self, Error> {
        if self.images.is_empty() && platforms.is_empty() {
            if !self.absent.is_empty() {
                return Err(self.absent.swap_remove(0).1);
            }
            let detail = "its index lists no image".to_owned();
            return Err(Error::Source(SourceError::NotFound { what: name.to_owned(), detail }));
        }
        for wanted in platforms {
            let is_there = |platform: Platform| !platform.is_known() || platform.is_same(wanted);
            let in_config = |candidate: &Candidate| is_there(candidate.image.platform());
            if !self.images.iter().any(in_config) && !there.iter().any(|platform| platform.is_same(wanted)) {
                let error = NoSuchPlatform { wanted: wanted.clone(), available: there };
                return Err(Error::Source(SourceError::NoSuchPlatform { image: name.to_owned(), error }));
            }
        }
        Ok(self)
    }
}

fn is_wanted(platform: &Platform, platforms: &[Platform]) -> bool {
    platforms.is_empty() || platforms.iter().any(|wanted| platform.is_same(wanted))
}

fn parse(name: &str, raw: &RawManifest) -> Result<Manifest, Error> {
    let not_an_image = |error| SourceError::NotAnImage { image: name.to_owned(), error };
    Manifest::parse(&raw.bytes, raw.media_type.as_deref()).map_err(|error| not_an_image(error).into())
}
