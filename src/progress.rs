//! What long work tells whoever waits for it. The library reports here; the command line draws bars or lines from it.

/// Receives news of work going on. Calls come from several threads at once and must return quickly.
pub trait Progress: Send + Sync {
    /// Should work on `task` ever begin, `name` is what a person knows it by: `layer 2 of 5`.
    fn name(&self, _task: &str, _name: &str) {}
    /// Work on `task` (a digest) begins: `label` names it for a person, `total` is its length in bytes where known.
    fn start(&self, task: &str, label: &str, total: Option<u64>);
    /// `bytes` more bytes of `task` have crossed the wire (compressed bytes, as stored).
    fn advance(&self, task: &str, bytes: u64);
    /// All that was asked for has been found; the `left` bytes of `task` that are still to come, as stored, are read only to compare its
    /// digest.
    fn only_checking(&self, _task: &str, _left: u64) {}
    /// `task` is over, done or given up.
    fn finish(&self, task: &str);
    /// Something a person should know although the work goes on: a retry, a fallback. One line, without a line break.
    fn notice(&self, line: &str);
}

/// Listens to nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: &str, _: Option<u64>) {}
    fn advance(&self, _: &str, _: u64) {}
    fn finish(&self, _: &str) {}
    fn notice(&self, _: &str) {}
}
