//! A manager from start to shutdown.

use std::{fs, future::Future, path::Path, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::{task::JoinHandle, time::timeout};
use weir_proto::policy::{Policy, parse_document};

use crate::{
    admin::{self, Access, Admin, Front, Readiness},
    audit,
    config::Config,
    group::Group,
    grpc, http,
    net::Listener,
    security::Security,
    stop::{self, Stopper},
    telemetry::Telemetry,
    tls::Port,
};

/// Streams and requests get this long to end after a shutdown was asked for.
const GRACE: Duration = Duration::from_millis(1_500);
/// How often recorded samples are moved into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Runs a manager until `shutdown` resolves, also while it is still starting: then the HTTP port already
/// answers probes, and nothing else.
///
/// # Errors
/// It could not start: a port is in use, the policies file is not valid, the store is not fit for use. Or
/// it could not go on.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let policies = read_policies(config.policies_file.as_deref())?;
    let telemetry = Telemetry::new().context("cannot set up the metrics")?;
    let (stopper, stop) = stop::stop();
    let security = Security::start(&config, &telemetry, stop.clone())?;
    let (grpc_port, http_port) = ports(&config, &security, &telemetry).await?;
    let (grpc_address, http_address) = (grpc_port.address()?, http_port.address()?);
    let readiness = Readiness::default();
    let front = Front::new(readiness.clone());
    let mut http_task = tokio::spawn(http::serve(http_port, front.router(), stop.clone()));
    let mut shutdown = pin!(shutdown);

    let access = (security.peers.clone(), security.guard.clone());
    let started = tokio::select! {
        () = &mut shutdown => None,
        group = Group::start(&config, access, &telemetry, &stop) => Some(group),
    };
    let mut group = match started {
        Some(Ok(group)) => group,
        // Nobody was served yet, and whatever was begun is told to stop.
        unserved => {
            leave(&readiness, &stopper);
            end(http_task, "HTTP").await;
            return unserved.transpose().map(drop);
        }
    };
    let guard = &security.guard;
    audit::witness(guard, group.keeper.clone(), stop.clone());
    let admin = Admin::new(&config, &group, Arc::clone(&telemetry), readiness.clone());
    front.open(admin::router(admin, Access::new(&config, guard.clone())));
    let services = grpc::Services { driver: group.driver.clone(), peers: group.peers() };
    let (measured, guard) = (Arc::clone(&telemetry), guard.clone());
    let mut grpc_task = tokio::spawn(grpc::serve(grpc_port, services, measured, guard, stop));
    let upkeep = tokio::spawn(upkeep(telemetry));
    readiness.recovering();
    let recovery = group.recover(policies);
    let scheme = if security.tls.is_some() { "https" } else { "http" };

    let failure = tokio::select! {
        () = shutdown => None,
        failure = async {
            if let Err(error) = recovery.await {
                return Some(format!("{error:#}"));
            }
            readiness.serving();
            tracing::info!(
                id = %config.id,
                grpc = %grpc_address,
                http = %http_address,
                "the traffic manager is ready; admin API and status page: {scheme}://{http_address}/"
            );
            std::future::pending().await
        } => failure,
        () = group.ended() => Some("a task of the manager has ended; the log above says why, or it is a defect".to_owned()),
        end = &mut http_task => Some(format!("the HTTP server stopped: {end:?}")),
        end = &mut grpc_task => Some(format!("the gRPC server stopped: {end:?}")),
    };
    leave(&readiness, &stopper);
    upkeep.abort();
    end(http_task, "HTTP").await;
    end(grpc_task, "gRPC").await;
    group.close().await;
    match failure {
        Some(what) => bail!("{what}"),
        None => Ok(()),
    }
}

/// Takes both ports: gRPC, HTTP.
async fn ports(
    config: &Config,
    security: &Security,
    telemetry: &Telemetry,
) -> anyhow::Result<(Listener, Listener)> {
    let (tls, guard) = (&security.tls, &security.guard);
    let refused = (telemetry.refused_grpc.clone(), telemetry.refused_http.clone());
    let grpc = Listener::bind(config.grpc, "listen.grpc", refused.0).await?;
    let http = Listener::bind(config.http, "listen.http", refused.1).await?;
    let grpc = grpc.secured(Port::Grpc, tls.clone(), guard);
    Ok((grpc, http.secured(Port::Http, tls.clone(), guard)))
}

fn leave(readiness: &Readiness, stopper: &Stopper) {
    readiness.leaving();
    tracing::info!("shutting down");
    stopper.stop();
}

/// Waits for a server, but not for ever.
async fn end<T>(mut task: JoinHandle<T>, name: &str) {
    if task.is_finished() {
        return;
    }
    // Both servers share one span of grace: it began for both when the stop was sent.
    if timeout(GRACE / 2, &mut task).await.is_err() {
        tracing::warn!("some {name} connections did not end in time; they are cut");
        task.abort();
    }
}

async fn upkeep(telemetry: Arc<Telemetry>) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        telemetry.upkeep();
    }
}

/// The policies of a file; every fault of it is reported.
///
/// # Errors
/// The file cannot be read, or a policy in it is not valid.
pub(crate) fn read_policies(file: Option<&Path>) -> anyhow::Result<Vec<Policy>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let name = file.display();
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the policies file {name} (policies_file)"))?;
    parse_document(&text).map_err(|errors| {
        let lines: Vec<String> = errors.0.iter().map(|error| format!("{name}: {error}")).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests;
