//! Web origins as browsers serialise them (RFC 6454, section 6.2): compared as bytes, so written exactly.

/// Tells whether a text is an origin that a browser could send: `scheme://host[:port]`, lower case, no path.
/// `*` and `null` are none: the first would allow everyone, the second every sandboxed page.
///
/// # Errors
/// What is wrong, worded to follow the text.
pub fn check(text: &str) -> Result<(), &'static str> {
    let authority = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(authority) = authority else {
        return Err("is not an origin: write https://host or http://host:port (no `*`, no `null`)");
    };
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', '*', ' ']) {
        return Err(
            "must be scheme, host and port only, without path, user, wildcard or trailing slash",
        );
    }
    let serialised = url::Url::parse(text).map(|url| url.origin().ascii_serialization());
    match serialised {
        Ok(serialised) if serialised == text => Ok(()),
        Ok(_) => Err("is not what a browser sends: use lower case and leave out a default port"),
        Err(_) => Err("is not a valid URL"),
    }
}

/// Tells whether an origin is a page served from this machine: `localhost`, a name under it, or a loopback address.
pub fn is_localhost(origin: &str) -> bool {
    match url::Url::parse(origin)
        .ok()
        .as_ref()
        .and_then(url::Url::host)
    {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
