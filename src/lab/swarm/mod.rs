//! A swarm: many gateways of one fleet at one broker. How far does a bad bundle come, and what does a dead broker cost?
//!
//! In: how many gateways, a seed. Out: a table or one JSON object, and an exit code that says whether every promise
//! held: a good bundle reaches all, wave by wave; a bad one reaches the canaries and the first wave, and every gateway
//! comes back by itself; after the broker is back nobody storms it.
//!
//! Real are the broker (mosquitto, client certificates, access lists), configuration, folder, boot, member, post and
//! uplink of every gateway, and the operator's push and guard. Simulated are the bedside, the store (in memory) and
//! the clock's reference. Trials and waves are shorter by what files and documents may say, by nothing else.

mod broker;
mod course;
mod documents;
mod figures;
mod gateway;
mod phases;
mod tally;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use self::broker::Broker;
use self::course::Course;
use self::documents::{GROUP, ORGANISATION, Signer};
use self::figures::Figures;
use self::gateway::{Running, Ward};
use self::tally::{Steered, Tally};
use super::bench::{Folder, say};
use super::pki::{Pair, Pki, Validity};
use crate::fleet::operator::Desk;
use crate::host::atomic_file;
use crate::host::clock::SystemClock;
use crate::host::supervisor::Supervisor;
use crate::time::Clock;
use crate::uplink::Stop;

/// Where files live in memory on Linux.
const MEMORY: &str = "/dev/shm";
/// Threads that run the gateways: as many as the machine that is promised has cores.
const WORKERS: usize = 2;
/// Threads that wait for the disk for them.
const DISK_THREADS: usize = 8;
/// Open files beside one connection of each gateway.
const SPARE_FILES: u64 = 256;

/// How many, how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Gateways, all of one group
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(10..=4_000))]
    pub gateways: u16,
    /// Another seed has other jitter and other keys
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The shortest trials that a gateway allows, and one short outage: within a minute for fifty
    #[arg(long)]
    pub fast: bool,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// A folder for the gateways' files; by default in memory, where there is such a place
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// Runs it.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let place = Path::new(MEMORY);
    let place = options.folder.as_deref().or(place.is_dir().then_some(place));
    let folder = Folder::new(place)?;
    let figures = measure(options, &folder.0)?;
    let text = if options.json { serde_json::to_string(&figures)? } else { figures.table() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if figures.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(options: &Options, folder: &Path) -> anyhow::Result<Figures> {
    let mut swarm = Swarm::new(options, folder)?;
    swarm.boot()?;
    say("a good bundle");
    swarm.good()?;
    swarm.rest()?;
    say("a bad bundle");
    swarm.bad()?;
    swarm.outages()?;
    Ok(swarm.end())
}

/// Everything that runs.
struct Swarm {
    course: Course,
    names: Vec<String>,
    pairs: Vec<Pair>,
    ward: Ward,
    broker: Broker,
    desk: Desk,
    signer: Signer,
    tally: Tally,
    seats: Vec<Running>,
    figures: Figures,
    /// Held: without it the gateways end.
    _stop: watch::Sender<Stop>,
    supervisor: Supervisor,
    runtime: Runtime,
}

impl Swarm {
    fn new(options: &Options, folder: &Path) -> anyhow::Result<Self> {
        let gateways = usize::from(options.gateways);
        allow_files(u64::from(options.gateways))?;
        let course = if options.fast { Course::fast() } else { Course::full() };
        let clock: Arc<dyn Clock> = Arc::new(Steered(SystemClock::default()));
        let tally = Tally::new(Arc::clone(&clock));
        let names: Vec<String> = (0..gateways).map(gateway::name).collect();
        say("certificates");
        let pki = Pki::create(&folder.join("pki"))?;
        let pairs =
            names.iter().map(|name| pki.client(name, Validity::Now)).collect::<Result<Vec<_>, _>>()?;
        let broker = Broker::start(folder, &pki)?;
        let files = folder.join("files");
        write_files(&files, folder, &course, broker.port)?;
        let desk = Desk::open(folder, (ORGANISATION, GROUP), &names)?;
        let signer = Signer::new(options.seed, names.clone(), clock.now().wall)?;
        let (stop, stopped) = watch::channel(Stop::Run);
        let ward = Ward {
            files,
            folders: folder.join("gateways"),
            root: signer.root().to_vec(),
            gateways,
            seed: options.seed,
            reading: course.reading,
            tally: tally.clone(),
            clock,
            stop: stopped,
        };
        atomic_file::create_folder(&ward.folders)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(DISK_THREADS)
            .enable_all()
            .build()?;
        Ok(Self {
            figures: Figures::new(gateways, options.seed, options.fast),
            course,
            names,
            pairs,
            ward,
            broker,
            desk,
            signer,
            tally,
            seats: Vec::new(),
            _stop: stop,
            supervisor: Supervisor::new(),
            runtime,
        })
    }

    /// What became of the parts of the gateways: none of them may have ended.
    fn end(mut self) -> Figures {
        let end = {
            let _within = self.runtime.enter();
            self.supervisor.next_end().now_or_never().flatten()
        };
        let detail = end.as_ref().map_or_else(|| "none did".to_owned(), |end| format!("{end:?}"));
        self.figures.promise("no part of a gateway ends", end.is_none(), detail);
        self.figures.broker_memory_mib = self.broker.memory();
        self.figures
    }
}

/// The files that all gateways have in common; what is each one's own is in its environment.
fn write_files(files: &Path, folder: &Path, course: &Course, port: u16) -> anyhow::Result<()> {
    atomic_file::create_folder(files)?;
    let Course { trial, heartbeat: beat, ceiling, .. } = course;
    let place = folder.display();
    // The certificate, the key, the id and the fleet's folder are of nobody here.
    let gateway = format!(
        "devices = \"none\"\n[gateway]\norganisation = \"{ORGANISATION}\"\ngroup = \"{GROUP}\"\nid = \"nobody\"\n\
         [uplink]\nhost = \"127.0.0.1\"\nport = {port}\nauthorities = \"{place}/pki/ca.pem\"\n\
         certificate = \"{place}/nobody.pem\"\nkey = \"{place}/nobody.key\"\npayload = \"cbor\"\n\
         require_subscriber = false\nheartbeat = \"{beat}s\"\nbackoff_most = \"{ceiling}s\"\n\
         [store]\nfolder = \"{place}/store\"\n[keys]\nkek = \"{place}/kek\"\nward = \"{place}/ward\"\n\
         [status]\nsocket = \"{place}/status.sock\"\n[fleet]\nfolder = \"{place}/nobody\"\ntrial = \"{trial}s\"\n"
    );
    atomic_file::write(&files.join(crate::config::GATEWAY_FILE), gateway.as_bytes())?;
    let floor = format!("trial = \"{trial}s\"\n");
    Ok(atomic_file::write(&files.join(crate::config::FLOOR_FILE), floor.as_bytes())?)
}

/// Lets this process, and the broker after it, have a connection for each gateway.
fn allow_files(gateways: u64) -> anyhow::Result<()> {
    let wanted = gateways.saturating_add(SPARE_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    anyhow::ensure!(
        maximum.is_none_or(|maximum| maximum >= wanted),
        "{wanted} open files are needed, this machine allows {}: raise `ulimit -Hn`",
        maximum.unwrap_or_default()
    );
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?)
}
