//! Networks and regular expressions, compiled when the policy is read.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use regex::{Regex, RegexBuilder};

/// Most memory of a compiled pattern, and again of its search states, in bytes.
const MAX_REGEX_BYTES: usize = 256 << 10;

/// Reads `10.0.0.0/8`, `2001:db8::/32`, or a single address. Host bits are cleared, and an IPv4
/// network in IPv6 clothes becomes IPv4, as the addresses of requests do.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let net = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| IpNet::from(ip)));
    let net: IpNet = net.map_err(|_| {
        format!("cidr({text:?}) is no network; write it like 10.0.0.0/8 or 2001:db8::/32")
    })?;
    Ok(canonical(net.trunc()))
}

fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let (mapped, bits) = (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96));
    match mapped.zip(bits).and_then(|(ip, bits)| Ipv4Net::new(ip, bits).ok()) {
        Some(v4) => IpNet::V4(v4),
        None => net,
    }
}

/// Compiles a regular expression within bounds. It matches anywhere in the text, as CEL says.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => {
                format!("the regular expression needs more than {MAX_REGEX_BYTES} bytes")
            }
            other => format!("the regular expression is malformed: {other}"),
        })
}
