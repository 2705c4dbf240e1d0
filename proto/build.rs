//! Compiles the schema in pure Rust: a newcomer needs no `protoc`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a build script reads its environment and talks to cargo"
)]

use std::{env, error::Error, path::PathBuf};

use prost::Message;

const FILES: &[&str] = &[
    "weir/v1/common.proto",
    "weir/v1/usage.proto",
    "weir/v1/decisions.proto",
    "weir/v1/peers.proto",
    "weir/v1/counters.proto",
    "envoy/service/ratelimit/v3/rls.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schema");
    let mut descriptors = protox::compile(FILES, ["schema"])?;
    for file in descriptors.file.iter_mut().filter(|f| !f.name().starts_with("weir/")) {
        // Comments of foreign files hold snippets that rustdoc would take for examples in Rust.
        file.source_code_info = None;
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;

    let grpc = env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        .bytes(".weir.v1.PolicyUpdate.put")
        .bytes(".weir.v1.KeyDef.key")
        .bytes(".weir.v1.UsageFrame")
        .bytes(".weir.v1.PolicyVersion.body")
        .bytes(".weir.v1.PeerHeartbeat.claims")
        .bytes(".weir.v1.Counters.counters")
        .compile_fds(descriptors)?;
    Ok(())
}
