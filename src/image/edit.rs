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

/// `document` with the string members of the object at `object` changed: each of `changes` set, or, where it is `None`, taken
/// away. An object that is not there (or is `null`) is made; whatever is not changed keeps its text and its order.
pub fn set_strings(
    document: &str,
    object: (&[Step<'_>], &str),
    changes: &[(String, Option<String>)],
) -> Result<String, EditError> {
    let invalid = |error: serde_json::Error| EditError(error.to_string());
    let quoted = |text: &str| serde_json::to_string(text).map_err(invalid);
    let (parent, name) = object;
    let path: Vec<Step<'_>> = parent.iter().copied().chain([Step::Key(name)]).collect();
    let place = find(document, &path)?;
    let is_null = |place: &Range<usize>| &document[place.clone()] == "null";
    let mut members: Vec<(String, String)> = match &place {
        Some(place) if !is_null(place) => {
            let Members(members) = serde_json::from_str(&document[place.clone()]).map_err(invalid)?;
            members.into_iter().map(|(key, value)| (key.into_owned(), value.get().to_owned())).collect()
        }
        _ => Vec::new(),
    };
    let before = members.clone();
    for (key, value) in changes {
        let at = members.iter().position(|(name, _)| name == key);
        match (at, value) {
            // A value that says the same keeps its escapes.
            (Some(at), Some(value)) => {
                let there: Option<String> = serde_json::from_str(&members[at].1).ok();
                if there.as_ref() != Some(value) {
                    members[at].1 = quoted(value)?;
                }
            }
            (Some(at), None) => drop(members.remove(at)),
            (None, Some(value)) => members.push((key.clone(), quoted(value)?)),
            (None, None) => {}
        }
    }
    if members == before {
        return Ok(document.to_owned());
    }
    let mut text = Vec::with_capacity(members.len());
    for (key, value) in &members {
        text.push(format!("{}:{value}", quoted(key)?));
    }
    let text = format!("{{{}}}", text.join(","));
    match place {
        Some(place) => Ok([&document[..place.start], &text, &document[place.end..]].concat()),
        None => {
            let parent = find(document, parent)?.ok_or_else(|| EditError(format!("it has nothing at {parent:?}")))?;
            let inside = &document[parent.clone()];
            if !inside.starts_with('{') {
                return Err(EditError(format!("what should hold {name} is no object")));
            }
            let comma = if inside[1..].trim_start().starts_with('}') { "" } else { "," };
            let start = parent.start + 1;
            Ok([&document[..start], &quoted(name)?, ":", &text, comma, &document[start..]].concat())
        }
    }
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
    fn labels_are_set_and_removed_where_they_stand() {
        let labels = (&[Key("config")][..], "Labels");
        let edited = set_strings(CONFIG, labels, &[set("z", Some("3")), set("x", None)]).unwrap();
        assert_eq!(edited, CONFIG.replace(r#""x":"1","y":"\u003e""#, r#""y":"\u003e","z":"3""#));
        let same = set_strings(CONFIG, labels, &[set("y", Some(">")), set("gone", None)]).unwrap();
        assert_eq!(same, CONFIG);
    }

    #[test]
    fn an_object_that_is_not_there_is_made() {
        let labels = (&[Key("config")][..], "Labels");
        for (without, with) in [
            (r#"{"config":{"Cmd":[]}}"#, r#"{"config":{"Labels":{"k":"v"},"Cmd":[]}}"#),
            (r#"{"config":{ }}"#, r#"{"config":{"Labels":{"k":"v"} }}"#),
            (r#"{"config":{"Labels":null}}"#, r#"{"config":{"Labels":{"k":"v"}}}"#),
        ] {
            assert_eq!(set_strings(without, labels, &[set("k", Some("v"))]).unwrap(), with);
        }
        assert!(set_strings("[]", labels, &[set("k", Some("v"))]).is_err());
    }
}
