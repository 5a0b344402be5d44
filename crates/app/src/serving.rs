//! What a process that listens answers from, and where: the site, the control socket, the addresses.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, PoisonError},
};

use anyhow::Context;
use farol_alert::Routing;
use farol_collect::own;
use farol_model::{Current, Memory, Sample, Timestamp};
use serde_json::Value;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
};

use crate::{
    clock,
    config::{Config, Effective, Setting},
    control,
    parts::Boards,
    remedies,
    run::{REVISION, Shape},
    silencing,
};

pub(crate) fn site(
    shape: Shape,
    config: &Config,
    current: watch::Receiver<Arc<Current>>,
    memory: watch::Receiver<Arc<Memory>>,
    routing: watch::Receiver<Arc<Routing>>,
    ready: watch::Receiver<bool>,
    commands: mpsc::Sender<farol_web::Command>,
    boards: &Boards,
    door: watch::Receiver<farol_web::door::Opening>,
    started: Timestamp,
) -> farol_web::Site {
    let read_only = (shape == Shape::Serve).then(|| {
        "this process only reads; run `farol reload` beside the process that collects".to_owned()
    });
    let without_collectors = shape != Shape::Serve && config.collectors.none;
    let live: Live = match shape {
        Shape::Serve => live_of_a_server(boards),
        Shape::Run | Shape::Collect if without_collectors => {
            let own = Arc::clone(&boards.own);
            Arc::new(move || own::samples(&own.figures()))
        }
        Shape::Run | Shape::Collect => Arc::new(Vec::new),
    };
    let own = Arc::clone(&boards.own);
    farol_web::Site {
        live,
        history: Arc::new(move || own.figures().store.as_ref().map(history)),
        reader: {
            let slot = Arc::clone(&boards.reader);
            Arc::new(move || slot.lock().unwrap_or_else(PoisonError::into_inner).clone())
        },
        configuration: {
            let shown = Arc::clone(&boards.shown);
            Arc::new(move || configured(&shown.lock().unwrap_or_else(PoisonError::into_inner)))
        },
        texts: Arc::clone(&boards.texts),
        current,
        memory,
        routing,
        rules: {
            let board = Arc::clone(&boards.rules);
            Arc::new(move || board.lock().unwrap_or_else(PoisonError::into_inner).clone())
        },
        ready,
        now: Arc::new(clock::now),
        commands,
        door,
        about: farol_web::About {
            version: crate::cli::VERSION,
            revision: REVISION,
            command: shape.name(),
            started,
            without_collectors,
        },
        settings: Arc::new(farol_web::Settings {
            telemetry_path: config.web.telemetry_path.clone(),
            allowed_hosts: config.web.allowed_hosts.clone(),
            max_connections: config.web.max_connections,
            max_requests: config.web.max_requests,
            header_timeout: config.web.header_timeout,
            request_timeout: config.web.request_timeout,
            body_limit: usize::try_from(config.web.body_limit).unwrap_or(usize::MAX),
            allowed_origin: config.web.allowed_origin.clone(),
            queries: config.query.clone(),
            receiver: (config.web.enable_remote_write_receiver).then(|| farol_web::Receiver {
                body_limit: usize::try_from(config.web.remote_write_body_limit)
                    .unwrap_or(usize::MAX),
                retention: config.store.retention,
            }),
            read_only,
        }),
    }
}

type Live = Arc<dyn Fn() -> Vec<Sample> + Send + Sync>;

/// What is of the server itself: the rest of its `farol_*` is the writer's.
fn live_of_a_server(boards: &Boards) -> Live {
    let (followed, own) = (Arc::clone(&boards.followed), Arc::clone(&boards.own));
    Arc::new(move || {
        let mut samples = followed.lock().unwrap_or_else(PoisonError::into_inner).samples();
        samples.extend(own.figures().store.iter().flat_map(own::follower_store_samples));
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        samples
    })
}

fn history(store: &own::StoreFigures) -> farol_web::History {
    let held = store.held.unwrap_or_default();
    farol_web::History {
        series: held.series,
        blocks: held.blocks,
        bytes: held.bytes,
        max_bytes: store.max_bytes,
        oldest: held.oldest,
        fault: store.fault.clone(),
    }
}

fn configured(effective: &Effective) -> Vec<farol_web::Configured> {
    let row = |row: &crate::config::Row| farol_web::Configured {
        key: row.key,
        flag: Setting::of(row.key).and_then(Setting::flag),
        value: row.shown.clone(),
    };
    effective.rows.iter().map(row).collect()
}

/// What the control socket answers.
pub(crate) fn answers(
    site: farol_web::Site,
    commands: mpsc::Sender<farol_web::Command>,
    remedies: remedies::DeskSlot,
) -> control::Answer {
    Arc::new(move |request| {
        let site = site.clone();
        let commands = commands.clone();
        let remedies = Arc::clone(&remedies);
        Box::pin(async move {
            match request.command {
                control::Command::Health => {
                    farol_web::health_report(&site).map_err(|error| error.to_string())
                }
                control::Command::Reload => ask_for_reload(&site, &commands).await,
                control::Command::SilenceAdd => {
                    silencing::add(&site, &commands, request.arguments).await
                }
                control::Command::SilenceList => silencing::list(&site, &request.arguments),
                control::Command::SilenceExpire => {
                    silencing::expire(&site, &commands, &request.arguments).await
                }
                control::Command::RemedyList => Ok(desk(&site, &remedies)?.list()),
                control::Command::RemedyRun => {
                    desk(&site, &remedies)?.run(&request.arguments).await
                }
            }
        })
    })
}

/// Only the process that collects runs remedies.
fn desk<'a>(
    site: &farol_web::Site,
    slot: &'a remedies::DeskSlot,
) -> Result<&'a remedies::Desk, String> {
    slot.get().ok_or_else(|| match &site.settings.read_only {
        Some(refusal) => refusal.clone(),
        None => "the program is still starting".to_owned(),
    })
}

async fn ask_for_reload(
    site: &farol_web::Site,
    commands: &mpsc::Sender<farol_web::Command>,
) -> Result<Value, String> {
    if let Some(refusal) = &site.settings.read_only {
        return Err(refusal.clone());
    }
    let (reply, answer) = tokio::sync::oneshot::channel();
    let gone = |_| "the program is stopping".to_owned();
    commands.send(farol_web::Command::Reload { reply }).await.map_err(|_| gone(()))?;
    answer.await.map_err(|_| gone(()))??;
    Ok(Value::from("reloaded"))
}

/// `None` beside another server that has the same data folder: both say the same.
pub(crate) fn bind_control(shape: Shape, path: &Path) -> anyhow::Result<Option<UnixListener>> {
    match control::bind(path) {
        Err(error) if shape == Shape::Serve && error.kind() == io::ErrorKind::AddrInUse => {
            tracing::info!(path = %path.display(), "another farol answers at the control socket");
            Ok(None)
        }
        bound => bound.map(Some).with_context(|| path.display().to_string()),
    }
}

pub(crate) async fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; choose another address with --listen")
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// What a browser can open: nobody is asked for under the name of "every address".
pub(crate) fn web_address(address: SocketAddr, under_tls: bool) -> String {
    let (port, scheme) = (address.port(), if under_tls { "https" } else { "http" });
    match address.ip().is_unspecified() {
        true => format!("{scheme}://127.0.0.1:{port} and every other address of this machine"),
        false => format!("{scheme}://{address}"),
    }
}
