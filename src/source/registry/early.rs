//! What is asked for before anybody needs it, so that its answer comes with the config's.
//!
//! Where a name is to be got, the range index will be needed as soon as the labels are read, and where a path is, what tables of the
//! layers are attached to the image. What that takes is known earlier, with the manifest: a blob that it names, and what refers to it,
//! which is one list whatever is wanted of it. What nobody takes is given up.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::task::JoinSet;

use super::Registry;
use crate::image::digest::Digest;
use crate::image::index::IndexEntry;
use crate::image::manifest::{Descriptor, OciImageManifest};
use crate::source::{self, Expected, Expecting, SourceError};

type Listed = Result<Vec<IndexEntry>, SourceError>;
type Read = Result<Vec<u8>, SourceError>;

/// What is expected to be asked for, and what is on its way.
#[derive(Default)]
pub(super) struct Early {
    /// What will be wanted; nothing is asked for without it.
    expecting: OnceLock<Expecting>,
    blob: Mutex<Option<(Descriptor, JoinSet<Read>)>>,
    lists: tokio::sync::Mutex<Option<Lists>>,
}

/// What refers to the manifest `subject`.
struct Lists {
    subject: Digest,
    /// The types that nobody has taken yet.
    artifact_types: Vec<&'static str>,
    /// What there is of each of these; `None` before it is there.
    listed: Option<Vec<Vec<IndexEntry>>>,
    /// One task, which ends where the set is dropped.
    task: JoinSet<Result<Vec<Vec<IndexEntry>>, SourceError>>,
}

impl Early {
    /// This will be wanted.
    pub fn expect(&self, expecting: Expecting) {
        // The first one stays: nobody asks for two.
        let _ = self.expecting.set(expecting);
    }

    /// Asks `registry` for what is expected to be wanted of the image with this `manifest`, of digest `subject`.
    pub fn begin(&self, registry: &Arc<Registry>, subject: &Digest, manifest: &OciImageManifest) {
        let Some(expecting) = self.expecting.get() else { return };
        let Expected { blob, artifact_types } = expecting(manifest);
        let blob = blob.map(|descriptor| {
            let (mut task, registry, wanted) = (JoinSet::new(), Arc::clone(registry), descriptor.clone());
            task.spawn(async move { source::read_small(&*registry, &wanted).await });
            (descriptor, task)
        });
        *self.blob.lock().unwrap_or_else(PoisonError::into_inner) = blob;
        let lists = (!artifact_types.is_empty()).then(|| {
            let (mut task, registry) = (JoinSet::new(), Arc::clone(registry));
            let (of, wanted) = (subject.clone(), artifact_types.clone());
            task.spawn(async move { registry.list_referrers(&of, &wanted).await });
            Lists { subject: subject.clone(), artifact_types, listed: None, task }
        });
        // Nobody waits for a list before the image is known.
        if let Ok(mut on_its_way) = self.lists.try_lock() {
            *on_its_way = lists;
        }
    }

    /// The list that is on its way, where it is what is asked for here. Of each type it is given once.
    pub async fn take_referrers(&self, subject: &Digest, artifact_type: &str) -> Option<Listed> {
        let mut on_its_way = self.lists.lock().await;
        let mut lists = on_its_way.take().filter(|lists| lists.subject == *subject)?;
        let Some(at) = lists.artifact_types.iter().position(|expected| *expected == artifact_type) else {
            *on_its_way = Some(lists);
            return None;
        };
        let mut listed = match lists.listed.take() {
            Some(listed) => listed,
            None => match lists.task.join_next().await?.ok()? {
                Ok(listed) => listed,
                Err(error) => return Some(Err(error)),
            },
        };
        lists.artifact_types.remove(at);
        let taken = listed.remove(at);
        lists.listed = Some(listed);
        *on_its_way = Some(lists);
        Some(Ok(taken))
    }

    /// The blob that is on its way, where it is the one that is asked for here. It is given once.
    pub async fn take_blob(&self, descriptor: &Descriptor) -> Option<Read> {
        let (asked, mut task) = self.blob.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let is_asked = asked.digest == descriptor.digest && asked.size == descriptor.size;
        if is_asked { task.join_next().await?.ok() } else { None }
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
    const OTHER: &str = "application/vnd.other+json";
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
                    let referrer =
                        |kind: &str| json!({"digest": Digest::of(kind.as_bytes()), "size": 1, "artifactType": kind});
                    Reply::ok(json!({"schemaVersion": 2, "manifests": [referrer(TYPE), referrer(OTHER)]}).to_string())
                }
                false => Reply::status(404),
            }
        })
    }

    /// Asks for an image of which two types of referrers will be wanted, and then for what refers to it with these.
    async fn referrers(server: &Server, setup: &Setup, artifact_types: &[&str]) -> Vec<Vec<Digest>> {
        let registry = setup.open(server);
        registry.expect(Box::new(|_| Expected { blob: None, artifact_types: vec![TYPE, OTHER] }));
        let image = registry.image(&Choice::Host, &*setup.recorder).await.unwrap();
        let subject = image.digest.as_ref().unwrap();
        let mut found = Vec::new();
        for artifact_type in artifact_types {
            let listed = registry.referrers(subject, artifact_type).await.unwrap();
            found.push(listed.into_iter().map(|entry| entry.digest).collect());
        }
        found
    }

    #[tokio::test]
    async fn expected_referrers_are_asked_for_beside_the_config_and_once_for_all_types() {
        for types in [[TYPE, OTHER], [OTHER, TYPE]] {
            let (server, setup) = (patient(3), Setup::default());
            let listed = referrers(&server, &setup, &types).await;
            assert_eq!(listed, types.map(|kind| vec![Digest::of(kind.as_bytes())]));
            assert_eq!(server.received().len(), 4, "{:?}", server.paths());
        }
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
        assert!(referrers(&server, &setup, &["another/type"]).await[0].is_empty());
    }
}
