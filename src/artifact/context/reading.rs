//! What BuildKit finds where a build copies from: in the image, and again in the folder that is to stand in for it. The two have to
//! be the same.

use std::collections::HashSet;

use super::asked::Asked;
use super::unfit::Unfit;
use crate::artifact::shown::{show, show_path};
use crate::extract::{Item, Node};
use crate::rootfs::trail::links;
use crate::rootfs::walk::{Found, Leaf, resolve};
use crate::rootfs::{NodeKind, View, components, join};

/// So many of a pattern's matches may be symlinks: each is followed by itself.
const MAX_LINKS: usize = 10_000;

/// Something that is copied.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The path that it is found by, in canonical form. Links may be on its way.
    pub place: Vec<u8>,
    /// The canonical path of what it is.
    pub real_path: Vec<u8>,
    /// The link itself, where it is one and is copied as one.
    pub link: Option<Item>,
}

/// What `asked` names in `view`, in byte order; nothing where there is no such thing.
///
/// # Errors
///
/// Where not all of BuildKit would find the same.
pub fn read(view: &View<'_>, asked: &Asked) -> Result<Vec<Hit>, Unfit> {
    let followed = asked.followed();
    check_links(view, &followed)?;
    let start = match resolve(view, &followed, true) {
        Found::Directory(directory) => directory.path,
        Found::Leaf(Leaf { path, .. }) if !asked.with_parents && asked.literal().is_some() => {
            return Ok(vec![Hit { place: followed, real_path: path, link: None }]);
        }
        _ => return Ok(Vec::new()),
    };
    let places = match asked.literal() {
        Some(path) => vec![path],
        None => matches(view, asked),
    };
    let (mut hits, mut followed_links) = (Vec::new(), 0);
    for place in places {
        let names: Vec<&[u8]> = components(&place).skip(asked.followed_names()).collect();
        let found = match names.split_last() {
            None => Some(Hit { real_path: start.clone(), place, link: None }),
            Some((last, above)) => {
                let directory = above.iter().fold(start.clone(), |path, name| join(&path, name));
                let found = below(view, asked, &directory, last, &mut followed_links)?;
                found.map(|found| Hit { place, ..found })
            }
        };
        hits.extend(found);
    }
    match hits.iter().any(|hit| hit.real_path.is_empty()) {
        true => Err(Unfit::Whole),
        false => Ok(hits),
    }
}

/// What `name` in `directory`, to which no link may lead, comes to where it is copied. Takes note of each of the `followed` links.
fn below(
    view: &View<'_>,
    asked: &Asked,
    directory: &[u8],
    name: &[u8],
    followed: &mut usize,
) -> Result<Option<Hit>, Unfit> {
    if !matches!(resolve(view, directory, false), Found::Directory(found) if found.path == directory) {
        return Ok(None);
    }
    let path = join(directory, name);
    let hit = |real_path, link| Ok(Some(Hit { place: path.clone(), real_path, link }));
    let node = match resolve(view, &path, false) {
        Found::Directory(_) => return hit(path.clone(), None),
        Found::Leaf(leaf) => leaf.node,
        _ => return Ok(None),
    };
    let NodeKind::Symlink(target) = &node.kind else { return hit(path.clone(), None) };
    if asked.with_parents {
        let link = Item { metadata: node.metadata(), node: Node::Symlink(target.to_vec()) };
        return hit(path.clone(), Some(link));
    }
    *followed += 1;
    if *followed > MAX_LINKS {
        return Err(Unfit::TooManyLinks { text: asked.text.clone() });
    }
    check_links(view, &path)?;
    match resolve(view, &path, true) {
        Found::Directory(directory) => hit(directory.path, None),
        Found::Leaf(leaf) => hit(leaf.path, None),
        _ => Err(Unfit::Dangling { path: show_path(&path), text: asked.text.clone() }),
    }
}

/// Checks the `links` in what was found of a folder, the `hits`: of what a pattern matches, `--parents` copies, or `--exclude` leaves something out of, BuildKit follows all
/// links when it asks its cache, though it copies them as links, and fails if one leads to nothing (`cache/contenthash/checksum.go`,
/// `Checksum`; newer versions follow fewer). What they lead to in the image is in the folder only where it is copied with them.
pub fn check_inside(view: &View<'_>, asked: &Asked, hits: &[Hit], links: &[Vec<u8>]) -> Result<(), Unfit> {
    if links.len() > MAX_LINKS {
        return Err(Unfit::TooManyLinks { text: asked.text.clone() });
    }
    let places: HashSet<&[u8]> = hits.iter().map(|hit| hit.place.as_slice()).collect();
    for link in links {
        check_links(view, link)?;
        let path = match resolve(view, link, true) {
            Found::Directory(directory) => directory.path,
            Found::Leaf(leaf) => leaf.path,
            _ => Vec::new(),
        };
        let mut ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        if !places.contains(path.as_slice()) && !ends.any(|end| places.contains(&path[..end])) {
            return Err(Unfit::LeadsOut { link: show_path(link), text: asked.text.clone() });
        }
    }
    Ok(())
}

/// The paths that match a pattern, as they are reached, in byte order.
fn matches(view: &View<'_>, asked: &Asked) -> Vec<Vec<u8>> {
    // That it can be read was seen when it was looked for.
    let expanded = asked.pattern().ok().and_then(|pattern| pattern.expand(view)).unwrap_or_default();
    expanded.into_iter().filter(|path| asked.is_match(path)).collect()
}

/// Fails where a link on the way of `path` goes down and up again. Where the directory between is a link, too, the path of what is
/// copied is another one than that of what the cache is asked for: the one is made by its text, the other by walking.
fn check_links(view: &View<'_>, path: &[u8]) -> Result<(), Unfit> {
    for link in links(view, path, true) {
        let down_and_up = components(link.target).skip_while(|name| *name == b"..").any(|name| name == b"..");
        if down_and_up {
            return Err(Unfit::Link { link: show_path(&link.path), target: show(link.target) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::request::{Path, Wanted};
    use super::*;
    use crate::rootfs::LayerIndex;
    use crate::rootfs::fixture::{directory, file, index, symlink};

    fn debian() -> LayerIndex {
        index(&[
            symlink("bin", "usr/bin"),
            directory("usr/bin"),
            file("usr/bin/mawk"),
            symlink("usr/bin/awk", "/etc/alternatives/awk"),
            symlink("etc/alternatives/awk", "/bin/mawk"),
            file("opt/a/x"),
            symlink("opt/l", "a"),
            symlink("opt/gone", "nowhere"),
            symlink("odd", "usr/../opt/a"),
            symlink("top", "/"),
        ])
    }

    /// Where things are found, and where they are.
    fn told(text: &str, is_pattern: bool, with_parents: bool) -> Result<Vec<String>, Unfit> {
        let (layer, path) = (debian(), Path { text: text.to_owned(), is_pattern });
        let wanted = Wanted { paths: Vec::new(), keeps_owner: true, with_parents, excludes: false };
        let asked = Asked::read(&wanted, &path, (0, 0))?;
        let hits = read(&View::new(vec![&layer], true), &asked)?;
        let shown = hits.into_iter().map(|Hit { place, real_path, link }| {
            let kind = if link.is_some() { " (link)" } else { "" };
            format!("{} {}{kind}", show(&place), show(&real_path))
        });
        Ok(shown.collect())
    }

    #[test]
    fn a_path_is_followed_to_its_end() {
        assert_eq!(told("/bin/awk", false, false).unwrap(), ["bin/awk usr/bin/mawk"]);
        assert_eq!(told("/bin", false, false).unwrap(), ["bin usr/bin"]);
        assert!(told("/opt/gone", false, false).unwrap().is_empty() && told("/x", false, false).unwrap().is_empty());
        assert_eq!(told("/top", false, false).unwrap_err(), Unfit::Whole);
        assert!(matches!(told("/odd/x", false, false).unwrap_err(), Unfit::Link { .. }));
    }

    #[test]
    fn no_link_is_followed_on_the_way_to_a_match_and_a_match_is() {
        assert_eq!(told("/bin/*awk", true, false).unwrap(), ["bin/awk usr/bin/mawk", "bin/mawk usr/bin/mawk"]);
        assert_eq!(told("/opt/*/x", true, false).unwrap(), ["opt/a/x opt/a/x"]);
        assert_eq!(told("/opt/l*", true, false).unwrap(), ["opt/l opt/a"]);
        assert!(told("/opt/z*", true, false).unwrap().is_empty());
        assert!(matches!(told("/opt/g*", true, false).unwrap_err(), Unfit::Dangling { .. }));
        assert_eq!(told("/t*", true, false).unwrap_err(), Unfit::Whole);
    }

    #[test]
    fn with_parents_a_link_is_copied_as_one_and_followed_in_front_of_the_pivot_alone() {
        assert_eq!(told("/usr/bin/awk", false, true).unwrap(), ["usr/bin/awk usr/bin/awk (link)"]);
        assert_eq!(told("/opt/g*", true, true).unwrap(), ["opt/gone opt/gone (link)"]);
        assert!(told("/bin/mawk", false, true).unwrap().is_empty());
        assert_eq!(told("/bin/./mawk", false, true).unwrap(), ["bin/mawk usr/bin/mawk"]);
        assert_eq!(told("/opt/**/x", true, true).unwrap(), ["opt/a/x opt/a/x"]);
    }
}
