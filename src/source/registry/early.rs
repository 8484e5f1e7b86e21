//! What is asked for before anybody needs it, so that its answer comes with the config's.
//!
//! Where a name is to be got, the range index will be needed as soon as the labels are read; what is asked for is known
//! earlier, with the manifest: a blob that it names, or else what refers to it. One thing is asked for at a time, and given up
//! where nobody takes it.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::task::JoinSet;

use super::Registry;
use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::image::manifest::{Descriptor, described};
use crate::source::{self, Expected, SourceError};

type Listed = Result<Vec<IndexEntry>, SourceError>;
type Read = Result<Vec<u8>, SourceError>;

/// What is expected to be asked for, and what is on its way.
#[derive(Default)]
pub(super) struct Early {
    /// What will be wanted; nothing is asked for without it.
    expected: OnceLock<Expected>,
    on_its_way: Mutex<Option<OnItsWay>>,
}

/// What was asked for. Each set has one task, which ends where the set is dropped.
enum OnItsWay {
    /// What refers to the manifest of this digest.
    Referrers(Digest, JoinSet<Listed>),
    /// The blob of this descriptor.
    Blob(Descriptor, JoinSet<Read>),
}

impl Early {
    /// This will be wanted.
    pub fn expect(&self, expected: Expected) {
        // The first one stays: nobody asks for two.
        let _ = self.expected.set(expected);
    }

    /// Asks `registry` for what is expected to be wanted of the image whose manifest is `subject` and has these annotations.
    pub fn begin(&self, registry: Registry, subject: &Digest, annotations: Option<&BTreeMap<String, String>>) {
        let Some(&Expected { annotation, media_type, artifact_type }) = self.expected.get() else { return };
        let named = described(annotations, annotation).filter(|descriptor| descriptor.media_type == media_type);
        let begun = match named {
            Some(descriptor) => {
                let (mut task, wanted) = (JoinSet::new(), descriptor.clone());
                task.spawn(async move { source::read_small(&registry, &wanted).await });
                OnItsWay::Blob(descriptor, task)
            }
            None => {
                let (mut task, wanted) = (JoinSet::new(), subject.clone());
                task.spawn(async move { registry.list_referrers(&wanted, artifact_type).await });
                OnItsWay::Referrers(subject.clone(), task)
            }
        };
        *self.on_its_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
    }

    /// The list that is on its way, where it is what is asked for here. It is given once.
    pub async fn take_referrers(&self, subject: &Digest, artifact_type: &str) -> Option<Listed> {
        let is_expected = self.expected.get().is_some_and(|expected| expected.artifact_type == artifact_type);
        match self.take()? {
            OnItsWay::Referrers(asked, mut task) if asked == *subject && is_expected => task.join_next().await?.ok(),
            _ => None,
        }
    }

    /// The blob that is on its way, where it is the one that is asked for here. It is given once.
    pub async fn take_blob(&self, descriptor: &Descriptor) -> Option<Read> {
        match self.take()? {
            OnItsWay::Blob(asked, mut task) if asked.digest == descriptor.digest && asked.size == descriptor.size => {
                task.join_next().await?.ok()
            }
            _ => None,
        }
    }

    fn take(&self) -> Option<OnItsWay> {
        self.on_its_way.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Condvar};
    use std::time::Duration;

    use serde_json::json;

    use super::super::loopback::*;
    use super::*;
    use crate::image::platform::Choice;
    use crate::source::{Source, Store};

    const TYPE: &str = "application/vnd.test+json";
    const EXPECTED: Expected =
        Expected { annotation: "test.index", media_type: "application/vnd.test.list+json", artifact_type: TYPE };
    const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

    fn manifest() -> String {
        let config = descriptor(CONFIG.as_bytes());
        let kind = "application/vnd.oci.image.config.v1+json";
        let config = json!({"mediaType": kind, "digest": config.digest, "size": config.size});
        let kind = "application/vnd.oci.image.manifest.v1+json";
        json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}).to_string()
    }

    /// A registry without a referrers API, which answers nothing but the image's manifest before `together` other requests,
    /// each for something else, have come.
    fn patient(together: usize) -> Server {
        let seen = Arc::new((Mutex::new(BTreeSet::new()), Condvar::new()));
        Server::start(move |request, _| {
            if request.target.ends_with("/manifests/1") {
                return Reply::ok(manifest());
            }
            let (seen, more) = &*seen;
            let mut all = seen.lock().unwrap();
            all.insert(request.target.clone());
            more.notify_all();
            let (all, waited) =
                more.wait_timeout_while(all, Duration::from_secs(20), |all| all.len() < together).unwrap();
            drop(all);
            match request.target.contains("/blobs/") {
                _ if waited.timed_out() => Reply::status(400),
                true => Reply::ok(CONFIG),
                false if request.target.contains("/manifests/sha256-") => {
                    let referrer = json!({"digest": Digest::of(b"index"), "size": 1, "artifactType": TYPE});
                    Reply::ok(json!({"schemaVersion": 2, "manifests": [referrer]}).to_string())
                }
                false => Reply::status(404),
            }
        })
    }

    /// Asks for an image of which [`EXPECTED`] will be wanted, and then for what refers to it with this type.
    async fn referrers(server: &Server, setup: &Setup, artifact_type: &str) -> Vec<IndexEntry> {
        let registry = setup.open(server);
        registry.expect(EXPECTED);
        let image = registry.image(&Choice::Host, &*setup.recorder).await.unwrap();
        registry.referrers(image.digest.as_ref().unwrap(), artifact_type).await.unwrap()
    }

    #[tokio::test]
    async fn expected_referrers_are_asked_for_beside_the_config_and_once() {
        let (server, setup) = (patient(3), Setup::default());
        let listed = referrers(&server, &setup, TYPE).await;
        assert_eq!(listed.into_iter().map(|entry| entry.digest).collect::<Vec<_>>(), [Digest::of(b"index")]);
        assert_eq!(server.received().len(), 4, "{:?}", server.paths());
    }

    #[tokio::test]
    async fn an_image_is_told_from_its_manifest_and_config_where_no_referrers_are_expected() {
        let (server, setup) = (patient(1), Setup::default());
        setup.open(&server).image(&Choice::Host, &*setup.recorder).await.unwrap();
        assert_eq!(server.received().len(), 2, "{:?}", server.paths());
    }

    #[tokio::test]
    async fn another_list_than_the_expected_one_is_asked_for_anew() {
        let (server, setup) = (patient(1), Setup::default());
        assert!(referrers(&server, &setup, "another/type").await.is_empty());
    }
}
