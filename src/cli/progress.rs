//! What a person sees while it goes on: bars on a terminal, lines elsewhere, on standard error.

use std::collections::HashMap;
use std::io::{Write as _, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::sanitize;
use crate::progress::Progress;

/// How often one task may say how far it is, where there are no bars.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How many bytes something without a name (an image config) must have to be mentioned.
const WORTH_SAYING: u64 = 100_000;

/// How many bars there may be: more would not fit on a screen.
const MAX_BARS: usize = 12;

/// What is shown on standard error besides errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisplayMode {
    /// Bars.
    Bars,
    /// Lines.
    Lines,
    /// Notices and the closing line alone.
    Notices,
    /// Nothing.
    Quiet,
}

/// Shows progress, notices, and how it ended. A task is known by its digest.
pub struct Display {
    mode: DisplayMode,
    bars: MultiProgress,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    running: HashMap<String, Task>,
    names: HashMap<String, String>,
}

struct Task {
    name: String,
    total: Option<u64>,
    done: u64,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Display {
    /// A display on standard error.
    pub fn new(mode: DisplayMode) -> Self {
        Display {
            mode,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            tasks: Mutex::default(),
        }
    }

    /// Takes every bar off the screen.
    pub fn clear(&self) {
        if self.mode != DisplayMode::Bars {
            return;
        }
        let tasks = std::mem::take(&mut self.tasks().running);
        for bar in tasks.into_values().filter_map(|task| task.bar) {
            bar.finish_and_clear();
        }
        // The terminal may be gone; there is nobody left to tell.
        let _ = self.bars.clear();
    }

    /// Says how it ended, in one line, unless nothing is to be said.
    pub fn close(&self, line: &str) {
        self.clear();
        self.notice(line);
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        // What a panicking thread leaves here is at worst a wrong number on a bar.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bar(&self, name: &str, total: Option<u64>) -> ProgressBar {
        let bar = self.bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        let template = match total {
            Some(_) => {
                "{msg} [{bar:24}] {decimal_bytes:>10} of {decimal_total_bytes:>10} {decimal_bytes_per_sec:>12} {eta:>4}"
            }
            None => "{msg} {decimal_bytes:>10} {decimal_bytes_per_sec:>12}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.with_message(name.to_owned())
    }
}

/// Standard error may be closed, or its reader gone: that is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}

impl Progress for Display {
    fn name(&self, task: &str, name: &str) {
        self.tasks().names.insert(task.to_owned(), name.to_owned());
    }

    fn start(&self, task: &str, label: &str, total: Option<u64>) {
        let digest: String = task.split_once(':').map_or(task, |(_, encoded)| encoded).chars().take(12).collect();
        let mut tasks = self.tasks();
        let name = tasks.names.get(task).map(|name| format!("{name} {digest}"));
        if name.is_none() && total.is_some_and(|total| total < WORTH_SAYING) {
            return;
        }
        let name = sanitize::for_terminal(name.unwrap_or_else(|| label.to_owned()));
        let bar = match self.mode {
            DisplayMode::Bars if tasks.running.len() < MAX_BARS => Some(self.bar(&name, total)),
            DisplayMode::Lines => {
                match total {
                    Some(total) => say(&format!("{name} {}", DecimalBytes(total))),
                    None => say(&name),
                }
                None
            }
            _ => None,
        };
        let begun = Task { name, total, done: 0, said: Instant::now(), bar };
        if let Some(bar) = tasks.running.insert(task.to_owned(), begun).and_then(|before| before.bar) {
            bar.finish_and_clear();
        }
    }

    fn advance(&self, task: &str, bytes: u64) {
        let mut tasks = self.tasks();
        let Some(task) = tasks.running.get_mut(task) else { return };
        task.done = task.done.saturating_add(bytes);
        if let Some(bar) = &task.bar {
            bar.set_position(task.done);
        } else if self.mode == DisplayMode::Lines && task.said.elapsed() >= LINE_EVERY {
            task.said = Instant::now();
            say(&task.line());
        }
    }

    fn only_checking(&self, task: &str, left: u64) {
        let left = DecimalBytes(left);
        let line = format!("found; checking the rest of the layer, {left}; --no-verify skips this");
        match self.mode {
            DisplayMode::Lines => say(&line),
            DisplayMode::Bars => match self.tasks().running.get(task).and_then(|task| task.bar.as_ref()) {
                // The words need the room of the bar itself.
                Some(bar) => {
                    if let Ok(style) = ProgressStyle::with_template("{msg} {eta:>4}") {
                        bar.set_style(style);
                    }
                    bar.set_message(line);
                }
                None => drop(self.bars.println(line)),
            },
            DisplayMode::Notices | DisplayMode::Quiet => {}
        }
    }

    fn finish(&self, task: &str) {
        if let Some(bar) = self.tasks().running.remove(task).and_then(|task| task.bar) {
            bar.finish_and_clear();
        }
    }

    fn notice(&self, line: &str) {
        let line = sanitize::for_terminal(line);
        match self.mode {
            DisplayMode::Quiet => {}
            // Above the bars. A terminal that is gone has nobody before it.
            DisplayMode::Bars if !self.bars.is_hidden() => drop(self.bars.println(line)),
            _ => say(&line),
        }
    }
}

impl Task {
    fn line(&self) -> String {
        match self.total {
            Some(total) => format!("{} {} of {}", self.name, DecimalBytes(self.done), DecimalBytes(total)),
            None => format!("{} {}", self.name, DecimalBytes(self.done)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_line_says_which_layer_and_how_far() {
        let display = Display::new(DisplayMode::Notices);
        display.name(LAYER, "layer 2 of 5");
        display.start(LAYER, "0123456789ab", Some(48_500_000));
        display.advance(LAYER, 12_300_000);
        assert_eq!(display.tasks().running[LAYER].line(), "layer 2 of 5 0123456789ab 12.30 MB of 48.50 MB");
    }

    #[test]
    fn a_small_config_is_not_worth_a_word() {
        let display = Display::new(DisplayMode::Notices);
        display.start(LAYER, "0123456789ab", Some(1_500));
        assert!(display.tasks().running.is_empty());
        display.start(LAYER, "0123456789ab", Some(1_500_000));
        assert_eq!(display.tasks().running[LAYER].name, "0123456789ab");
    }

    #[test]
    fn tasks_that_are_over_or_were_never_begun_are_no_trouble() {
        for mode in [DisplayMode::Bars, DisplayMode::Notices, DisplayMode::Quiet] {
            let display = Display::new(mode);
            display.advance(LAYER, 1);
            display.finish(LAYER);
            display.start(LAYER, "a\x1b[2J", None);
            display.advance(LAYER, u64::MAX);
            display.advance(LAYER, 1);
            assert!(!display.tasks().running[LAYER].line().contains('\x1b'));
            display.finish(LAYER);
            assert!(display.tasks().running.is_empty());
            display.clear();
        }
    }

    #[test]
    fn a_hundred_layers_do_not_fill_the_screen() {
        let display = Display::new(DisplayMode::Bars);
        for layer in 0..100 {
            display.start(&layer.to_string(), "layer", Some(1 << 20));
        }
        assert_eq!(display.tasks().running.values().filter(|task| task.bar.is_some()).count(), MAX_BARS);
    }
}
