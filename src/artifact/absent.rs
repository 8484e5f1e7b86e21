//! Why a path cannot be got: what a person should know, and what they may have meant.

use super::error::Error;
use super::plan::{Context, show, show_path};
use crate::rootfs::nearest::nearest;
use crate::rootfs::walk::{Found, resolve};
use crate::rootfs::{NodeKind, Pattern, View, components, join, split};

/// Why there is nothing at `path`, which `pattern` is and where `found` was found.
pub fn why(context: &Context<'_, '_>, pattern: &Pattern, path: &[u8], found: Found<'_>) -> Error {
    match found {
        Found::Absent { parent, name, deleted_by } => {
            let missing = join(&parent.path, &name);
            let deleted = deleted_by
                .map(|depth| format!("; {} was deleted by {}", show_path(&missing), (context.describe)(depth)));
            if let Some((link, target)) = dangling(context.view, path, &missing) {
                let is_last = components(path).eq(components(&link)) && !path.ends_with(b"/");
                let on_the_way = format!("; it is on the way to {}", show(pattern.text()));
                let hint = deleted.unwrap_or_default() + if is_last { "" } else { &on_the_way };
                let (image, link) = (context.image.to_owned(), show(&link));
                return Error::Dangling { image, link, target, is_last, hint };
            }
            let hint = deleted.unwrap_or_else(|| did_you_mean(&nearest(context.view, &parent, &name, path)));
            not_found(context, pattern, hint)
        }
        Found::NotADirectory { path } => {
            not_found(context, pattern, format!("; {} is not a directory", show_path(&path)))
        }
        Found::BrokenLink { target, .. } => unfetchable(context, pattern, &broken(target)),
        Found::Loop => unfetchable(context, pattern, "leads through more than 40 symlinks; it is a loop"),
        Found::Directory(_) | Found::Leaf(_) | Found::Unknown { .. } => {
            Error::Bug(format!("{} is there, and was not taken", show(pattern.text())))
        }
    }
}

/// How to name what is there under the very text of a glob, such as `[id].js`.
pub fn meant_literally(view: &View<'_>, pattern: &Pattern) -> String {
    let text = pattern.text();
    match resolve(view, text, false) {
        Found::Directory(_) | Found::Leaf(_) => {
            let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\');
            let escaped: Vec<u8> =
                text.iter().flat_map(|byte| is_special(byte).then_some(b'\\').into_iter().chain([*byte])).collect();
            format!("; to name what is called so, escape it: '{}'", show(&escaped))
        }
        _ => String::new(),
    }
}

/// What is wrong with a hard link to `target`.
pub fn broken(target: &[u8]) -> String {
    format!("is a hard link to {}, which is neither before it in its layer nor in a layer below", show_path(target))
}

/// That the image has nothing of this kind; `hint` begins with its own punctuation.
pub fn not_found(context: &Context<'_, '_>, pattern: &Pattern, hint: String) -> Error {
    Error::NotFound { image: context.image.to_owned(), path: show(pattern.text()), hint }
}

/// That it is there, and has a problem.
pub fn unfetchable(context: &Context<'_, '_>, pattern: &Pattern, problem: &str) -> Error {
    let problem = problem.to_owned();
    Error::Unfetchable { image: context.image.to_owned(), path: show(pattern.text()), problem }
}

/// What to say of the link at the canonical `path` that a glob matched and that leads to nothing, as `found` says.
pub fn kept_link(view: &View<'_>, path: &[u8], found: &Found<'_>) -> Option<String> {
    let Found::Leaf(link) = resolve(view, path, false) else { return None };
    let NodeKind::Symlink(target) = &link.node.kind else { return None };
    let (path, target) = (show_path(path), show(target));
    let problem = match found {
        Found::Loop => "which leads in a circle",
        _ => "which the image does not have",
    };
    Some(format!("{path} is a symlink to {target}, {problem}; the link itself is kept"))
}

/// The first symlink in `path` that leads to nothing, and what it leads to; `missing` is what is not there.
fn dangling(view: &View<'_>, path: &[u8], missing: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut link = Vec::new();
    for name in components(path) {
        link = [link.as_slice(), b"/", name].concat();
        match resolve(view, &link, false) {
            Found::Directory(_) => {}
            Found::Leaf(leaf) => {
                let NodeKind::Symlink(target) = &leaf.node.kind else { return None };
                if let Found::Absent { .. } = resolve(view, &link, true) {
                    let next = match target.starts_with(b"/") {
                        true => target.to_vec(),
                        false => join(split(&leaf.path).0, target),
                    };
                    // The target may be there, and be such a link itself.
                    let leads_on = matches!(resolve(view, &next, false), Found::Leaf(_));
                    let on = if leads_on { format!(", which leads to {}", show_path(missing)) } else { String::new() };
                    return Some((link, show(target) + &on));
                }
            }
            _ => return None,
        }
    }
    None
}

fn did_you_mean(hints: &[Vec<u8>]) -> String {
    match hints {
        [] => String::new(),
        hints => format!("; did you mean {}?", hints.iter().map(|path| show_path(path)).collect::<Vec<_>>().join(", ")),
    }
}
