//! From what people wrote to what the manager runs with.

use std::{net::SocketAddr, time::Duration};

use axum::http::Uri;
use weir_proto::{id::ManagerId, window::Window};

use super::{Config, ConfigError, Fault, LogFormat, LogLevel, Settings, Tls, security, store};

const GRPC: &str = "127.0.0.1:9611";
const HTTP: &str = "127.0.0.1:9610";
const SILENT_HOLD: Duration = Duration::from_secs(30);
const MAX_SILENT_HOLD: Duration = Duration::from_secs(3_600);
const COUNTERS: u64 = 1_000_000;
const MAX_COUNTERS: u64 = 100_000_000;
const MAX_PEERS: usize = 63;
const PRIORITY: u32 = 100;

/// Collects faults, so that one run shows all of them.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn refuse<T>(&mut self, field: &'static str, message: String) -> Option<T> {
        self.0.push(Fault { field, message });
        None
    }
}

/// See [`Config::resolve`].
pub(super) fn resolve(settings: Settings) -> Result<Config, ConfigError> {
    let mut faults = Faults::default();
    let id = id(settings.id, &mut faults);
    let tls = security::tls(settings.tls, &mut faults.0);
    let auth = security::auth(settings.auth, tls.as_ref(), &mut faults.0);
    let peers = peers(settings.peers.unwrap_or_default(), tls.as_ref(), &mut faults);
    let exposed = Exposure {
        insecure: settings.insecure_listen.unwrap_or(false),
        encrypted: tls.is_some(),
        authenticated: auth.is_some(),
    };
    let grpc = address("listen.grpc", settings.listen.grpc, GRPC, &exposed, &mut faults);
    let http = address("listen.http", settings.listen.http, HTTP, &exposed, &mut faults);
    if let (Some(grpc), Some(http)) = (grpc, http)
        && grpc == http
        && grpc.port() != 0
    {
        faults.refuse::<()>("listen.http", format!("= \"{http}\" is the address of listen.grpc"));
    }
    let store = store::place(settings.data_dir, settings.store);
    let store = store.map_or_else(|fault| faults.refuse(fault.field, fault.message), Some);
    let silent_hold = silent_hold(settings.silent_hold, &mut faults);
    let max_counters = max_counters(settings.max_counters, &mut faults);
    let log_format = choice("log.format", settings.log.format, "text or json", LogFormat::parse);
    let log_level = choice(
        "log.level",
        settings.log.level,
        "error, warn, info, debug or trace",
        LogLevel::parse,
    );
    let log_format = log_format.unwrap_or_else(|fault| faults.refuse(fault.field, fault.message));
    let log_level = log_level.unwrap_or_else(|fault| faults.refuse(fault.field, fault.message));
    let whole = || {
        Some(Config {
            id: id?,
            store: store?,
            peers,
            policies_file: settings.policies_file,
            grpc: grpc?,
            http: http?,
            priority: settings.roles.priority.unwrap_or(PRIORITY),
            fail_back: settings.roles.fail_back.unwrap_or(false),
            silent_hold: silent_hold?,
            max_counters: max_counters?,
            tls,
            auth,
            log_format: log_format?,
            log_level: log_level?,
        })
    };
    match whole() {
        Some(config) if faults.0.is_empty() => Ok(config),
        _ => Err(ConfigError::Invalid { file: None, faults: faults.0 }),
    }
}

fn id(name: Option<String>, faults: &mut Faults) -> Option<ManagerId> {
    let (name, origin) = match name {
        Some(name) => (name, ""),
        None => (host_name(), " (the host name; give the manager another)"),
    };
    match ManagerId::new(&name) {
        Ok(id) => Some(id),
        Err(error) => faults.refuse("id", format!("= {name:?}{origin} {error}")),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What protects an address that others can reach.
struct Exposure {
    insecure: bool,
    encrypted: bool,
    authenticated: bool,
}

impl Exposure {
    /// What is not there, unless that is meant.
    fn missing(&self) -> Option<&'static str> {
        match (self.encrypted, self.authenticated) {
            _ if self.insecure => None,
            (true, true) => None,
            (false, false) => Some("nothing is encrypted or authenticated"),
            (false, true) => Some("nothing is encrypted (no [tls])"),
            (true, false) => Some("nobody is asked for a token or a role ([auth])"),
        }
    }
}

fn address(
    field: &'static str,
    text: Option<String>,
    default: &str,
    exposure: &Exposure,
    faults: &mut Faults,
) -> Option<SocketAddr> {
    let text = text.unwrap_or_else(|| default.to_owned());
    // The one host name that needs no resolver.
    let literal = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.clone(),
    };
    let Ok(address) = literal.parse::<SocketAddr>() else {
        return faults.refuse(
            field,
            format!("= {text:?} is not an address; write an IP address and a port, like {default}"),
        );
    };
    if !address.ip().is_loopback()
        && let Some(missing) = exposure.missing()
    {
        return faults.refuse(
            field,
            format!(
                "= {text:?} can be reached from other machines, and {missing}: anyone there could \
                 change policies. Keep it on 127.0.0.1, configure [tls] and [auth] (see \"Security\" \
                 in the README), or set insecure_listen = true on a network that you trust"
            ),
        );
    }
    Some(address)
}

fn peers(urls: Vec<String>, tls: Option<&Tls>, faults: &mut Faults) -> Vec<String> {
    if urls.len() > MAX_PEERS {
        faults.refuse::<()>("peers", format!("has {} entries; at most {MAX_PEERS}", urls.len()));
    }
    for (place, url) in urls.iter().enumerate() {
        if urls[..place].contains(url) {
            faults.refuse::<()>("peers", format!("has {url:?} twice; name each manager once"));
        }
        let parsed = url.parse::<Uri>();
        let fits = parsed.is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.port_u16().is_some()
                && uri.path_and_query().is_none_or(|path| path.as_str() == "/")
        });
        if !fits {
            let message = format!("has {url:?}; write the URL of a manager, like http://tm2:9611");
            faults.refuse::<()>("peers", message);
        } else if url.starts_with("https:") && tls.is_none_or(|tls| tls.peer_ca.is_none()) {
            let message = format!("has {url:?}, which needs tls.peer_ca: whom to trust");
            faults.refuse::<()>("peers", message);
        }
    }
    urls
}

fn silent_hold(text: Option<String>, faults: &mut Faults) -> Option<Duration> {
    let Some(text) = text else { return Some(SILENT_HOLD) };
    match text.parse::<Window>().map(Window::duration) {
        Ok(hold) if hold <= MAX_SILENT_HOLD => Some(hold),
        _ => faults.refuse(
            "silent_hold",
            format!("= {text:?} is not a duration from 1s to 1h, like 30s or 2m"),
        ),
    }
}

fn max_counters(count: Option<u64>, faults: &mut Faults) -> Option<usize> {
    let count = count.unwrap_or(COUNTERS);
    if !(1..=MAX_COUNTERS).contains(&count) {
        return faults.refuse("max_counters", format!("= {count} is not in 1 to {MAX_COUNTERS}"));
    }
    usize::try_from(count).ok()
}

fn choice<T: Default>(
    field: &'static str,
    name: Option<String>,
    allowed: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Fault> {
    let Some(name) = name else { return Ok(Some(T::default())) };
    match parse(&name) {
        Some(value) => Ok(Some(value)),
        None => Err(Fault { field, message: format!("= {name:?} is not {allowed}") }),
    }
}
