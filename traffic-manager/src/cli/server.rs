//! `serve` and `check-config`.

use std::{io, path::Path};

use super::Failure;
use crate::{
    config::{Config, Settings},
    security, serve, telemetry,
};

/// Runs a manager until the process is told to stop.
pub(super) fn serve(file: Option<&Path>, settings: Settings) -> Result<(), Failure> {
    let config = Config::load(file, settings).map_err(|e| Failure::Refused(e.to_string()))?;
    telemetry::start_log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Refused(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(async {
        // Registered before anything else runs: an early signal still ends us in good order.
        let signal =
            signal().map_err(|e| Failure::Refused(format!("cannot catch signals: {e}")))?;
        serve::run(config, signal).await.map_err(|error| Failure::Refused(format!("{error:#}")))
    });
    // What is left does not hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    result
}

#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a signal to wait for, only the system ends us.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Checks a file as `serve` would, without variables and flags.
pub(super) fn check(file: &Path, out: &mut dyn io::Write) -> Result<(), Failure> {
    let refused = |text: String| Failure::Refused(text);
    let config =
        Config::load(Some(file), Settings::default()).map_err(|e| refused(e.to_string()))?;
    let policies = serve::read_policies(config.policies_file.as_deref())
        .map_err(|error| refused(format!("{error:#}")))?;
    security::check(&config).map_err(|error| refused(format!("{}: {error:#}", file.display())))?;
    let policies = match config.policies_file {
        Some(_) => format!(", {} policies", policies.len()),
        None => String::new(),
    };
    writeln!(
        out,
        "{}: ok (id {}, gRPC {}, HTTP {}{policies})",
        file.display(),
        config.id,
        config.grpc,
        config.http
    )?;
    Ok(())
}
