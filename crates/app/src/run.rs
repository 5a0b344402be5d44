//! The life of the program, read top to bottom: read the configuration, build everything purely,
//! open the journal, bind the listeners, start the threads, wait, and stop in reverse.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, PoisonError,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;
use farol_alert::{Board, Routing, RuleSet, silences};
use farol_collect::own;
use farol_disk::{Disk, RealDisk};
use farol_journal::{Journal, JournalError};
use farol_model::{Current, Memory, Text};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
};

use farol_web::door::Opening;

use crate::{
    channels::{self, Channels},
    cli::{Out, complain},
    clock,
    config::{self, Config, Group, Loaded},
    control,
    core::{Core, Event},
    door::{self, Watch},
    follow::{self, Follower},
    history::{self, History, Place, UpkeepSlot},
    logging,
    parts::{self, Boards},
    probes,
    remedies::{self, Evaluator, Remedies},
    remember::Remember,
    routing, rule_files,
    rules::{self, Rules},
    sampler::{Plan, Sampler},
    service::{self, Signals},
    serving, silencing, threads,
    upkeep::{self, JournalUpkeep, Repeating, SyncRequests, SyncerSlot, Syncing},
};

/// The program's three shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Run,
    Collect,
    Serve,
}

impl Shape {
    pub const fn name(self) -> &'static str {
        match self {
            Shape::Run => "run",
            Shape::Collect => "collect",
            Shape::Serve => "serve",
        }
    }

    /// A writer and a server of its journal may share the data folder, whichever starts first.
    const fn socket(self) -> &'static str {
        match self {
            Shape::Run | Shape::Collect => control::SOCKET,
            Shape::Serve => control::SERVERS_SOCKET,
        }
    }

    const fn collects(self) -> bool {
        matches!(self, Shape::Run | Shape::Collect)
    }

    const fn listens(self) -> bool {
        matches!(self, Shape::Run | Shape::Serve)
    }
}

/// How long each step of the stop may take before it is left behind.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// A remedy that is being run is asked to end, then killed.
const REMEDY_PATIENCE: Duration = Duration::from_secs(7);
/// How long the start waits for the first snapshot: it usually takes a few milliseconds.
const FIRST_TICK_PATIENCE: Duration = Duration::from_secs(1);
/// One snapshot in flight per lane, and a few events: a full mailbox means a stuck core.
const MAILBOX: usize = 16;

pub fn run(shape: Shape, flags: Vec<(String, String)>, out: &mut Out) -> anyhow::Result<ExitCode> {
    let started = clock::now();
    let mut loaded = config::from_process(flags.clone())?;
    let config = loaded.config.clone();
    // Before anything is created: a door that is open by mistake is worse than no start.
    let opened = shape.listens().then(|| door::open(&config)).transpose()?;
    if let Some(opened) = &opened {
        loaded.warnings.extend(opened.warnings.iter().cloned());
    }
    let has_data = prepare_folders(shape, &config)?;
    let log = logging::start(&log_settings(shape, &config));
    announce(shape, &loaded, &log, out);
    open_as_many_files_as_may_be();

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Besides the door's work there are queries and lookups, so many of each at once.
        .max_blocking_threads(8 + 2 * config.query.max_concurrency)
        .thread_name("net")
        .enable_all()
        .build()
        .context("cannot start the network threads")?;
    // Before anything that may wait: as a container's first process we would not even be ended by
    // a signal that nobody has asked for.
    let signals = {
        let _inside = runtime.enter();
        Signals::install()?
    };

    let boards = Boards::default();
    *boards.shown.lock().unwrap_or_else(PoisonError::into_inner) = loaded.effective.clone();
    boards.own.update(|figures| {
        figures.version = crate::cli::VERSION;
        figures.revision = REVISION;
        figures.rust_version = RUST_VERSION;
    });
    let plans = parts::plans(&config, &boards)?;
    let rules = load_rules(shape, &config, &boards)?;

    let (current, watch_current) = watch::channel(Arc::new(Current {
        host: config.host_name.clone(),
        verdict: crate::core::verdict(),
        ..Current::default()
    }));
    let (memory, watch_memory) = watch::channel(Arc::<Memory>::default());
    let (routing, watch_routing) = watch::channel(Arc::new(routing::routing(&config)));
    let (ready, watch_ready) = watch::channel(false);
    let listeners = match shape.listens() {
        true => runtime.block_on(serving::bind(&config.listen))?,
        false => Vec::new(),
    };
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let socket = has_data.then(|| config.data.join(shape.socket()));
    let control = {
        let _inside = runtime.enter();
        socket.as_deref().map(|path| serving::bind_control(shape, path)).transpose()?.flatten()
    };
    // What another process has bound is not ours to remove.
    let socket = socket.filter(|_| control.is_some());

    let source = match shape.collects() {
        true => {
            let routing = watch_routing.clone();
            Source::collect(shape, &config, plans, current, memory, routing, rules, &boards)?
        }
        false => Source::follow(&config, has_data, current, memory, ready.clone(), &boards)?,
    };
    let (door, watch_door) = match opened {
        Some(opened) => {
            let (door, opening) = Watch::new(&config.door, opened);
            (Some(door), opening)
        }
        None => (None, watch::channel(Opening::default()).1),
    };
    let (stop, stopping) = watch::channel(false);
    let (commands, inbox) = mpsc::channel(8);
    let site = serving::site(
        shape,
        &config,
        watch_current.clone(),
        watch_memory.clone(),
        watch_routing,
        watch_ready,
        commands,
        &boards,
        watch_door,
        started,
    );
    let program = Program {
        shape,
        flags,
        config,
        boards,
        source,
        stop,
        door,
        probes: None,
        ready,
        current: watch_current,
        memory: watch_memory,
        routing,
        channels: None,
        socket,
        remedies: None,
    };
    runtime.block_on(
        program.live(signals, site, listeners, control, inbox, stopping, &addresses, out),
    )?;
    // Whatever still hangs (a resolver, a stuck file system) is left behind.
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(ExitCode::SUCCESS)
}

/// What feeds `current` and the store: this process's own samplers, or another's journal.
#[derive(Debug)]
enum Source {
    Collecting {
        /// Both lanes', or none where nothing is to be collected.
        samplers: Vec<Sampler>,
        core: SyncSender<Event>,
        core_thread: JoinHandle<()>,
        history: History,
        syncing: Syncing,
        upkeep: Repeating,
        rules: Rules,
    },
    Following {
        follower: Follower,
        history: History,
        upkeep: Repeating,
    },
}

impl Source {
    fn collect(
        shape: Shape,
        config: &Config,
        plans: [Plan; 2],
        current: watch::Sender<Arc<Current>>,
        memory: watch::Sender<Arc<Memory>>,
        routing: watch::Receiver<Arc<Routing>>,
        rules: Arc<RuleSet>,
        boards: &Boards,
    ) -> anyhow::Result<Source> {
        let (remembered, shown) = (memory.subscribe(), current.subscribe());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let settings = parts::journal_settings(config, group_id(config)?);
        let host = config.host_name.clone();
        let syncer = SyncerSlot::default();
        let open = {
            let (disk, logs) = (Arc::clone(&disk), config.logs.clone());
            let (settings, syncer) = (settings.clone(), Arc::clone(&syncer));
            move || {
                let journal = Journal::open(Arc::clone(&disk), &logs, settings.clone())?;
                syncer.set(journal.syncer()).ok();
                Ok(journal)
            }
        };
        let board = Arc::clone(&boards.own);
        let opened = open();
        // With the folder's lock held, so that nothing is added meanwhile.
        let recalled = recall(&disk, &config.logs);
        let core = match opened {
            Ok(journal) => Core::new(host, journal, current, board),
            Err(error @ JournalError::Full { .. }) => {
                let reason = Text::from(error.to_string());
                Core::without_journal(host, Box::new(open), reason, current, board)
            }
            Err(error) => return Err(error.into()),
        };
        let upkeep = UpkeepSlot::default();
        let place = store_place(shape, config)?;
        let settings_of_history = history_settings(config, place, &upkeep, boards);
        let (history, feed) = History::fed(settings_of_history)?;
        let sync_interval = config.journal.sync_interval;
        let journal = JournalUpkeep {
            disk,
            logs: config.logs.clone(),
            settings,
            syncer: Arc::clone(&syncer),
        };
        let (mailbox, inbox) = sync_channel(MAILBOX);
        let tell = tell_of_imports(mailbox.clone());
        let requests = SyncRequests::new();
        let core = core.feeding(feed).remembering(recalled, memory).syncing(requests.0.clone());
        let own = Arc::clone(&boards.own);
        let syncing = Syncing::start(syncer, sync_interval, requests, Arc::clone(&own))?;
        let upkeep = upkeep::start_upkeep(Some(journal), upkeep, tell, own)?;
        let core_thread =
            std::thread::Builder::new().name("core".into()).spawn(move || core.run(&inbox))?;
        let started = Event::Happened {
            event: Text::from_static("started"),
            message: format!("farol {} started", crate::cli::VERSION).into(),
        };
        mailbox.send(started).ok();
        let rules = start_rules(config, rules, remembered, shown, routing, &mailbox, boards)?;
        let samplers = match config.collectors.none {
            true => Vec::new(),
            false => start_samplers(plans, &mailbox, &boards.own)?,
        };
        Ok(Source::Collecting {
            samplers,
            core: mailbox,
            core_thread,
            history,
            syncing,
            upkeep,
            rules,
        })
    }

    fn follow(
        config: &Config,
        has_data: bool,
        current: watch::Sender<Arc<Current>>,
        memory: watch::Sender<Arc<Memory>>,
        ready: watch::Sender<bool>,
        boards: &Boards,
    ) -> anyhow::Result<Source> {
        let upkeep = UpkeepSlot::default();
        let history = follow_history(config, has_data, &upkeep, boards)?;
        let upkeep = upkeep::start_upkeep(None, upkeep, |_: &str| {}, Arc::clone(&boards.own))?;
        let follower = Follower::start(follow::Settings {
            disk: Arc::new(RealDisk),
            logs: config.logs.clone(),
            host: config.host_name.clone(),
            current,
            memory,
            ready,
            followed: Arc::clone(&boards.followed),
        })?;
        Ok(Source::Following { follower, history, upkeep })
    }

    /// Hands the core something that it answers. It has a place for it, but for a disk that hangs.
    fn hand_over(&self, event: Event) {
        let refused = match self {
            Source::Following { .. } => (event, "this process only reads"),
            Source::Collecting { core, .. } => match core.try_send(event) {
                Ok(()) => return,
                Err(TrySendError::Full(event)) => (event, "the journal's disk is too slow"),
                Err(TrySendError::Disconnected(event)) => (event, "the program is stopping"),
            },
        };
        if let (Event::Received { ack, .. } | Event::Remember { ack, .. }, reason) = refused {
            // Whoever asked may have gone.
            ack.send(Err(reason.to_owned())).ok();
        }
    }

    /// Samplers first, then the core with its last lines, the store that takes them, and then what
    /// syncs and tidies.
    fn stop(self) {
        match self {
            Source::Collecting { samplers, core, core_thread, history, syncing, upkeep, rules } => {
                rules.stop(STOP_PATIENCE);
                for sampler in samplers {
                    sampler.stop(STOP_PATIENCE);
                }
                let told = threads::send_within(&core, Event::Stop, STOP_PATIENCE);
                if !told || !threads::join_within(core_thread, STOP_PATIENCE) {
                    tracing::error!("the journal's disk hangs; its last lines may be lost");
                }
                history.stop(STOP_PATIENCE);
                syncing.stop(STOP_PATIENCE);
                upkeep.stop(STOP_PATIENCE);
            }
            Source::Following { follower, history, upkeep } => {
                follower.stop(STOP_PATIENCE);
                history.stop(STOP_PATIENCE);
                upkeep.stop(STOP_PATIENCE);
            }
        }
    }
}

fn start_samplers(
    plans: [Plan; 2],
    mailbox: &SyncSender<Event>,
    board: &Arc<own::Board>,
) -> io::Result<Vec<Sampler>> {
    let [fast, slow] = plans;
    let start = |plan| Sampler::start(plan, mailbox.clone(), Arc::clone(board));
    let fast = start(fast)?;
    // In this order, so that every line but the very first has all vital signs.
    fast.wait_for_first_tick(FIRST_TICK_PATIENCE);
    Ok(vec![fast, start(slow)?])
}

/// What is remembered of alerts, messages and treatments. A journal that cannot be read is told, and is
/// no reason not to watch.
fn recall(disk: &Arc<dyn Disk>, logs: &Path) -> Memory {
    let lap = clock::lap();
    match farol_journal::recall(disk, logs) {
        Ok(recalled) => {
            let (alerts, took) = (recalled.memory.alerts.len(), lap.elapsed());
            tracing::info!(
                alerts,
                damaged = recalled.stats.damaged,
                ?took,
                "recalled from the journal"
            );
            recalled.memory
        }
        Err(error) => {
            tracing::error!(%error, "the events of the journal cannot be read; alerts begin anew");
            Memory::default()
        }
    }
}

/// The rules, with everything that they and the notifiers need. A server only shows the rules: it does
/// without those that its user may not read, and has no use for what the notifiers need.
fn load_rules(shape: Shape, config: &Config, boards: &Boards) -> anyhow::Result<Arc<RuleSet>> {
    if shape.collects() {
        let rules = Arc::new(rule_files::load(&config.rules)?);
        remedies::check(&rules, config)?;
        channels::check(config)?;
        return Ok(rules);
    }
    let rules = rule_files::load(&config.rules).unwrap_or_else(|error| {
        tracing::warn!(%error, "the rules are not shown");
        RuleSet::default()
    });
    let rules = Arc::new(rules);
    *boards.rules.lock().unwrap_or_else(PoisonError::into_inner) = Board::new(Arc::clone(&rules));
    Ok(rules)
}

fn start_rules(
    config: &Config,
    rules: Arc<RuleSet>,
    memory: watch::Receiver<Arc<Memory>>,
    current: watch::Receiver<Arc<Current>>,
    routing: watch::Receiver<Arc<Routing>>,
    core: &SyncSender<Event>,
    boards: &Boards,
) -> anyhow::Result<Rules> {
    tracing::info!(
        rules = rules.rules().count(),
        notifiers = config.notifiers.len(),
        "rules are loaded"
    );
    core.send(loaded(&rules, config)).ok();
    let surroundings = rules::Surroundings {
        reader: Arc::clone(&boards.reader),
        memory,
        routing,
        core: core.clone(),
        board: Arc::clone(&boards.rules),
        current,
        well: boards.well.clone(),
        own: Arc::clone(&boards.own),
    };
    Ok(Rules::start(rules_plan(config, rules), surroundings)?)
}

fn rules_plan(config: &Config, rules: Arc<RuleSet>) -> rules::Plan {
    rules::Plan {
        rules,
        timeout: config.rules.timeout,
        lookback: config.query.lookback_delta,
        limits: config.query.limits(),
        external_url: config.web.external_url.as_deref().unwrap_or_default().to_owned(),
        host: config.host_name.clone(),
    }
}

fn loaded(rules: &Arc<RuleSet>, config: &Config) -> Event {
    let channels = config.notifiers.iter().map(|notifier| notifier.name.clone()).collect();
    Event::Loaded { rules: Arc::clone(rules), channels }
}

fn store_place(shape: Shape, config: &Config) -> anyhow::Result<Place> {
    let dir = history::store_dir(config, shape);
    let config = history::store_config(config, dir, group_id(config)?);
    Ok(Place { disk: Arc::new(RealDisk), config })
}

fn history_settings(
    config: &Config,
    place: Place,
    upkeep: &UpkeepSlot,
    boards: &Boards,
) -> history::Settings {
    history::Settings {
        disk: Arc::new(RealDisk),
        logs: config.logs.clone(),
        place,
        upkeep: Arc::clone(upkeep),
        reader: Arc::clone(&boards.reader),
        board: Arc::clone(&boards.own),
    }
}

/// A server's store is its own affair: where it may write nothing, or another server with the same
/// folder has the store already, it keeps its history in memory.
fn follow_history(
    config: &Config,
    has_data: bool,
    upkeep: &UpkeepSlot,
    boards: &Boards,
) -> anyhow::Result<History> {
    let place = store_place(Shape::Serve, config)?;
    let in_memory = Place::in_memory(place.config.clone());
    if !has_data {
        tracing::warn!(
            data = %config.data.display(),
            "the data folder cannot be written: history is kept in memory, and read from the journal anew at each start"
        );
        return History::following(history_settings(config, in_memory, upkeep, boards));
    }
    let opened = History::following(history_settings(config, place, upkeep, boards));
    match opened {
        Err(error) if is_locked(&error) => {
            tracing::warn!(%error, "history is kept in memory");
            History::following(history_settings(config, in_memory, upkeep, boards))
        }
        opened => opened,
    }
}

fn is_locked(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(farol_store::StoreError::Locked { .. }))
}

/// What was imported is remembered in the journal: it cannot be derived from it.
fn tell_of_imports(core: SyncSender<Event>) -> impl Fn(&str) + Send + 'static {
    move |file| {
        let event = Event::Happened {
            event: Text::from_static("imported"),
            message: format!("the store took in {file}").into(),
        };
        // At the stop the core is gone before the last round.
        core.try_send(event).ok();
    }
}

/// The running program, as the main thread holds it.
struct Program {
    shape: Shape,
    flags: Vec<(String, String)>,
    config: Config,
    boards: Boards,
    source: Source,
    /// Raised once: listeners, probes and the rest that waits for a network end.
    stop: watch::Sender<bool>,
    /// In the shapes that listen.
    door: Option<Watch>,
    /// Ends the probes of the configuration before a reload.
    probes: Option<watch::Sender<bool>>,
    ready: watch::Sender<bool>,
    current: watch::Receiver<Arc<Current>>,
    memory: watch::Receiver<Arc<Memory>>,
    /// Who is told of which alerts, as it is configured.
    routing: watch::Sender<Arc<Routing>>,
    /// Where rules are evaluated.
    channels: Option<Channels>,
    socket: Option<PathBuf>,
    /// In the process that collects, once it lives.
    remedies: Option<Remedies>,
}

impl Program {
    async fn live(
        mut self,
        mut signals: Signals,
        site: farol_web::Site,
        listeners: Vec<TcpListener>,
        control: Option<UnixListener>,
        mut inbox: mpsc::Receiver<farol_web::Command>,
        stopping: watch::Receiver<bool>,
        addresses: &[SocketAddr],
        out: &mut Out,
    ) -> anyhow::Result<()> {
        let commands = site.commands.clone();
        let under_tls = site.door.borrow().door.tls.is_some();
        let door_thread = self.door.as_ref().map(Watch::start).transpose()?;
        self.start_remedies();
        if let Some(listener) = control {
            let remedies = Arc::clone(&self.boards.remedies);
            let answers = serving::answers(site.clone(), commands, remedies);
            tokio::spawn(control::serve(listener, answers));
        }
        let web = tokio::spawn(farol_web::serve(listeners, site, raised(stopping)));
        self.start_probes();
        self.start_channels().await?;
        if self.ticks() {
            tokio::spawn(raise_when_first_ticks_are_in(self.current.clone(), self.ready.clone()));
        } else if self.shape.collects() {
            self.ready.send_replace(true);
        }
        self.say_where(addresses, under_tls, out);
        service::notify(&[sd_notify::NotifyState::Ready]);

        let mut watchdog = tokio::time::interval(service::watchdog_interval());
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hang_up.recv() => {
                    // What went wrong is in the log; a signal has nobody else to tell.
                    self.reload().await.ok();
                }
                Some(command) = inbox.recv() => self.obey(command).await,
                _ = watchdog.tick() => self.feed_watchdog(),
            }
        }

        // What is asked from now on is answered that nobody is there.
        drop(inbox);
        service::notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("stopping");
        service::exit_on_a_second(signals);
        if let Some(path) = &self.socket {
            control::remove(path).ok();
        }
        self.stop.send_replace(true);
        // What it ends is still to be recorded.
        if let Some(remedies) = self.remedies.take() {
            remedies.stop(REMEDY_PATIENCE).await;
        }
        // While there is a core that takes down what they have told.
        if let Some(channels) = self.channels.take() {
            channels.stop().await;
        }
        // On this thread: the requests in flight have others, and those for what waits may all be
        // held by a resolver that does not answer.
        self.source.stop();
        if let Some(thread) = door_thread {
            thread.stop(STOP_PATIENCE);
        }
        if let Err(error) = web.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::error!(%error, "the listener ended badly");
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Whether collectors run in this process.
    fn ticks(&self) -> bool {
        self.shape.collects() && !self.config.collectors.none
    }

    fn say_where(&self, addresses: &[SocketAddr], under_tls: bool, out: &mut Out) {
        for address in addresses {
            let address = serving::web_address(*address, under_tls);
            out.line(format!("farol listening on {address}"));
        }
        if addresses.is_empty() && self.shape.listens() {
            out.line("farol running without a port, as listen is empty");
        }
        if let (Shape::Collect, Some(socket)) = (self.shape, &self.socket) {
            out.line(format!("farol collecting; control socket at {}", socket.display()));
        }
        out.flush();
    }

    async fn obey(&mut self, command: farol_web::Command) {
        match command {
            farol_web::Command::Reload { reply } => {
                // Whoever asked may have gone.
                let result = self.reload().await;
                reply.send(result.map_err(|error| format!("{error:#}"))).ok();
            }
            farol_web::Command::Write { batch, reply } => {
                self.source.hand_over(Event::Received { batch, ack: reply });
            }
            farol_web::Command::Silence { draft, reply } => {
                let memory = self.memory.borrow().clone();
                let (host, now) = (&self.current.borrow().host, clock::now());
                let change = silencing::set(&memory, draft, host, now);
                silencing::remember(change, reply, |record, ack| {
                    self.source.hand_over(Event::Remember { record, ack });
                });
            }
            farol_web::Command::Expire { id, reply } => {
                let memory = self.memory.borrow().clone();
                let (host, now) = (&self.current.borrow().host, clock::now());
                let ended = silences::expire(&memory, &id, host, now);
                let change = ended.map(|ended| ((), ended.into_iter().collect()));
                silencing::remember(change, reply, |record, ack| {
                    self.source.hand_over(Event::Remember { record, ack });
                });
            }
        }
    }

    /// Reads the configuration again. Everything is built before anything is changed.
    async fn reload(&mut self) -> anyhow::Result<()> {
        service::notify(&[sd_notify::NotifyState::Reloading]);
        let result = self.try_reload().await;
        if let Err(error) = &result {
            tracing::error!(error = format!("{error:#}"), "the new configuration was not taken");
        }
        let succeeded = result.is_ok();
        self.boards.own.update(|figures| {
            figures.config_reload_succeeded = Some(succeeded);
            figures.config_reload_at = Some(clock::now());
        });
        service::notify(&[sd_notify::NotifyState::Ready]);
        result
    }

    async fn try_reload(&mut self) -> anyhow::Result<()> {
        let mut loaded = config::from_process(self.flags.clone())?;
        let needs_restart = needs_restart(&self.config, &loaded.config);
        if loaded.config.collectors.none != self.config.collectors.none {
            // Lanes neither begin nor end while the program runs.
            loaded.config.collectors = self.config.collectors.clone();
        }
        let plans = parts::plans(&loaded.config, &self.boards)?;
        let rule_set = load_rules(self.shape, &loaded.config, &self.boards)?;
        let opened = self.door.as_ref().map(|door| door.prepare(&loaded.config)).transpose()?;
        if let (Some(door), Some(opened)) = (&self.door, opened) {
            for warning in &opened.warnings {
                tracing::warn!("{warning}");
            }
            door.replace(&loaded.config.door, opened);
        }
        for key in needs_restart {
            tracing::warn!(key, "this change needs a restart; the rest is taken");
        }
        if let Source::Collecting { samplers, core, rules, .. } = &self.source {
            threads::send_within(
                core,
                crate::run::loaded(&rule_set, &loaded.config),
                STOP_PATIENCE,
            );
            rules.replace(rules_plan(&loaded.config, rule_set));
            for (sampler, plan) in samplers.iter().zip(plans) {
                sampler.replace(plan);
            }
            let event = Event::Happened {
                event: Text::from_static("reloaded"),
                message: "the configuration was read again".into(),
            };
            core.try_send(event).ok();
        }
        self.routing.send_replace(Arc::new(routing::routing(&loaded.config)));
        if let Some(channels) = &mut self.channels {
            channels.apply(&loaded.config).await?;
        }
        self.config = loaded.config;
        if let Some(remedies) = &self.remedies {
            remedies.replace(&self.config);
        }
        *self.boards.shown.lock().unwrap_or_else(PoisonError::into_inner) = loaded.effective;
        self.start_probes();
        tracing::info!("configuration reloaded");
        Ok(())
    }

    /// Whoever collects also tells.
    async fn start_channels(&mut self) -> anyhow::Result<()> {
        let Source::Collecting { core, .. } = &self.source else { return Ok(()) };
        let remember = Remember::new(core.clone());
        let board = Arc::<farol_act::notify::Board>::default();
        let mut channels = Channels::new(channels::Surroundings {
            memory: self.memory.clone(),
            routing: self.routing.subscribe(),
            records: channels::records(remember),
            well: self.boards.well.subscribe(),
            board: Arc::clone(&board),
        });
        channels.apply(&self.config).await?;
        tokio::spawn(channels::show(board, Arc::clone(&self.boards.own), self.stop.subscribe()));
        self.channels = Some(channels);
        Ok(())
    }

    /// Only where there is a core that journals what is intended.
    fn start_remedies(&mut self) {
        let Source::Collecting { core, .. } = &self.source else { return };
        let evaluator = Evaluator {
            board: Arc::clone(&self.boards.rules),
            reader: Arc::clone(&self.boards.reader),
            timeout: self.config.rules.timeout,
            lookback: self.config.query.lookback_delta,
            limits: self.config.query.limits(),
        };
        let remember = Remember::new(core.clone());
        let memory = self.memory.clone();
        let own = Arc::clone(&self.boards.own);
        let value = evaluator.value_reader();
        let remedies = Remedies::start(&self.config, memory, remember, value, own);
        self.boards.remedies.set(remedies.desk()).ok();
        self.remedies = Some(remedies);
    }

    /// Ends the probes that run, and starts those of the configuration.
    fn start_probes(&mut self) {
        // Nobody would ask for their results.
        if !self.ticks() {
            return;
        }
        let (stop, stopping) = watch::channel(false);
        if let Some(old) = self.probes.replace(stop) {
            old.send_replace(true);
        }
        probes::start(&self.config, &self.boards.probes, stopping);
    }

    /// The service manager's watchdog is fed only while data is young.
    fn feed_watchdog(&self) {
        let current = self.current.borrow();
        let now = clock::now();
        let is_fresh = current.newest(now).is_none_or(|snapshot| !snapshot.is_stale(now));
        if is_fresh || !self.shape.collects() {
            service::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }
}

/// Keys whose new value the running program cannot take.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let changes = [
        ("listen", old.listen != new.listen),
        ("data", old.data != new.data),
        ("logs", old.logs != new.logs),
        ("group", old.group != new.group),
        ("web", old.web != new.web),
        ("journal", old.journal != new.journal),
        ("store", old.store != new.store),
        ("query", old.query != new.query),
        ("collectors.none", old.collectors.none != new.collectors.none),
        ("log", old.log != new.log),
    ];
    changes.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

async fn raised(mut flag: watch::Receiver<bool>) {
    // An error means the sender is gone, which is a stop as well.
    flag.wait_for(|raised| *raised).await.ok();
}

async fn raise_when_first_ticks_are_in(
    mut current: watch::Receiver<Arc<Current>>,
    ready: watch::Sender<bool>,
) {
    let is_whole = |current: &Arc<Current>| current.lanes.iter().all(Option::is_some);
    if current.wait_for(is_whole).await.is_ok() {
        ready.send_replace(true);
    }
}

/// Folders that hold what is written. False when there is no place for the control socket.
fn prepare_folders(shape: Shape, config: &Config) -> anyhow::Result<bool> {
    let create = |folder: &Path, flag: &str| {
        std::fs::create_dir_all(folder).with_context(|| {
            let folder = folder.display();
            format!("cannot create the folder {folder}; choose another with {flag}")
        })
    };
    if shape.collects() {
        create(&config.data, "--data")?;
        // A full disk is no reason not to start; the journal says what is wrong with the folder.
        create(&config.logs, "--logs")
            .or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })?;
        return Ok(true);
    }
    Ok(create(&config.data, "--data").is_ok() && is_writable(&config.data))
}

fn is_full(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(farol_disk::is_full)
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn log_settings(shape: Shape, config: &Config) -> logging::Settings {
    let file = config.logs.join(format!("farol-{}.log", shape.name()));
    logging::Settings {
        level: config.log.level,
        format: config.log.format,
        file: config.log.file.then_some(file),
        max_size: config.log.max_size,
        keep: config.log.keep,
    }
}

fn announce(shape: Shape, loaded: &Loaded, log: &str, out: &mut Out) {
    // Into a file nobody looks at the start; `docker logs` and `journalctl` show what is said here.
    let to_file = !log.starts_with("standard ");
    let looks = shape.collects() && !loaded.config.collectors.none;
    let doubts = if looks { parts::doubts(loaded) } else { Vec::new() };
    for warning in loaded.warnings.iter().chain(&doubts) {
        tracing::warn!("{warning}");
        if to_file {
            complain(format!("farol: warning: {warning}"));
        }
    }
    if to_file {
        out.line(format!("farol logging to {log}"));
    }
    let config = &loaded.config;
    let file = loaded.file.as_ref().map_or("none".into(), |file| file.display().to_string());
    tracing::info!(
        version = crate::cli::VERSION,
        command = shape.name(),
        configuration = file,
        logs = %config.logs.display(),
        data = %config.data.display(),
        log,
        "starting"
    );
    if rustix::process::geteuid().is_root() && shape == Shape::Serve {
        tracing::warn!("serve runs as root; it needs no privilege, give it a user of its own");
    }
}

/// Raises the soft limit to the hard one, as Go programs do: it is low for the sake of select(2),
/// which nothing here uses, and the collectors keep files open for as much as it allows. No program
/// is started that would inherit it.
fn open_as_many_files_as_may_be() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it was");
    }
}

/// The number of the group that may read the journal.
pub fn group_id(config: &Config) -> anyhow::Result<Option<u32>> {
    match &config.group {
        None => Ok(None),
        Some(Group::Id(id)) => Ok(Some(*id)),
        Some(Group::Name(name)) => config::group_by_name(name)
            .map(Some)
            .with_context(|| format!("group: there is no group {name:?} in /etc/group")),
    }
}

pub(crate) const REVISION: &str = match option_env!("FAROL_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
pub(crate) const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");
