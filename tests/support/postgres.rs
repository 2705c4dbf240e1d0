//! A real PostgreSQL server, with a data folder of its own.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{peers::peer, ports::free_ports, process::Process, wait::wait_until};

const SOON: Duration = Duration::from_secs(30);

/// The server program; `initdb` stands beside it.
pub(crate) fn postgres_binary() -> Result<PathBuf, String> {
    peer("WEIR_POSTGRES", "PostgreSQL's server (postgres)")
}

/// A server: one superuser `weir`, with a password, over TCP.
pub(crate) struct Postgres {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    tls: bool,
    process: Option<Process>,
}

impl Postgres {
    /// Makes a database cluster and starts it.
    pub(crate) fn start(program: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-postgres-").tempdir().expect("a folder");
        let [port] = free_ports();
        let mut server =
            Postgres { program: program.to_owned(), folder, port, tls: false, process: None };
        let password = server.folder.path().join("password");
        std::fs::write(&password, "sesame\n").expect("a file");
        // The server refuses to run as root.
        if rustix::process::getuid().is_root() {
            let (user, group) = postgres_user();
            for path in [server.folder.path(), &password] {
                chown(path, Some(user), Some(group)).expect("root may give files away");
            }
        }
        let initdb = program.with_file_name("initdb");
        let mut command = server.as_postgres(&initdb);
        command.arg("-D").arg(server.data()).args(["-U", "weir", "-A", "scram-sha-256"]);
        command.arg(format!("--pwfile={}", password.display())).args(["-E", "UTF8", "--no-locale"]);
        let made = command.arg("--no-sync").output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.resume();
        server
    }

    /// Starts it anew, speaking TLS with this certificate and key to whoever asks for it.
    pub(crate) fn secure(&mut self, cert: &Path, key: &Path) {
        self.cut();
        for (from, name) in [(cert, "server.crt"), (key, "server.key")] {
            let to = self.data().join(name);
            std::fs::copy(from, &to).expect("a file");
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).expect("ours");
            if rustix::process::getuid().is_root() {
                let (user, group) = postgres_user();
                chown(&to, Some(user), Some(group)).expect("root may give files away");
            }
        }
        self.tls = true;
        self.resume();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command that runs as a user whom PostgreSQL accepts.
    fn as_postgres(&self, program: &Path) -> Command {
        if !rustix::process::getuid().is_root() {
            return Command::new(program);
        }
        let (user, group) = postgres_user();
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
        command.args(["--clear-groups", "--"]).arg(program).current_dir(self.folder.path());
        command
    }

    /// Starts the server, again after [`Postgres::kill`].
    pub(crate) fn resume(&mut self) {
        let mut command = self.as_postgres(&self.program.clone());
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-c"]);
        command.args(["listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        if self.tls {
            command.args(["-c", "ssl=on"]);
        }
        let process = Process::start_command("postgres", command);
        wait_until("PostgreSQL accepts connections", SOON, &[&process], || {
            process.log().contains("ready to accept connections")
        });
        self.process = Some(process);
    }

    /// Ends the server, as `kill -QUIT` does: sessions are cut, and it recovers at the next start.
    pub(crate) fn cut(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate_at_once(SOON);
        }
    }

    /// With the password in it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://weir:sesame@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    /// The server's children end with it only if it is asked.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.cut();
        } else if let Some(process) = &self.process {
            eprintln!("{}", process.log_tail());
        }
    }
}

/// Numbers of the user and group as whom a root's server runs.
fn postgres_user() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("the users");
    let line = users
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .or_else(|| users.lines().find(|line| line.starts_with("nobody:")))
        .expect("a user who is not root");
    let fields: Vec<&str> = line.split(':').collect();
    let number = |at: usize| fields[at].parse().expect("a number");
    (number(2), number(3))
}
