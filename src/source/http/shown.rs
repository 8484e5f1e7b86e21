//! How messages show what others wrote: addresses without secrets, text without anything that a terminal would obey.

use reqwest::Url;

/// The host and, where it is not the scheme's own, the port of a URL.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A URL as logs and messages may show it: without user, password, query and fragment, where secrets travel.
pub fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), url.path())
}

/// At most 300 characters of `text`, without anything that could move a terminal's cursor.
pub fn printable(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    line.filter(|c| !c.is_control()).take(300).collect()
}
