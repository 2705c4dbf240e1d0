//! What of TLS and tokens a manager runs with, kept as its files are.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use axum::http::{HeaderValue, Uri, header};
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::{
    auth::{Book, Guard, Role, token::Secret},
    config::{Auth, Config},
    stop::Stop,
    telemetry::Telemetry,
    tls::{self, Certificate, ClientFiles, Stamp, TlsClient, TlsServer, Watched},
};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A certificate that ends sooner is warned of.
const SOON: Duration = Duration::from_secs(7 * 24 * 3_600);

/// See the module's documentation.
pub(crate) struct Security {
    /// Judges every call.
    pub(crate) guard: Guard,
    /// `None`: both ports speak plain text.
    pub(crate) tls: Option<Arc<TlsServer>>,
    /// For links to other managers.
    pub(crate) peers: PeerAccess,
}

impl Security {
    /// Reads the files and keeps to them until `stop`.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn start(
        config: &Config,
        telemetry: &Arc<Telemetry>,
        stop: Stop,
    ) -> anyhow::Result<Security> {
        let tls = config.tls.clone().map(TlsServer::load).transpose();
        let tls = tls.map_err(|error| anyhow!(error))?.map(Arc::new);
        let peers = PeerAccess::load(config)?;
        // Taken before the file is read: what changes in between is seen later.
        let auth = config.auth.clone();
        let auth = auth.map(|auth| (Watched::new(Stamp::of(&auth.tokens_file)), auth));
        let first = config.auth.as_ref().map(Book::load).transpose();
        let first = first.map_err(|error| anyhow!(error))?.map(Arc::new);
        if let Some(book) = &first {
            warn_of_gaps(book);
        }
        let (post, posted) = watch::channel(first);
        let keeper = Keeper { auth, post, tls: tls.clone(), telemetry: Arc::clone(telemetry) };
        keeper.tell_expiry(true);
        tokio::spawn(keeper.run(stop));
        Ok(Security { guard: Guard::new(posted, Arc::clone(telemetry)), tls, peers })
    }
}

/// Reads every file that [`Security::start`] would read, and looks whether clients could accept the
/// certificate now.
///
/// # Errors
/// A file cannot be used, or the certificate has ended.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    let tls = config.tls.clone().map(TlsServer::load).transpose();
    let end = tls.map_err(|error| anyhow!(error))?.and_then(|tls| tls.not_after());
    let end = end.and_then(|end| Timestamp::from_second(i64::try_from(end).ok()?).ok());
    if let (Some(tls), Some(end)) = (&config.tls, end.filter(|end| *end < Timestamp::now())) {
        let file = tls.cert.display();
        return Err(anyhow!("tls.cert: {file} ended at {end}; clients refuse it: renew it"));
    }
    config.auth.as_ref().map(Book::load).transpose().map_err(|error| anyhow!(error))?;
    PeerAccess::load(config).map(drop)
}

fn warn_of_gaps(book: &Book) {
    if !book.has(Role::Admin) {
        tracing::warn!("nobody has the role admin: no policy can be written through the admin API");
    }
    if !book.has(Role::Agent) {
        tracing::warn!("nobody has the role agent: no agent can report or follow this manager");
    }
}

/// The credentials with which this manager dials others.
#[derive(Clone)]
pub(crate) struct PeerAccess {
    tls: Option<Arc<TlsClient>>,
    token_file: Option<PathBuf>,
}

impl PeerAccess {
    pub(crate) fn load(config: &Config) -> anyhow::Result<PeerAccess> {
        let ca = config.tls.as_ref().and_then(|tls| Some((tls.peer_ca.clone()?, tls)));
        let files = ca.map(|(ca, tls)| ClientFiles {
            ca,
            identity: Some((tls.cert.clone(), tls.key.clone())),
        });
        let tls = files.map(TlsClient::load).transpose().map_err(|error| anyhow!(error))?;
        let token_file = config.auth.as_ref().and_then(|auth| auth.peer_token_file.clone());
        let access = PeerAccess { tls: tls.map(Arc::new), token_file };
        access.token().map_err(|error| anyhow!(error)).context("cannot use the peers' token")?;
        Ok(access)
    }

    /// A new connection to the manager at `url`, and the certificate that it showed.
    ///
    /// # Errors
    /// In words, for the log.
    pub(crate) async fn connect(
        &self,
        url: &Uri,
    ) -> Result<(Channel, Option<Arc<Certificate>>), String> {
        tls::connect(url, self.tls.clone()).await
    }

    /// Adds this manager's token to a call, if it has one. The file is read anew.
    ///
    /// # Errors
    /// The token's file cannot be used, in words.
    pub(crate) async fn authorize<T>(&self, request: &mut tonic::Request<T>) -> Result<(), String> {
        // Files may be on a disk that hangs: that must not hold up a thread of the runtime.
        let access = self.clone();
        let token = tokio::task::spawn_blocking(move || access.token()).await;
        if let Some(token) = token.map_err(|error| error.to_string())?? {
            let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| "the peers' token is not a token".to_owned())?;
            value.set_sensitive(true);
            let value = tonic::metadata::MetadataValue::try_from(value.as_bytes());
            let value = value.map_err(|_| "the peers' token is not a token".to_owned())?;
            request.metadata_mut().insert(header::AUTHORIZATION.as_str(), value);
        }
        Ok(())
    }

    fn token(&self) -> Result<Option<Secret>, String> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("auth.peer_token_file: {}: {error}", file.display()))?;
        Ok(Some(Secret::new(&text)))
    }
}

/// Looks at the files, and puts new contents in force.
struct Keeper {
    auth: Option<(Watched, Auth)>,
    post: watch::Sender<Option<Arc<Book>>>,
    tls: Option<Arc<TlsServer>>,
    telemetry: Arc<Telemetry>,
}

impl Keeper {
    async fn run(mut self, mut stop: Stop) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.requested() => return,
                _ = ticks.tick() => {}
            }
            // Files may be on a disk that hangs: that must not hold up a thread of the runtime.
            let look = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match look.await {
                Ok(keeper) => self = keeper,
                Err(error) => {
                    tracing::error!(%error, "certificates and tokens are not read again");
                    return;
                }
            }
        }
    }

    fn look(&mut self) {
        match self.tls.as_ref().map(|tls| tls.refresh()) {
            None | Some(Ok(false)) => self.tell_expiry(false),
            Some(Ok(true)) => {
                tracing::info!("the TLS files changed and are in use");
                self.tell_expiry(true);
            }
            Some(Err(error)) => {
                tracing::error!(error, "the new TLS files are not used; the old ones are");
            }
        }
        let Some((watched, auth)) = &mut self.auth else { return };
        match watched.renew(Stamp::of(&auth.tokens_file), || Book::load(auth)) {
            Ok(None) => {}
            Ok(Some(book)) => {
                tracing::info!("the tokens file changed and is in force");
                warn_of_gaps(&book);
                self.post.send_replace(Some(Arc::new(book)));
            }
            Err(error) => {
                tracing::error!(error, "the new tokens are not used; the old ones are");
            }
        }
    }

    fn tell_expiry(&self, warn: bool) {
        let Some(end) = self.tls.as_ref().and_then(|tls| tls.not_after()) else { return };
        let left = i64::try_from(end).unwrap_or(i64::MAX) - Timestamp::now().as_second();
        self.telemetry.certificate_expiry(left);
        if warn && left < i64::try_from(SOON.as_secs()).unwrap_or(i64::MAX) {
            tracing::warn!("the manager's certificate (tls.cert) ends in {left} seconds");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::auth::token::TokenHash;

    fn entry(token: &[u8]) -> String {
        let hash = TokenHash::of(token);
        format!("[[tokens]]\nname = 'gw'\nrole = 'agent'\nsha256 = '{hash}'\n")
    }

    #[test]
    fn new_tokens_that_could_not_be_read_at_first_come_into_force_later() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.toml");
        fs::write(&file, entry(b"revoked")).unwrap();
        let auth = Auth {
            tokens: Vec::new(),
            tokens_file: Some(file.clone()),
            certificates: Vec::new(),
            metrics_open: false,
            peer_token_file: None,
        };
        let (post, posted) = watch::channel(None);
        let watched = Watched::new(Stamp::of(&auth.tokens_file));
        let telemetry = Telemetry::new().unwrap();
        let mut keeper = Keeper { auth: Some((watched, auth)), post, tls: None, telemetry };
        keeper.look();
        assert!(posted.borrow().is_none(), "nothing changed");

        // A read fails while the file's state is what it is when one succeeds: stood in for by contents that
        // are mended within one tick of the file's clock.
        let time = fs::metadata(&file).unwrap().modified().unwrap() + SOON;
        let put = |text: &str| {
            fs::write(&file, text).unwrap();
            File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        };
        put(&entry(b"renewed").replace("agent", "about"));
        keeper.look();
        keeper.look();
        assert!(posted.borrow().is_none(), "that is no role");
        put(&entry(b"renewed"));
        keeper.look();
        assert!(posted.borrow().is_some(), "they are in force");
    }
}
