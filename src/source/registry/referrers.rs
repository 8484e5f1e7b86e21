//! What refers to a manifest: the referrers API, and the tag schema of registries that lack it.
//! Spec: OCI distribution-spec *Listing Referrers* and *Referrers Tag Schema*; RFC 8288 (*Web Linking*) for pages.

use std::collections::HashSet;
use std::pin::pin;

use oci_distribution::RegistryOperation;
use oci_distribution::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, LINK};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Registry;
use super::transport::{Asked, Request, Target};
use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::image::manifest::MAX_MANIFEST_BYTES;
use crate::source::{RawManifest, SourceError};

/// How many pages of a list are read, of [`MAX_MANIFEST_BYTES`] in all.
const MAX_PAGES: usize = 32;

/// How many entries that do not say what they are are worth looking into.
const MAX_UNTYPED: usize = 8;

/// What go-containerregistry's registry lists as the artifact type of everything that has the empty config (image-spec,
/// *Guidance for an Empty Descriptor*): the config's media type.
const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The tag under which a registry without a referrers API lists what refers to `subject`.
pub(super) fn tag_of(subject: &Digest) -> String {
    subject.as_str().replacen(':', "-", 1)
}

/// Of a list, what is of each of some artifact types, and the first few entries that may be of any.
struct Listed<'a> {
    types: &'a [&'a str],
    /// Of each type what there is.
    typed: Vec<Vec<IndexEntry>>,
    untyped: Vec<IndexEntry>,
}

impl<'a> Listed<'a> {
    fn new(types: &'a [&'a str]) -> Self {
        Listed { types, typed: vec![Vec::new(); types.len()], untyped: Vec::new() }
    }

    /// The API may ignore the filter, and the tag schema has none.
    fn add(&mut self, entries: Vec<IndexEntry>) {
        for entry in entries {
            let kind = entry.artifact_type.as_deref();
            let typed = self.types.iter().zip(&mut self.typed).find(|(wanted, _)| kind == Some(**wanted));
            match (typed, kind) {
                (Some((_, typed)), _) => typed.push(entry),
                (None, None | Some("" | EMPTY_MEDIA_TYPE)) if self.untyped.len() < MAX_UNTYPED => {
                    self.untyped.push(entry);
                }
                _ => {}
            }
        }
    }

    /// Whether there is something of each type.
    fn is_complete(&self) -> bool {
        self.typed.iter().all(|typed| !typed.is_empty())
    }

    /// What there is of each type; where that is nothing, what may be.
    fn finish(self) -> Vec<Vec<IndexEntry>> {
        let Listed { typed, untyped, .. } = self;
        typed.into_iter().map(|typed| if typed.is_empty() { untyped.clone() } else { typed }).collect()
    }
}

impl Registry {
    /// What refers to the manifest `subject` and is of each of these artifact types, by whichever way the registry has: its API, and the
    /// tag's list where that lacks one. Where neither has it, a few entries that may be of the type.
    pub(super) async fn list_referrers(
        &self,
        subject: &Digest,
        artifact_types: &[&str],
    ) -> Result<Vec<Vec<IndexEntry>>, SourceError> {
        // Both are asked at once, as most registries have one of the two, and each answer costs a round trip. An API that has
        // what is wanted is not kept waiting for the tag.
        let mut by_api = pin!(self.referrers_by_api(subject, artifact_types));
        let mut by_tag = pin!(self.referrers_by_tag(subject));
        let mut tagged = None;
        let by_api = loop {
            tokio::select! {
                biased;
                by_api = &mut by_api => break by_api?,
                by_tag = &mut by_tag, if tagged.is_none() => tagged = Some(by_tag),
            }
        };
        let has_api = by_api.is_some();
        let mut listed = by_api.unwrap_or_else(|| Listed::new(artifact_types));
        if !listed.is_complete() {
            let tagged = match tagged {
                Some(tagged) => tagged,
                None => by_tag.await,
            };
            match tagged {
                Ok(Some((_, entries))) => listed.add(entries),
                Ok(None) => {}
                // Whoever has the API need not know the tag, whatever it answers.
                Err(error) if has_api && is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listed.finish())
    }

    /// Whether the referrers API lists the manifest `referrer`.
    pub(super) async fn lists_by_api(
        &self,
        subject: &Digest,
        artifact_type: &str,
        referrer: &Digest,
    ) -> Result<bool, SourceError> {
        let artifact_types = [artifact_type];
        let Some(listed) = self.referrers_by_api(subject, &artifact_types).await? else { return Ok(false) };
        Ok(listed.typed.iter().flatten().chain(&listed.untyped).any(|entry| entry.digest == *referrer))
    }

    /// The referrers API's answer, all its pages; `None` where the registry has no such API.
    async fn referrers_by_api<'a>(
        &self,
        subject: &Digest,
        artifact_types: &'a [&'a str],
    ) -> Result<Option<Listed<'a>>, SourceError> {
        let path = format!("referrers/{subject}");
        // There is a filter for one type. Of an artifact type's characters only `+` means something else in a query.
        let first = match artifact_types {
            [artifact_type] => format!("{path}?artifactType={}", artifact_type.replace('+', "%2B")),
            _ => path.clone(),
        };
        let mut next = Some(first);
        let mut listed = None;
        let mut limit = MAX_MANIFEST_BYTES;
        let mut seen = HashSet::new();
        for _ in 0..MAX_PAGES {
            // A link may lead back to a page that was read.
            let Some(target) = next.take().filter(|target| seen.insert(target.clone())) else { break };
            let target = Target::Registry(target);
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, HeaderValue::from_static(OCI_IMAGE_INDEX_MEDIA_TYPE));
            let (method, operation) = (Method::GET, RegistryOperation::Pull);
            let asked = Asked::Referrers(subject.clone());
            let request = Request { method, target, headers, body: None, operation, asked };
            let (headers, bytes) = match self.transport.fetch(&request, limit).await {
                Ok(answer) => answer,
                Err(error) if is_refusal(&error) => {
                    if listed.is_some() {
                        self.transport.progress.notice(&format!("only a part of a list could be read: {error}"));
                    }
                    break;
                }
                Err(error) => return Err(error),
            };
            let Some(entries) = entries(&bytes) else { break };
            listed.get_or_insert_with(|| Listed::new(artifact_types)).add(entries);
            limit = limit.saturating_sub(bytes.len() as u64);
            next = match next_page(&headers) {
                // Relative to what was asked, which the transport does not know.
                Some(query) if query.starts_with('?') => Some(format!("{path}{query}")),
                Some(link) => match self.transport.resolve(&link, &request.asked) {
                    Ok(Target::Registry(target)) => Some(target),
                    // A list goes on where it began, and nowhere else.
                    Ok(Target::Elsewhere(_)) | Err(_) => None,
                },
                None => None,
            };
        }
        Ok(listed)
    }

    /// The list under the subject's tag, and its entries; `None` where there is none. Some registries (GitLab's) answer with
    /// the subject itself where there is no such tag.
    pub(super) async fn referrers_by_tag(
        &self,
        subject: &Digest,
    ) -> Result<Option<(RawManifest, Vec<IndexEntry>)>, SourceError> {
        match self.fetch_manifest_named(&tag_of(subject), None).await {
            Ok(raw) if raw.digest == *subject => Ok(None),
            Ok(raw) => Ok(entries(&raw.bytes).map(|entries| (raw, entries))),
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the registry answered, and said no.
fn is_refusal(error: &SourceError) -> bool {
    use SourceError::{Denied, Mismatch, NotFound, Protocol};
    matches!(error, NotFound { .. } | Protocol { .. } | Denied { .. } | Mismatch { .. })
}

/// The entries of a list; `None` for anything else, such as an image manifest. Many tools write into one list: an entry that
/// cannot be read hides no other.
fn entries(list: &[u8]) -> Option<Vec<IndexEntry>> {
    #[derive(Deserialize)]
    struct List {
        manifests: Option<Vec<Entry>>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Readable(IndexEntry),
        Other(IgnoredAny),
    }
    let readable = |entry| match entry {
        Entry::Readable(entry) => Some(entry),
        Entry::Other(_) => None,
    };
    let list: List = serde_json::from_slice(list).ok()?;
    Some(list.manifests?.into_iter().filter_map(readable).collect())
}

/// Where the next page is (RFC 8288, section 3): the target of the first link whose relation types have `next` among them.
fn next_page(headers: &HeaderMap) -> Option<String> {
    for header in headers.get_all(LINK) {
        let mut rest = header.to_str().unwrap_or_default();
        while let Some((target, after)) = rest.split_once('<').and_then(|(_, link)| link.split_once('>')) {
            let end = after.find('<').unwrap_or(after.len());
            let parameters = after[..end].trim_end().trim_end_matches(',').split(';');
            let mut relations = parameters.filter_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches('"'))
            });
            let is_next = |types: &str| types.split_ascii_whitespace().any(|kind| kind.eq_ignore_ascii_case("next"));
            if relations.next().is_some_and(is_next) {
                return Some(target.to_owned());
            }
            rest = &after[end..];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::loopback::*;
    use super::*;
    use crate::source::Store;

    const TYPE: &str = "application/vnd.test+json";

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    /// A list of manifests with these artifact types; "-" has none.
    fn list(entries: &[(u8, &str)]) -> String {
        let entry = |(number, kind): &(u8, &str)| match *kind {
            "-" => format!(r#"{{"digest":"{}","size":1}}"#, digest(*number)),
            kind => format!(r#"{{"digest":"{}","size":1,"artifactType":"{kind}"}}"#, digest(*number)),
        };
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.iter().map(entry).collect::<Vec<_>>().join(","))
    }

    async fn listed(server: &Server) -> Vec<Digest> {
        let listed = Setup::default().open(server).referrers(&Digest::of(b"subject"), TYPE).await.unwrap();
        listed.into_iter().map(|entry| entry.digest).collect()
    }

    #[test]
    fn the_next_page_is_the_link_that_says_so() {
        let next = |links: &[&'static str]| {
            let links = links.iter().map(|link| (LINK, HeaderValue::from_static(link)));
            next_page(&links.collect())
        };
        for (links, expected) in [
            (&[r#"</a?n=2>; rel="next""#][..], Some("/a?n=2")),
            (&["</a>;rel=next"], Some("/a")),
            (&[r#"</first>; rel="first", </a,b>; title="x"; REL="last Next""#], Some("/a,b")),
            (&[r#"</first>; rel=first"#, r#"</a>; rel="next""#], Some("/a")),
            (&[r#"</a>; rel="prev""#], None),
            (&["</a"], None),
            (&["rel=next"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(next(links).as_deref(), expected, "{links:?}");
        }
    }

    #[tokio::test]
    async fn a_list_in_pages_is_read_to_its_end() {
        let server = Server::start(|request, _| {
            let (number, next) = match request.target.rsplit_once("page=").map(|(_, page)| page) {
                None => (1, r#"<?artifactType=x&page=2>; rel="next""#),
                Some("2") => (2, r#"</v2/app/referrers/more?page=3>; rel="next""#),
                Some(_) => (3, ""),
            };
            Reply::new(200, &[("Link", next)], list(&[(number, TYPE), (10 + number, "other")]))
        });
        assert_eq!(listed(&server).await, [digest(1), digest(2), digest(3)]);
        assert_eq!(server.paths().iter().filter(|path| path.contains("/referrers/")).count(), 3);
    }

    #[tokio::test]
    async fn an_entry_that_cannot_be_read_hides_no_other() {
        let strange = ["null", "5", "{}", r#"{"digest":"sha256:../x"}"#, r#"{"digest":"DIGEST","size":-1}"#];
        for strange in strange.map(|entry| entry.replace("DIGEST", digest(1).as_str())) {
            let both = list(&[(2, TYPE), (3, TYPE)]).replacen(r#"{"digest""#, &format!(r#"{strange},{{"digest""#), 1);
            let server = Server::start(move |_, _| Reply::ok(&both));
            assert_eq!(listed(&server).await, [digest(2), digest(3)], "{strange}");
        }
    }

    #[tokio::test]
    async fn pages_without_end_and_pages_elsewhere_are_given_up() {
        let endless = Server::start(|_, before| {
            let link = format!("</v2/app/referrers/x?page={before}>; rel=next");
            Reply::new(200, &[("Link", &link)], list(&[(1, TYPE)]))
        });
        assert_eq!(listed(&endless).await.len(), MAX_PAGES);
        for circle in ["</v2/app/x>; rel=next", "<?page=1>; rel=next"] {
            let server = Server::start(move |_, _| Reply::new(200, &[("Link", circle)], list(&[(1, TYPE)])));
            assert_eq!(listed(&server).await.len(), 2, "{circle}");
        }
        let other = Server::start(|_, _| Reply::ok(list(&[(2, TYPE)])));
        let link = format!("<{}>; rel=next", other.url("/v2/app/referrers/x"));
        let server = Server::start(move |_, _| Reply::new(200, &[("Link", &link)], list(&[(1, TYPE)])));
        assert_eq!(listed(&server).await, [digest(1)]);
        assert!(other.received().is_empty());
    }

    #[tokio::test]
    async fn what_does_not_say_its_type_is_looked_into_only_where_nothing_does() {
        let many: Vec<(u8, &str)> =
            (0..20).map(|number| (number, ["-", "", EMPTY_MEDIA_TYPE][number as usize % 3])).collect();
        for (by_api, by_tag, expected) in [
            (list(&[(1, "-"), (2, TYPE), (3, "other")]), list(&[(4, TYPE)]), vec![digest(2)]),
            (list(&[(1, "-"), (3, "other")]), list(&[(4, TYPE)]), vec![digest(4)]),
            (list(&[(1, EMPTY_MEDIA_TYPE), (3, "other")]), String::new(), vec![digest(1)]),
            (list(&many), String::new(), (0..MAX_UNTYPED as u8).map(digest).collect()),
            (list(&[]), r#"{"schemaVersion":2,"config":{},"layers":[]}"#.to_owned(), vec![]),
        ] {
            let server = Server::start(move |request, _| match request.target.contains("/referrers/") {
                true => Reply::ok(&by_api),
                false if by_tag.is_empty() => Reply::status(403),
                false => Reply::ok(&by_tag),
            });
            assert_eq!(listed(&server).await, expected);
        }
    }
}
