//! Whether a URL leads to this machine, as far as its host says so itself: names are not looked up for it.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

/// Whether a URL's host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(_) => address_of(url).is_some_and(|address| address.is_loopback()),
        None => false,
    }
}

/// The address that a URL has in place of a host's name.
fn address_of(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse::<IpAddr>().ok()
}

/// Whether a URL's host is this machine, or an address that only its own link knows, such as a cloud's metadata service.
pub(super) fn is_local(url: &Url) -> bool {
    let v6 = |address: Ipv6Addr| address.is_unicast_link_local() || address.is_unspecified();
    let is_local_address = |address| match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        // An IPv4 address in an IPv6 one is what it is.
        IpAddr::V6(address) => v6(address) || address.to_ipv4_mapped().is_some(),
    };
    is_loopback(url)
        || url.domain().is_some_and(|name| name.ends_with(".localhost"))
        || address_of(url).is_some_and(is_local_address)
}
