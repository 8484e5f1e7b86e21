//! Which of the images in one place is meant: the only one, or the one that a name fits.

use super::SourceError;
use super::files::{Files, shown};
use super::reference;
use crate::image::digest::Digest;

/// The most images that an error lists.
const MAX_LISTED: usize = 20;

/// An image that could be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// What the place calls it: references, tags alone, or nothing.
    pub(super) names: Vec<String>,
    /// What it is called beside that: the digests of its manifest and its config, an ID from before Docker 1.10.
    pub(super) ids: Vec<String>,
}

/// The image that `wanted` names, or without it the only one, as an index of `candidates`. These are different images, each
/// with all its names.
pub(super) fn select(files: &dyn Files, candidates: &[Candidate], wanted: Option<&str>) -> Result<usize, SourceError> {
    let found = match wanted {
        Some(wanted) => matching(candidates, wanted),
        None => (0..candidates.len()).collect(),
    };
    match (found.as_slice(), wanted) {
        (&[one], _) => Ok(one),
        ([], Some(wanted)) => Err(not_found(files, candidates, wanted)),
        ([], None) => Err(SourceError::NotFound {
            what: format!("an image in {}", files.place()),
            detail: "it holds none".to_owned(),
        }),
        (several, _) => {
            let choices: Vec<&Candidate> = several.iter().map(|&index| &candidates[index]).collect();
            let example =
                choices.iter().take(MAX_LISTED).find_map(|choice| unique_name(choice, candidates)).unwrap_or_default();
            Err(SourceError::Ambiguous {
                place: files.place().to_owned(),
                images: choices.len(),
                choices: listed(choices.iter().copied()),
                example: files.address(&example),
            })
        }
    }
}

/// There is no image `wanted`; says which there are.
pub(super) fn not_found(files: &dyn Files, candidates: &[Candidate], wanted: &str) -> SourceError {
    let detail = match candidates {
        [] => "it holds no image".to_owned(),
        candidates => format!("it holds {}", listed(candidates)),
    };
    SourceError::NotFound { what: format!("{} in {}", shown(wanted), files.place()), detail }
}

/// The digest that `wanted` ends in: `sha256:…`, `@sha256:…` or `app:1@sha256:…`. As for Docker, it decides alone.
pub(super) fn digest_in(wanted: &str) -> Option<Digest> {
    wanted.rsplit_once('@').map_or(wanted, |(_, digest)| digest).parse().ok()
}

/// The candidates that `wanted` fits best.
fn matching(candidates: &[Candidate], wanted: &str) -> Vec<usize> {
    let having = |fits: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
        (0..candidates.len()).filter(|&index| fits(&candidates[index])).collect()
    };
    if let Some(digest) = digest_in(wanted) {
        return having(&|candidate| candidate.ids.iter().any(|id| id == digest.as_str()));
    }
    let exact = having(&|candidate| candidate.names.iter().chain(&candidate.ids).any(|name| name == wanted));
    if !exact.is_empty() {
        return exact;
    }
    // Podman's names without a registry are localhost's.
    for wanted in [wanted.to_owned(), format!("localhost/{wanted}")] {
        let Ok(reference) = reference::parse(&wanted) else { continue };
        let same = |name: &String, with_tag: bool| {
            // A tag alone would read as a repository of that name.
            name.contains([':', '/'])
                && reference::parse(name).is_ok_and(|name| {
                    (name.registry(), name.repository()) == (reference.registry(), reference.repository())
                        && (!with_tag || name.tag() == reference.tag())
                })
        };
        let tagged = having(&|candidate| candidate.names.iter().any(|name| same(name, true)));
        if !tagged.is_empty() {
            return tagged;
        }
        let has_tag = wanted.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if !has_tag {
            let any = having(&|candidate| candidate.names.iter().any(|name| same(name, false)));
            if !any.is_empty() {
                return any;
            }
        }
    }
    having(&|candidate| candidate.names.iter().any(|name| tag_of(name) == Some(wanted)))
}

/// The tag that ends a reference.
fn tag_of(name: &str) -> Option<&str> {
    let last = name.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag)
}

/// A name of `choice` that no other candidate has.
fn unique_name(choice: &Candidate, candidates: &[Candidate]) -> Option<String> {
    choice.names.iter().chain(&choice.ids).find(|name| matching(candidates, name).len() == 1).map(|name| shown(name))
}

/// The images for a message, each by its first name, or an ID where it has none.
fn listed<'a>(candidates: impl IntoIterator<Item = &'a Candidate>) -> String {
    let mut candidates = candidates.into_iter();
    let first: Vec<String> = candidates
        .by_ref()
        .take(MAX_LISTED)
        .map(|candidate| {
            let name = candidate.names.iter().chain(&candidate.ids).next();
            name.map_or_else(|| "one without a name".to_owned(), |name| shown(name))
        })
        .collect();
    match candidates.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::files::Stored;

    struct Place;

    impl Files for Place {
        fn place(&self) -> &str {
            "x.tar"
        }

        fn address(&self, image: &str) -> String {
            format!("archive://x.tar#{image}")
        }

        fn find(&self, _: &str) -> Result<Option<Stored>, SourceError> {
            Ok(None)
        }

        fn bytes_read(&self) -> u64 {
            0
        }
    }

    fn images(names: &[&[&str]]) -> Vec<Candidate> {
        let named = names.iter().enumerate().map(|(index, names)| Candidate {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            ids: vec![Digest::of(&[index as u8]).to_string()],
        });
        named.collect()
    }

    #[test]
    fn a_name_finds_its_image_however_it_is_written() {
        let candidates = images(&[
            &["app:1", "app:latest"],
            &["docker.io/library/tool:2"],
            &["localhost/own:3"],
            &["v1.2"],
            &["ghcr.io/team/app:1"],
            &["localhost:5000/app:dev"],
        ]);
        for (wanted, index) in [
            ("app", 0),
            ("app:1", 0),
            ("docker.io/library/app:1", 0),
            ("docker.io/app", 0),
            ("tool", 1),
            ("tool:2", 1),
            ("library/tool:2", 1),
            ("2", 1),
            ("own", 2),
            ("own:3", 2),
            ("v1.2", 3),
            ("ghcr.io/team/app", 4),
            ("localhost:5000/app", 5),
            ("dev", 5),
            (Digest::of(&[3]).as_str(), 3),
            (&format!("@{}", Digest::of(&[3])), 3),
            (&format!("app:1@{}", Digest::of(&[4])), 4),
        ] {
            assert_eq!(select(&Place, &candidates, Some(wanted)).unwrap(), index, "{wanted}");
        }
        for wanted in ["app:2", "v1", "team/app:1", "", "@", "own:4", "docker.io/library/own:3", "sha256:ab"] {
            let error = select(&Place, &candidates, Some(wanted)).unwrap_err();
            assert!(matches!(error, SourceError::NotFound { .. }), "{wanted}: {error}");
        }
    }

    #[test]
    fn what_there_is_instead_is_listed() {
        let candidates = images(&[&["app:1"], &["app:2"]]);
        let error = select(&Place, &candidates, Some("app:3")).unwrap_err().to_string();
        assert_eq!(error, "app:3 in x.tar not found: it holds app:1, app:2");
        assert_eq!(select(&Place, &[], None).unwrap_err().to_string(), "an image in x.tar not found: it holds none");
    }

    #[test]
    fn the_only_image_needs_no_name_and_several_do() {
        assert_eq!(select(&Place, &images(&[&[]]), None).unwrap(), 0);
        let candidates = images(&[&["app:1"], &["app:2"], &["\x1b[2J"]]);
        assert_eq!(
            select(&Place, &candidates, None).unwrap_err().to_string(),
            "x.tar has 3 images that match (app:1, app:2, \\u{1b}[2J); name one, as in archive://x.tar#app:1"
        );
        let error = select(&Place, &candidates, Some("app")).unwrap_err();
        assert!(error.to_string().contains("(app:1, app:2);"), "{error}");
    }

    #[test]
    fn images_that_share_a_name_are_told_apart_by_digest() {
        let candidates = images(&[&["app:1"], &["app:1"]]);
        let error = select(&Place, &candidates, Some("app:1")).unwrap_err().to_string();
        assert!(error.ends_with(&format!("as in archive://x.tar#{}", Digest::of(&[0]))), "{error}");
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..30).map(|number| format!("app:{number}")).collect();
        let names: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
        let candidates = images(&names.iter().map(<[&str; 1]>::as_slice).collect::<Vec<_>>());
        let error = select(&Place, &candidates, None).unwrap_err().to_string();
        assert!(error.contains("app:19 and 10 more") && !error.contains("app:20"), "{error}");
    }
}
