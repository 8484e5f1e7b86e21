//! Why something cannot be got, in words: what a person should know, and what they may have meant.

use super::error::Error;
use super::shown::{show, show_path};
use crate::rootfs::lookup::{BrokenLink, KeptLink, Missing, Why};
use crate::rootfs::nearest::nearest;
use crate::rootfs::{Depth, Pattern, View, join};

/// What is needed to say what is missing.
pub struct Context<'a, 'v> {
    /// The reference.
    pub image: &'a str,
    /// The layers that have been read.
    pub view: &'a View<'v>,
    /// How messages name the layer at a depth, with its build step.
    pub describe: &'a dyn Fn(Depth) -> String,
}

/// That what `pattern` names is `missing`.
pub fn error(context: &Context<'_, '_>, pattern: &Pattern, missing: &Missing) -> Error {
    let text = show(pattern.text());
    let not_found = |hint: String| Error::NotFound { image: context.image.to_owned(), path: text.clone(), hint };
    let unfetchable = |path: String, problem: &str| Error::Unfetchable {
        image: context.image.to_owned(),
        path,
        problem: problem.to_owned(),
    };
    let deleted = |path: &[u8], deleted_by: &Option<Depth>| {
        let by = |depth| format!("; {} was deleted by {}", show_path(path), (context.describe)(depth));
        deleted_by.map(by)
    };
    match &missing.why {
        Why::Absent { parent, name, deleted_by } => {
            let hint = deleted(&join(parent, name), deleted_by).unwrap_or_else(|| {
                let path = pattern.literal().unwrap_or_default();
                did_you_mean(&nearest(context.view, parent, name, &path))
            });
            not_found(hint)
        }
        Why::Dangling { link, target, leads_on, missing, deleted_by, is_last } => {
            let on = if *leads_on { format!(", which leads to {}", show_path(missing)) } else { String::new() };
            let on_the_way = if *is_last { String::new() } else { format!("; it is on the way to {text}") };
            Error::Dangling {
                image: context.image.to_owned(),
                link: show(link),
                target: show(target) + &on,
                is_last: *is_last,
                hint: deleted(missing, deleted_by).unwrap_or_default() + &on_the_way,
            }
        }
        Why::NotADirectory { path } => not_found(format!("; {} is not a directory", show_path(path))),
        Why::BrokenLink { target } => unfetchable(text, &broken(target)),
        Why::Loop => unfetchable(text, "leads through more than 40 symlinks; it is a loop"),
        Why::NoMatch { is_there_literally: false } => not_found("; nothing matches the pattern".to_owned()),
        Why::NoMatch { is_there_literally: true } => {
            let escaped = escape(pattern.text());
            not_found(format!(
                "; nothing matches the pattern; if these characters are part of the name, escape them: '{escaped}'"
            ))
        }
        Why::AllBroken => not_found("; everything that matches is a hard link to a missing file".to_owned()),
        Why::TooMany => unfetchable(text, "matches too many links to the same directories; name them one by one"),
        Why::Special { path } => unfetchable(show_path(path), "is a device node or a FIFO, which is never created"),
    }
}

/// That a hard link to nothing is left out.
pub fn left_out(link: &BrokenLink) -> String {
    format!("{} is left out: it {}", show_path(&link.path), broken(&link.target))
}

/// What to say of the link at `path` that a glob matched and that leads to nothing.
pub fn kept(path: &[u8], link: &KeptLink) -> String {
    let problem = match link.is_loop {
        true => "which leads in a circle",
        false => "which the image does not have",
    };
    format!("{} is a symlink to {}, {problem}; the link itself is kept", show_path(path), show(&link.target))
}

/// The text of a glob, such as `[id].js`, as it names what is called so.
fn escape(text: &[u8]) -> String {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\');
    let escaped: Vec<u8> =
        text.iter().flat_map(|byte| is_special(byte).then_some(b'\\').into_iter().chain([*byte])).collect();
    show(&escaped)
}

/// What is wrong with a hard link to `target`.
fn broken(target: &[u8]) -> String {
    format!(
        "is a hard link to {}, which is missing: it is neither earlier in the same layer nor in a layer below",
        show_path(target)
    )
}

fn did_you_mean(hints: &[Vec<u8>]) -> String {
    match hints {
        [] => String::new(),
        hints => format!("; did you mean {}?", hints.iter().map(|path| show_path(path)).collect::<Vec<_>>().join(", ")),
    }
}
