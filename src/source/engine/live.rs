//! The containers there are right now, so that whoever stops the process can remove them first.
//!
//! A container is listed before the engine is asked to make it. Whoever removes it while it is being made waits until it is made, for
//! the engine would go on making what nobody knows of.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::api::Api;
use super::endpoint::Endpoint;
use crate::progress::Progress;
use crate::source::SourceError;

/// What the name of every container that is made here begins with.
pub(super) const NAME: &str = "docker-artifact-";

/// How long removing a container may take, and how long one that is being made is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

static LIVE: Mutex<List> = Mutex::new(List { containers: Vec::new(), is_closed: false });
static SETTLED: Condvar = Condvar::new();

struct List {
    containers: Vec<Container>,
    /// Whether the process is about to end, so that no more may be made.
    is_closed: bool,
}

struct Container {
    name: String,
    endpoint: Arc<Endpoint>,
    progress: Arc<dyn Progress>,
    /// Whether the engine has not said yet that it is made.
    is_pending: bool,
}

/// A container on the list, which is removed with this.
pub(super) struct Listed {
    name: String,
}

impl Listed {
    /// Lists a container that is going to be made, and gives it a name. Fails once [`discard_all`] was called.
    pub(super) fn new(endpoint: &Arc<Endpoint>, progress: &Arc<dyn Progress>) -> Result<Self, SourceError> {
        let name = format!("{NAME}{:016x}", RandomState::new().build_hasher().finish());
        let mut list = lock();
        if list.is_closed {
            let error = io::ErrorKind::Interrupted.into();
            return Err(SourceError::Io { what: "creating a container".to_owned(), error });
        }
        let (endpoint, progress) = (Arc::clone(endpoint), Arc::clone(progress));
        list.containers.push(Container { name: name.clone(), endpoint, progress, is_pending: true });
        Ok(Listed { name })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The engine has answered: the container is there, or will never be.
    pub(super) fn settle(&self) {
        let mut list = lock();
        list.containers.iter_mut().filter(|other| other.name == self.name).for_each(|other| other.is_pending = false);
        SETTLED.notify_all();
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let found = {
            let mut list = lock();
            let at = list.containers.iter().position(|container| container.name == self.name);
            let found = at.map(|at| list.containers.swap_remove(at));
            SETTLED.notify_all();
            found
        };
        found.into_iter().for_each(Container::remove);
    }
}

/// Removes every container there is, for the moment before the process ends. It takes no more than half a minute, however the
/// engine answers. May be called at any time, from any thread; from then on no container can be made.
pub fn discard_all() {
    let mut list = lock();
    list.is_closed = true;
    let until = Instant::now() + PATIENCE;
    while list.containers.iter().any(|container| container.is_pending) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        list = SETTLED.wait_timeout(list, left).map_or_else(|poisoned| poisoned.into_inner().0, |(list, _)| list);
    }
    let all = std::mem::take(&mut list.containers);
    drop(list);
    all.into_iter().for_each(Container::remove);
}

fn lock() -> MutexGuard<'static, List> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Container {
    /// Removes it, on a thread and over a connection of its own, as the ones that made it may be gone.
    fn remove(self) {
        let Container { name, endpoint, progress, .. } = self;
        let what = name.clone();
        let removed = thread::Builder::new().name("remove".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| SourceError::Io { what: format!("removing {name}"), error })?;
            runtime.block_on(async {
                let remove = async { Api::connect(&endpoint, Arc::default()).await?.remove(&name).await };
                tokio::time::timeout(PATIENCE, remove).await.unwrap_or_else(|_| {
                    let problem = format!("no answer in {} s", PATIENCE.as_secs());
                    Err(SourceError::Network { what: format!("removing {name}"), problem })
                })
            })
        });
        let removed = removed.and_then(|thread| thread.join().map_err(|_| io::Error::other("removing it panicked")));
        let removed = removed.map_err(|error| SourceError::Io { what: format!("removing {what}"), error });
        if let Err(error) = removed.and_then(|removed| removed) {
            progress.notice(&format!(
                "the container {what}, which was only read from, is left in the engine ({error}); the next run removes it, \
                 or docker rm -v {what}"
            ));
        }
    }
}
