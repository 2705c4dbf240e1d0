//! The prefix of messages, and which requests are gRPC.

use tonic::Code;

use super::*;

fn prefix(flag: u8, length: u32) -> Vec<u8> {
    [&[flag][..], &length.to_be_bytes()].concat()
}

fn headers(encoding: Option<&'static str>) -> HeaderMap {
    let value = encoding.map(HeaderValue::from_static);
    value.map(|value| (ENCODING, value)).into_iter().collect()
}

#[test]
fn a_prefix_tells_the_length_once_it_is_there() {
    let none = headers(None);
    for cut in 0..PREFIX {
        assert_eq!(length(&none, &prefix(0, 9)[..cut], 100).unwrap(), None);
    }
    assert_eq!(length(&none, &prefix(0, 100), 100).unwrap(), Some(100));
    assert_eq!(length(&headers(Some("gzip")), &prefix(0, 7), 100).unwrap(), Some(7));
}

#[test]
fn what_cannot_be_read_has_the_protocols_status() {
    for (encoding, flag, size, code, text) in [
        (None, 0, 101, Code::ResourceExhausted, "at most 100"),
        (None, 0, u32::MAX, Code::ResourceExhausted, "4294967295 bytes"),
        (Some("gzip"), 1, 5, Code::Unimplemented, "gzip"),
        (Some("identity"), 1, 5, Code::Internal, "without grpc-encoding"),
        (None, 1, 5, Code::Internal, "without grpc-encoding"),
        (None, 2, 5, Code::Internal, "2 is not a flag"),
    ] {
        let status = length(&headers(encoding), &prefix(flag, size), 100).unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(text), "{status:?}");
        let accepted = failed(&status).headers().get(ACCEPT_ENCODING).cloned();
        assert_eq!(accepted.is_some(), code == Code::Unimplemented);
    }
}

#[test]
fn only_grpc_is_taken_for_grpc() {
    for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC; charset=x"] {
        assert!(is_grpc(kind.as_bytes()), "{kind}");
    }
    for kind in
        ["", "application/json", "application/grpc-web", "application/grpc+json", "text/grpc"]
    {
        assert!(!is_grpc(kind.as_bytes()), "{kind}");
    }
    assert_eq!(
        refuse_head(&HeaderMap::new()).unwrap().status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[test]
fn an_error_is_headers_with_an_escaped_message() {
    let response = failed(&Status::invalid_argument("ä is 50% of\nit"));
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "3");
    assert_eq!(response.headers()["grpc-message"], "%C3%A4%20is%2050%25%20of%0Ait");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
}

#[test]
fn a_message_is_written_behind_its_prefix() {
    let written = write(|out| out.put_slice(b"abc"));
    assert_eq!(&written[..], b"\0\0\0\0\x03abc");
}
