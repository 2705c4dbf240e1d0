//! A manager with TLS, tokens and roles, and programs that want something of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use tempfile::TempDir;
use ureq::{
    Agent,
    http::Request,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use super::authority::Authority;
use crate::support::{
    fleet::SOON,
    ports::free_ports,
    process::{Process, weir_binary},
    wait::wait_until,
};

const POLICIES: &str = "apiVersion: weir/v1
policies:
  - name: shop
    level: application
    key: [application]
    limits: [ { requests: 1000000, window: 365d, algorithm: fixed_window } ]
";

/// What a caller shows.
#[derive(Clone, Copy, Default)]
pub(crate) struct As<'a> {
    /// The token of that name.
    pub(crate) token: Option<&'a str>,
    /// The certificate of that name.
    pub(crate) certificate: Option<&'a str>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) challenge: Option<String>,
    pub(crate) kind: String,
    pub(crate) body: String,
}

pub(crate) struct Scene {
    pub(crate) ours: Authority,
    pub(crate) manager: Process,
    pub(crate) grpc: u16,
    pub(crate) http: u16,
    folder: TempDir,
}

impl Scene {
    /// A manager on loopback that asks everybody. Tokens: agent, viewer, admin. Certificates of the
    /// names gw-… are agents, own-… agents whose ids are their names, ops is an admin.
    pub(crate) fn start() -> Scene {
        let folder = tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a folder");
        let at = folder.path();
        let ours = Authority::new("ours");
        fs::write(at.join("ca.pem"), ours.pem()).expect("a file");
        ours.issue(at, "tm-1", 2999);
        let tokens: String =
            ["agent", "viewer", "admin"].map(|role| new_token(at, role, role, &[])).concat();
        fs::write(at.join("tokens.toml"), tokens).expect("a file");
        fs::write(at.join("policies.yaml"), POLICIES).expect("a file");
        let [grpc, http] = free_ports();
        let config = format!(
            "id = 'tm-1'\npolicies_file = 'policies.yaml'\n\
             [listen]\ngrpc = '127.0.0.1:{grpc}'\nhttp = '127.0.0.1:{http}'\n\
             [tls]\ncert = 'tm-1.pem'\nkey = 'tm-1.key'\nclient_ca = 'ca.pem'\n\
             [auth]\ntokens_file = 'tokens.toml'\n\
             [[auth.certificates]]\nsubject = 'gw-*'\nrole = 'agent'\n\
             [[auth.certificates]]\nsubject = 'own-*'\nrole = 'agent'\nagents = ['{{name}}']\n\
             [[auth.certificates]]\nsubject = 'ops'\nrole = 'admin'\n"
        );
        fs::write(at.join("tm-1.toml"), config).expect("a file");
        let program = weir_binary("traffic-manager").unwrap_or_else(|why| panic!("{why}"));
        let file = at.join("tm-1.toml").display().to_string();
        let manager = Process::start("tm-1", &program, &["serve", "--config", &file]);
        let scene = Scene { ours, manager, grpc, http, folder };
        wait_until("the manager is ready", SOON, &[&scene.manager], || {
            scene.try_call("GET", "/readyz", As::default(), "").is_ok_and(|a| a.status == 200)
        });
        scene
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A secret, as its owner has it.
    pub(crate) fn token(&self, name: &str) -> String {
        fs::read_to_string(self.at(&format!("{name}.token"))).expect("a token").trim().to_owned()
    }

    /// Makes a token and lets the manager know it; which sees that by itself.
    pub(crate) fn add_token(&self, name: &str, role: &str, more: &[&str]) {
        let lines = new_token(self.folder.path(), name, role, more);
        let file = self.at("tokens.toml");
        let known = fs::read_to_string(&file).expect("the tokens file");
        // A new file under the name, so that no reader sees half of it.
        fs::write(self.at("tokens.new"), known + &lines).expect("a file");
        fs::rename(self.at("tokens.new"), file).expect("the tokens file");
    }

    /// An agent with these arguments beside those that name the manager and the port.
    pub(crate) fn agent(&self, id: &str, scheme: &str, args: &[&str]) -> Client {
        let [grpc, http] = free_ports();
        let program = weir_binary("gateway-agent").unwrap_or_else(|why| panic!("{why}"));
        let mut command = Command::new(program);
        command.args(["run", "--id", id, "--listen-grpc", &format!("127.0.0.1:{grpc}")]);
        command.args(["--listen-http", &format!("127.0.0.1:{http}")]);
        command.args(["--managers", &format!("{scheme}://localhost:{}", self.grpc)]);
        command.args(args).current_dir(self.folder.path());
        Client { process: Process::start_command(id, command), http }
    }

    /// One more manager, which dials the first with the token "peer" and the certificate "tm-2".
    pub(crate) fn another_manager(&self, id: &str) -> Process {
        let [grpc, http] = free_ports();
        let config = format!(
            "id = '{id}'\npeers = ['https://localhost:{}']\n\
             [listen]\ngrpc = '127.0.0.1:{grpc}'\nhttp = '127.0.0.1:{http}'\n\
             [tls]\ncert = 'tm-2.pem'\nkey = 'tm-2.key'\nclient_ca = 'ca.pem'\n\
             [auth]\ntokens_file = 'tokens.toml'\npeer_token_file = 'peer.token'\n",
            self.grpc
        );
        let file = self.at(&format!("{id}.toml"));
        fs::write(&file, config).expect("a file");
        let program = weir_binary("traffic-manager").unwrap_or_else(|why| panic!("{why}"));
        Process::start(id, &program, &["serve", "--config", &file.display().to_string()])
    }

    /// The manager's own client; `args` beside those for the server.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        let server = format!("https://localhost:{}", self.http);
        self.client(&[args, &["--server", &server]].concat())
    }

    /// The client with no other arguments.
    pub(crate) fn client(&self, args: &[&str]) -> Output {
        let program = weir_binary("traffic-manager").unwrap_or_else(|why| panic!("{why}"));
        let mut command = Command::new(program);
        command.args(args).current_dir(self.folder.path());
        command.output().expect("the client runs")
    }

    pub(crate) fn call(&self, method: &str, path: &str, who: As<'_>, body: &str) -> Answer {
        self.try_call(method, path, who, body)
            .unwrap_or_else(|why| panic!("{method} {path}: {why}\n{}", self.manager.log_tail()))
    }

    fn try_call(
        &self,
        method: &str,
        path: &str,
        who: As<'_>,
        body: &str,
    ) -> Result<Answer, String> {
        let fault = |error: ureq::Error| error.to_string();
        let read = |name: String| fs::read(self.at(&name)).expect("a file");
        let ca = Certificate::from_pem(&read("ca.pem".to_owned())).map_err(fault)?;
        let own = who.certificate.map(|name| {
            let chain = Certificate::from_pem(&read(format!("{name}.pem"))).expect("PEM");
            let key = PrivateKey::from_pem(&read(format!("{name}.key"))).expect("PEM");
            ClientCert::new_with_certs(&[chain], key)
        });
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .root_certs(RootCerts::new_with_certs(&[ca]))
            .client_cert(own)
            .build();
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .tls_config(tls)
            .timeout_global(Some(std::time::Duration::from_secs(10)))
            .build()
            .into();
        let url = format!("https://localhost:{}{path}", self.http);
        let mut request = Request::builder().method(method).uri(url);
        if let Some(name) = who.token {
            request = request.header("authorization", format!("Bearer {}", self.token(name)));
        }
        request = request.header("content-type", "application/json");
        let request = request.body(body.to_owned()).map_err(|error| error.to_string())?;
        let mut answer = agent.run(request).map_err(fault)?;
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Ok(Answer {
            challenge: header("www-authenticate"),
            kind: header("content-type").unwrap_or_default(),
            status: answer.status().as_u16(),
            body: answer.body_mut().read_to_string().map_err(fault)?,
        })
    }

    /// How often callers of a port were refused for a reason.
    pub(crate) fn denied(&self, port: &str, reason: &str) -> u64 {
        let series = format!("weir_manager_denied_total{{port=\"{port}\",reason=\"{reason}\"}} ");
        self.metric(&series) as u64
    }

    /// The value of a series, as in the exposition.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let who = As { token: Some("viewer"), ..As::default() };
        let text = self.call("GET", "/metrics", who, "").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{series} is not in\n{text}"))
    }
}

/// An agent.
pub(crate) struct Client {
    pub(crate) process: Process,
    pub(crate) http: u16,
}

/// Makes a token, leaves it in `NAME.token`, and returns the lines for managers.
fn new_token(folder: &Path, name: &str, role: &str, more: &[&str]) -> String {
    let program = weir_binary("traffic-manager").unwrap_or_else(|why| panic!("{why}"));
    let mut command = Command::new(program);
    command.args(["token", "new", "--name", name, "--role", role]).args(more);
    command.args(["--write", &format!("{name}.token")]).current_dir(folder);
    let made = command.output().expect("the command runs");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).expect("TOML")
}
