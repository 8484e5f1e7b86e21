//! Changing one value of a JSON document and leaving every other byte as it was.
//!
//! A config or manifest whose fields were reordered, re-escaped or lost would be another image than the one that was labelled, so
//! nothing is parsed and written anew: a value's place is found, and its text exchanged.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One step on the way to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into the object's member of this name.
    Key(&'a str),
    /// Into the array's element at this position.
    Index(usize),
}

/// A document in which something is not where it should be.
#[derive(Debug, thiserror::Error)]
#[error("the JSON document cannot be edited: {0}")]
pub struct EditError(String);

/// The members of an object in their order, with their values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((key.0, value));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// A string that is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Where the value at `path` is in `document`, in bytes; `None` where there is no such member.
pub fn find(document: &str, path: &[Step<'_>]) -> Result<Option<Range<usize>>, EditError> {
    let invalid = |error: serde_json::Error| EditError(error.to_string());
    let mut value: &RawValue = serde_json::from_str(document).map_err(invalid)?;
    for step in path {
        let next = match step {
            Step::Key(key) => {
                let Members(members) = serde_json::from_str(value.get()).map_err(invalid)?;
                // Of a member that is there twice the last counts, as it does for every JSON reader in use.
                members.into_iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            Step::Index(index) => {
                let elements: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(invalid)?;
                elements.get(*index).copied()
            }
        };
        match next {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    // A raw value borrows from the document, so its address says where it is.
    let start = value.get().as_ptr() as usize - document.as_ptr() as usize;
    Ok(Some(start..start + value.get().len()))
}

/// `document` with the value at `path` exchanged for `value`, which is JSON.
pub fn replace(document: &str, path: &[Step<'_>], value: &str) -> Result<String, EditError> {
    let place = find(document, path)?.ok_or_else(|| EditError(format!("it has nothing at {path:?}")))?;
    Ok([&document[..place.start], value, &document[place.end..]].concat())
}

/// `document` without the array's element at `path`, which ends in an [`Index`](Step::Index).
pub fn remove(document: &str, path: &[Step<'_>]) -> Result<String, EditError> {
    let nothing = || EditError(format!("it has nothing at {path:?}"));
    let Some((&Step::Index(index), array)) = path.split_last() else { return Err(nothing()) };
    let beside = |index: usize| find(document, &[array, &[Step::Index(index)]].concat());
    let place = beside(index)?.ok_or_else(nothing)?;
    // With the comma behind it, or, of the last one, that in front.
    let start = match (beside(index + 1)?, index.checked_sub(1)) {
        (Some(next), _) => return Ok(splice(document, place.start..next.start, "")),
        (None, Some(before)) => beside(before)?.map_or(place.start, |before| before.end),
        (None, None) => place.start,
    };
    Ok(splice(document, start..place.end, ""))
}

/// `document` with the string members of the object at `path` changed: each of `changes` set, or, where it is `None`, taken
/// away. Objects on the way that are not there (or are `null`) are made; whatever is not changed keeps its text and its order.
pub fn set_strings(
    document: &str,
    path: &[Step<'_>],
    changes: &[(String, Option<String>)],
) -> Result<String, EditError> {
    let quote = |(key, value): &(String, Option<String>)| Ok((key.clone(), value.as_deref().map(quoted).transpose()?));
    set_members(document, path, &changes.iter().map(quote).collect::<Result<Vec<_>, EditError>>()?)
}

/// The same for members whose values are JSON.
pub fn set_members(
    document: &str,
    path: &[Step<'_>],
    changes: &[(String, Option<String>)],
) -> Result<String, EditError> {
    // How much of the path is there, and where that is.
    let (mut there, mut missing) = (0..0, path);
    for depth in 0..=path.len() {
        let Some(place) = find(document, &path[..depth])? else { break };
        (there, missing) = (place, &path[depth..]);
        if &document[there.clone()] == "null" {
            break;
        }
    }
    let inside = &document[there.clone()];
    if inside != "null" && missing.is_empty() {
        return Ok(changed(inside, changes)?.map_or(document.to_owned(), |object| splice(document, there, &object)));
    }
    let Some(object) = changed("{}", changes)? else { return Ok(document.to_owned()) };
    match missing.split_first() {
        Some((Step::Key(first), rest)) if inside != "null" => {
            if !inside.starts_with('{') {
                return Err(EditError(format!("what should hold {first} is not an object")));
            }
            let comma = if inside[1..].trim_start().starts_with('}') { "" } else { "," };
            let member = format!("{}:{}{comma}", quoted(first)?, nested(rest, object)?);
            Ok(splice(document, there.start + 1..there.start + 1, &member))
        }
        _ => Ok(splice(document, there, &nested(missing, object)?)),
    }
}

/// `document` with `text` in the place of the bytes at `place`.
fn splice(document: &str, place: Range<usize>, text: &str) -> String {
    [&document[..place.start], text, &document[place.end..]].concat()
}

/// `object` within an object for each of `keys`, the first outermost.
fn nested(keys: &[Step<'_>], object: String) -> Result<String, EditError> {
    keys.iter().rev().try_fold(object, |inner, key| match key {
        Step::Key(key) => Ok(format!("{{{}:{inner}}}", quoted(key)?)),
        Step::Index(index) => Err(EditError(format!("it has no element {index}"))),
    })
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> Result<String, EditError> {
    serde_json::to_string(text).map_err(|error| EditError(error.to_string()))
}

/// The object `object` after `changes`; `None` where they change nothing.
fn changed(object: &str, changes: &[(String, Option<String>)]) -> Result<Option<String>, EditError> {
    let Members(members) = serde_json::from_str(object).map_err(|error| EditError(error.to_string()))?;
    let mut members: Vec<(String, String)> =
        members.into_iter().map(|(key, value)| (key.into_owned(), value.get().to_owned())).collect();
    let before = members.clone();
    for (key, value) in changes {
        // Of a member that is there twice the last counts.
        let at = members.iter().rposition(|(name, _)| name == key);
        match (at, value) {
            // A value that says the same keeps its escapes.
            (Some(at), Some(value)) => {
                let said = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
                if said(&members[at].1) != said(value) {
                    members[at].1 = value.clone();
                }
            }
            (_, None) => members.retain(|(name, _)| name != key),
            (None, Some(value)) => members.push((key.clone(), value.clone())),
        }
    }
    if members == before {
        return Ok(None);
    }
    let mut text = Vec::with_capacity(members.len());
    for (key, value) in &members {
        text.push(format!("{}:{value}", quoted(key)?));
    }
    Ok(Some(format!("{{{}}}", text.join(","))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Index, Key};

    const CONFIG: &str =
        r#"{ "b":1.50, "config":{"Cmd":["a\u003cb"],"Labels":{"x":"1","y":"\u003e"}},"a":[{"d":"old"}] }"#;

    fn set(key: &str, value: Option<&str>) -> (String, Option<String>) {
        (key.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn one_value_is_exchanged_and_all_else_stays() {
        let edited = replace(CONFIG, &[Key("a"), Index(0), Key("d")], "\"new\"").unwrap();
        assert_eq!(edited, CONFIG.replace("old", "new"));
        assert!(replace(CONFIG, &[Key("nothing")], "1").is_err());
    }

    #[test]
    fn an_element_is_taken_away_with_one_comma() {
        let list = r#"{"a":[ 1, {"b":[2]} , 3 ]}"#;
        for (index, without) in
            [(0, r#"{"a":[ {"b":[2]} , 3 ]}"#), (1, r#"{"a":[ 1, 3 ]}"#), (2, r#"{"a":[ 1, {"b":[2]} ]}"#)]
        {
            assert_eq!(remove(list, &[Key("a"), Index(index)]).unwrap(), without);
        }
        assert_eq!(remove(list, &[Key("a"), Index(1), Key("b"), Index(0)]).unwrap(), list.replace("[2]", "[]"));
        for path in [&[Key("a"), Index(3)][..], &[Key("a")], &[]] {
            assert!(remove(list, path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_member_is_set_in_an_element_of_a_list_or_not_at_all() {
        let set = |path: &[Step<'_>], document| {
            set_members(document, path, &[("RepoTags".to_owned(), Some(r#"["b"]"#.to_owned()))])
        };
        for (document, edited) in [
            (r#"[{"RepoTags":["a"],"x":1}]"#, r#"[{"RepoTags":["b"],"x":1}]"#),
            (r#"[{"x":1,"RepoTags":null}]"#, r#"[{"x":1,"RepoTags":["b"]}]"#),
            (r#"[{"x":1}]"#, r#"[{"x":1,"RepoTags":["b"]}]"#),
            (r#"[{"RepoTags":[ "b" ]}]"#, r#"[{"RepoTags":[ "b" ]}]"#),
        ] {
            assert_eq!(set(&[Index(0)], document).unwrap(), edited);
        }
        assert!(set(&[Index(1)], "[{}]").is_err());
        assert!(set(&[Key("a"), Index(0)], "{}").is_err());
    }

    #[test]
    fn labels_are_set_and_removed_where_they_stand() {
        let labels = &[Key("config"), Key("Labels")];
        let edited = set_strings(CONFIG, labels, &[set("z", Some("3")), set("x", None)]).unwrap();
        assert_eq!(edited, CONFIG.replace(r#""x":"1","y":"\u003e""#, r#""y":"\u003e","z":"3""#));
        let same = set_strings(CONFIG, labels, &[set("y", Some(">")), set("gone", None)]).unwrap();
        assert_eq!(same, CONFIG);
    }

    #[test]
    fn objects_that_are_not_there_are_made() {
        let labels = &[Key("config"), Key("Labels")];
        for (without, with) in [
            (r#"{"config":{"Cmd":[]}}"#, r#"{"config":{"Labels":{"k":"v"},"Cmd":[]}}"#),
            (r#"{"config":{ }}"#, r#"{"config":{"Labels":{"k":"v"} }}"#),
            (r#"{"config":{"Labels":null}}"#, r#"{"config":{"Labels":{"k":"v"}}}"#),
            (r#"{"config":null,"a":1}"#, r#"{"config":{"Labels":{"k":"v"}},"a":1}"#),
            (r#"{"a":1}"#, r#"{"config":{"Labels":{"k":"v"}},"a":1}"#),
            ("{}", r#"{"config":{"Labels":{"k":"v"}}}"#),
        ] {
            assert_eq!(set_strings(without, labels, &[set("k", Some("v"))]).unwrap(), with);
            assert_eq!(set_strings(without, labels, &[set("k", None)]).unwrap(), without, "nothing to take away");
        }
        for document in ["[]", r#"{"config":[]}"#, r#"{"config":{"Labels":"x"}}"#, "7"] {
            assert!(set_strings(document, labels, &[set("k", Some("v"))]).is_err(), "{document}");
        }
    }

    #[test]
    fn of_a_label_that_is_there_twice_the_last_counts_and_both_go() {
        let twice = r#"{"Labels":{"x":"1","x":"2"}}"#;
        let edit = |value| set_strings(twice, &[Key("Labels")], &[set("x", value)]).unwrap();
        assert_eq!(edit(Some("3")), r#"{"Labels":{"x":"1","x":"3"}}"#);
        assert_eq!(edit(None), r#"{"Labels":{}}"#);
    }
}
