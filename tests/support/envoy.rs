//! A real Envoy in front of an agent: its configuration, and how to start it.

use std::path::{Path, PathBuf};

use super::{peers::peer, process::Process};

/// The Envoy program.
pub(crate) fn envoy_binary() -> Result<PathBuf, String> {
    peer("WEIR_ENVOY", "Envoy")
}

/// Starts Envoy; it is ready when its admin port answers `/ready` with 200.
#[track_caller]
pub(crate) fn start(program: &Path, bootstrap: &str) -> Process {
    let args =
        ["--config-yaml", bootstrap, "--use-dynamic-base-id", "--concurrency", "1", "-l", "warn"];
    Process::start("envoy", program, &args)
}

/// A static bootstrap: one listener whose every request asks the agent before it goes upstream.
///
/// The agent gets one descriptor: `application` (from the header `x-application`, left out when
/// there is none) and `remote_address` (the last entry of `x-forwarded-for` if there is one, so a
/// test may be many clients). When the agent fails to answer, Envoy refuses with 500. The route goes
/// to a real cluster, for Envoy never limits a `direct_response`.
pub(crate) fn bootstrap(listen: u16, upstream: u16, agent_grpc: u16, admin: u16) -> String {
    format!(
        r#"
admin:
  address: {admin}
static_resources:
  listeners:
  - name: gateway
    address: {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route:
                  cluster: upstream
                  rate_limits:
                  - actions:
                    - request_headers:
                        header_name: x-application
                        descriptor_key: application
                        skip_if_absent: true
                    - remote_address: {{}}
          http_filters:
          - name: envoy.filters.http.ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
              domain: weir
              failure_mode_deny: true
              timeout: 0.5s
              enable_x_ratelimit_headers: DRAFT_VERSION_03
              rate_limit_service:
                transport_api_version: V3
                grpc_service: {{ envoy_grpc: {{ cluster_name: weir_agent }} }}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: upstream
    type: STATIC
    connect_timeout: 0.25s
    load_assignment: {upstream}
  - name: weir_agent
    type: STATIC
    connect_timeout: 0.25s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment: {agent}
"#,
        admin = address(admin),
        listen = address(listen),
        upstream = endpoints("upstream", upstream),
        agent = endpoints("weir_agent", agent_grpc),
    )
}

fn address(port: u16) -> String {
    format!("{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}")
}

fn endpoints(cluster: &str, port: u16) -> String {
    let endpoint = format!("{{ endpoint: {{ address: {} }} }}", address(port));
    format!("{{ cluster_name: {cluster}, endpoints: [{{ lb_endpoints: [{endpoint}] }}] }}")
}
