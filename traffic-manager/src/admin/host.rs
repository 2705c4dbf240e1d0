//! Keeps web pages away from a port that asks for no credentials.
//!
//! A page of `evil.example` may ask its own host for anything, and its owner may let that name lead to
//! 127.0.0.1 ("DNS rebinding"). The browser still sends the name: whoever is asked by a name that is not this
//! machine's is not the one who is meant.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority};

use super::problem::Problem;

/// Longest name that is repeated, in characters.
const MAX_SHOWN: usize = 100;

/// Whether every `Host` is an address or `localhost`. Browsers always send one; who sends none is none.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let stranger = headers.get_all(header::HOST).iter().find(|host| !is_local(host));
    let Some(host) = stranger else { return Ok(()) };
    let host: String = String::from_utf8_lossy(host.as_bytes()).chars().take(MAX_SHOWN).collect();
    let detail = format!(
        "this manager has neither TLS nor tokens, and answers only who asks for localhost or an address, not \
         for {host:?}: a web page could hide behind a name; ask for localhost, or configure [tls] and [auth]"
    );
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
}

fn is_local(host: &HeaderValue) -> bool {
    let authority = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
    let Some(authority) = authority.filter(|authority| !authority.as_str().contains('@')) else {
        return false;
    };
    let host = authority.host();
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || host.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        headers.append(header::HOST, host.parse().unwrap());
        check(&headers).is_err()
    }

    #[test]
    fn names_of_others_are_refused() {
        for host in [
            "localhost",
            "LocalHost:9610",
            "tm-1.localhost",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:9610",
            "[::1]:9610",
            "[::1]",
            "10.0.0.7:80",
        ] {
            assert!(!refused(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9610",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "[evil.example]",
            "",
            "a b",
        ] {
            assert!(refused(host), "{host}");
        }
        assert!(check(&HeaderMap::new()).is_ok(), "no browser asks without a host");
    }
}
