//! The name that an image gets in a copy of the place that it is in.

use oci_distribution::Reference;

use super::SourceError;
use super::files::Files;
use super::local::malformed;

/// A name with a tag and without a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewName {
    short: String,
    reference: Reference,
}

impl NewName {
    /// Reads a name; without a tag it gets `latest`, as everywhere. Fails with [`SourceError::InvalidReference`].
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let invalid = |problem: String| SourceError::InvalidReference { text: text.to_owned(), problem };
        let reference: Reference = text.parse().map_err(|error| invalid(format!("{error}")))?;
        if reference.digest().is_some() {
            return Err(invalid("a digest cannot be part of a name; leave it out".to_owned()));
        }
        let has_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let short = if has_tag { text.to_owned() } else { format!("{text}:latest") };
        Ok(NewName { short, reference })
    }

    /// As it was typed, with its tag: `app:1`. Docker writes names like this one into `manifest.json`.
    pub fn short(&self) -> &str {
        &self.short
    }

    /// In full: `docker.io/library/app:1`.
    pub fn full(&self) -> String {
        self.reference.whole()
    }

    /// Whether a place means the same by `other`.
    pub(super) fn is(&self, other: &str) -> bool {
        // A tag alone would read as a repository of that name.
        other.contains([':', '/']) && other.parse::<Reference>().is_ok_and(|other| other.whole() == self.full())
    }

    /// Another image in the place has the name.
    pub(super) fn is_taken(&self, files: &dyn Files) -> SourceError {
        malformed(files.place(), format!("it holds another image of the name {}; choose another name", self.short))
    }

    /// The tag alone.
    pub fn tag(&self) -> &str {
        self.reference.tag().unwrap_or("latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_tag_and_no_digest() {
        for (text, short, full, tag) in [
            ("app", "app:latest", "docker.io/library/app:latest", "latest"),
            ("app:1", "app:1", "docker.io/library/app:1", "1"),
            ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest", "latest"),
        ] {
            let name = NewName::parse(text).unwrap();
            assert_eq!((name.short(), name.full().as_str(), name.tag()), (short, full, tag));
        }
        let name = NewName::parse("app:1").unwrap();
        assert!(name.is("app:1") && name.is("docker.io/library/app:1"));
        assert!(!name.is("1") && !name.is("app") && !name.is("localhost/app:1"));
        for text in ["", "A:1", &format!("app@sha256:{}", "0".repeat(64))] {
            assert!(matches!(NewName::parse(text), Err(SourceError::InvalidReference { .. })), "{text}");
        }
    }
}
