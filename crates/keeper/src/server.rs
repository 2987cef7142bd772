//! A member with its client edge, as the files of ZooKeeper's operators ask for it.
//!
//! Prevents half-starts and mixed-up data: ports, the lock on the folder and the member's own files
//! are checked before anything is promised, and a folder that holds data of Apache ZooKeeper is not
//! taken for an empty one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::{Event, Observe};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::disk::Folder;
use crate::log::Limits;
use crate::member::{Member, MemberConfig, MemberError, NOWHERE, PeerConfig, Snapshots};
use crate::network::Tcp;
use crate::replica::{DiskStanding, Replica as _, Standing};
use crate::serve::{Desk, Users, serve, wall_ms};
use crate::snapshot::SnapshotError;
use crate::tls::{MembersTls, Tls, TlsSettings, WrongStore};
use crate::zoo_cfg::{Mistake, ZooCfg, jaas_users, my_id};
use crate::zookeeper::ImportError;

mod removal;

pub use removal::{MovedIn, MovedOut, move_in, move_out};

mod doors;

use doors::Doors;

/// Where a member's own files lie, below the folder that `zoo.cfg` names.
pub const FOLDER: &str = "mainstay";
/// Where Apache ZooKeeper's files lie, below the same folder.
const FOLDER_OF_ZOOKEEPER: &str = "version-2";
/// Held while a member runs, so that no second one writes to the same files.
const LOCK: &str = "lock";
/// How long connections may take to let go of the member that ends.
const LET_GO_MAX: Duration = Duration::from_secs(5);
const LET_GO_STEP: Duration = Duration::from_millis(1);
/// How often it is looked who leads, to tell about it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a server is told at its start.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// `zoo.cfg`, with the properties of the command line.
    pub zoo: ZooCfg,
    /// This member's number: what `myid` says.
    pub member: i64,
    /// Who may prove themselves by SASL: what the JAAS file says.
    pub users: Users,
    /// How clients come by TLS, if they do.
    pub tls: Option<TlsSettings>,
    /// How members do.
    pub members_tls: Option<MembersTls>,
}

/// Why the files do not say what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do about it.
        help: &'static str,
    },
    /// A file is wrong: all its mistakes.
    Wrong(PathBuf, Vec<Mistake>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source, help } => {
                write!(f, "cannot read {}: {source}; {help}", file.display())
            },
            Self::Wrong(file, mistakes) => {
                write!(f, "{} cannot be used:", file.display())?;
                mistakes.iter().try_for_each(|one| write!(f, "\n  {one}"))
            },
        }
    }
}

impl std::error::Error for ConfigError {}

impl ServerConfig {
    /// Reads `zoo.cfg`, `myid` and the JAAS file that they name. `properties` are those that the
    /// Java server takes on its command line; they count more than the file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the file, the line and what to do.
    pub fn read(file: &Path, properties: &[(String, String)]) -> Result<Self, ConfigError> {
        let text = readable(file, "give the path of a zoo.cfg")?;
        let zoo = ZooCfg::read_with(&text, properties);
        let mut zoo = zoo.map_err(|mistakes| ConfigError::Wrong(file.to_owned(), mistakes))?;
        if let Some(list) = zoo.dynamic_config.clone() {
            let text = readable(&list, "let dynamicConfigFile name the list of members")?;
            let taken = zoo.take_members(&text);
            taken.map_err(|mistakes| ConfigError::Wrong(list, mistakes))?;
        }
        let member = if zoo.members.is_empty() {
            1
        } else {
            let file = zoo.data_dir.join("myid");
            let help = "write this member's number into it, the N of its line server.N";
            let number = my_id(&readable(&file, help)?);
            number.map_err(|mistake| ConfigError::Wrong(file, vec![mistake]))?
        };
        let help = "name a JAAS file that this user can read";
        let users = zoo
            .proof
            .jaas_file
            .as_deref()
            .map(|file| readable(file, help));
        let users = users.transpose()?.unwrap_or_default();
        let wrong = |mistake| ConfigError::Wrong(file.to_owned(), vec![mistake]);
        let tls = zoo.tls().map_err(wrong)?;
        let members_tls = zoo.members_tls().map_err(wrong)?;
        Ok(Self {
            zoo,
            tls,
            members_tls,
            member,
            users: jaas_users(&users),
        })
    }

    /// Where the member's own files lie: with the log, since that is what has to be fast.
    pub fn folder(&self) -> PathBuf {
        let zoo = &self.zoo;
        let data = zoo.data_log_dir.as_ref().unwrap_or(&zoo.data_dir);
        data.join(FOLDER)
    }

    fn peers(&self) -> BTreeMap<u64, PeerConfig> {
        let peer = |address, line| PeerConfig { address, line };
        if self.zoo.members.is_empty() {
            let alone = peer(NOWHERE.to_owned(), String::new());
            return [(self.member.cast_unsigned(), alone)].into();
        }
        let members = self.zoo.members.iter();
        members
            .map(|(id, member)| {
                (
                    id.cast_unsigned(),
                    peer(member.address(), member.to_string()),
                )
            })
            .collect()
    }
}

fn readable(file: &Path, help: &'static str) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
        help,
    })
}

/// An address of IPv6 has colons itself, and stands in brackets.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Why a server does not start, or stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// It cannot listen.
    Listen {
        /// Where.
        at: String,
        /// The key of `zoo.cfg` that says so.
        key: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// A key store or a trust store is wrong.
    Tls(WrongStore),
    /// Its folder cannot be used.
    Folder(PathBuf, io::Error),
    /// Another process uses its folder.
    Locked(PathBuf),
    /// Its folder holds data of Apache ZooKeeper and none of its own.
    NotImported(PathBuf),
    /// Its folder holds data already, which an import would replace.
    NotEmpty(PathBuf),
    /// What another server left cannot be imported.
    Import(ImportError),
    /// A snapshot cannot be written or read.
    Snapshot(SnapshotError),
    /// The member did not start, or stopped.
    Member(MemberError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { at, key, error } => {
                write!(f, "cannot listen at {at}: {error}; ")?;
                write!(f, "set {key} and {key}Address to what is free")
            },
            Self::Tls(wrong) => write!(f, "{wrong}"),
            Self::Folder(folder, error) => {
                write!(f, "cannot use the folder {}: {error}; ", folder.display())?;
                write!(f, "set dataDir to one that this user may write to")
            },
            Self::Locked(folder) => {
                let folder = folder.display();
                write!(f, "another process uses the folder {folder}; end it first")
            },
            Self::NotImported(folder) => write!(
                f,
                "{} holds data of Apache ZooKeeper: move it here with `mainstay keeper import`, \
                 or set dataDir to an empty folder",
                folder.display()
            ),
            Self::NotEmpty(folder) => write!(
                f,
                "{} holds data of this member already: an import would replace them; remove the \
                 folder if they are not needed any more",
                folder.display()
            ),
            Self::Import(error) => write!(f, "{error}"),
            Self::Snapshot(error) => write!(f, "{error}"),
            Self::Member(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ServerError {}

/// A member with its client edge, which runs since [`start`](Self::start).
#[derive(Debug)]
pub struct Server {
    desk: Arc<Desk>,
    member: Arc<Member<Folder>>,
    doors: Doors,
    /// What members know each other by, if they do.
    guard: Option<Arc<Tls>>,
    number: u64,
    lock: File,
}

impl Server {
    /// Starts the member and listens for clients; they are served by [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`ServerError`]; nothing is left running then.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let doors = Doors::open(&config).await?;
        let zoo = &config.zoo;
        let folder = config.folder();
        if !folder.exists() && zoo.data_dir.join(FOLDER_OF_ZOOKEEPER).exists() {
            return Err(ServerError::NotImported(zoo.data_dir.clone()));
        }
        let (disk, lock) = open(&folder)?;
        let desk = Desk::new(zoo.settings(config.member, config.users.clone()));
        let (network, guard) = network(config.members_tls.as_ref(), &desk)?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)
            .map_err(|error| ServerError::Folder(folder, io::Error::other(error)))?;
        let member = MemberConfig {
            // ZooKeeper's files give an ensemble no name.
            cluster: "zookeeper".to_owned(),
            member: config.member.cast_unsigned(),
            members: config.peers(),
            log: Limits::default(),
            snapshots: Snapshots::default(),
            enforce_quota: zoo.enforce_quota,
            seed: u64::from_ne_bytes(seed),
            time_ms: wall_ms,
        };
        let member = Member::start(member, disk, network, desk.sink()).await;
        Ok(Self {
            desk,
            member: Arc::new(member.map_err(ServerError::Member)?),
            doors,
            guard,
            number: config.member.cast_unsigned(),
            lock,
        })
    }

    /// Where clients come to.
    pub const fn address(&self) -> SocketAddr {
        self.doors.address
    }

    /// Serves clients until `shutdown`, then leaves the lead to another member and stops.
    ///
    /// # Errors
    ///
    /// [`ServerError::Member`] when the member stopped because it could not keep what it promised.
    pub async fn run(
        self,
        observer: impl Observe,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let number = self.number;
        observer.observe(Event::KeeperStarted {
            member: number,
            listen: self.doors.address.to_string(),
        });
        let ended = self.serve(&observer, shutdown).await;
        observer.observe(match &ended {
            Ok(()) => Event::KeeperStopped { member: number },
            Err(error) => Event::KeeperFailed {
                member: number,
                detail: error.to_string(),
            },
        });
        ended
    }

    async fn serve(
        self,
        observer: &impl Observe,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let Self {
            desk,
            member,
            doors,
            guard,
            number,
            lock,
        } = self;
        let ended = tokio::select! {
            never = serve(Arc::clone(&desk), Arc::clone(&member), doors.clients) => match never {},
            never = keep_fresh(guard, &desk) => match never {},
            never = tell(number, &member, observer) => match never {},
            error = member.failed() => Err(ServerError::Member(error)),
            () = shutdown => Ok(()),
        };
        if let Some(member) = alone(member).await {
            member.stop().await;
        }
        drop(lock);
        ended
    }
}

/// How members come to each other.
fn network(
    tls: Option<&MembersTls>,
    desk: &Arc<Desk>,
) -> Result<(Tcp, Option<Arc<Tls>>), ServerError> {
    let Some(MembersTls {
        settings,
        is_spoken,
    }) = tls
    else {
        return Ok((Tcp::default(), None));
    };
    let tls = Tls::load(settings.clone()).map_err(ServerError::Tls)?;
    let faults = Arc::downgrade(desk);
    let tell = move |why: &dyn fmt::Display| {
        if let Some(desk) = faults.upgrade() {
            desk.fault(why);
        }
    };
    let network = Tcp::guarded(Arc::clone(&tls), *is_spoken, tell);
    Ok((network, Some(tls)))
}

async fn keep_fresh(guard: Option<Arc<Tls>>, desk: &Desk) -> Infallible {
    match guard {
        Some(tls) => tls.keep_fresh(|wrong| desk.fault(&wrong)).await,
        None => std::future::pending().await,
    }
}

/// Tells who leads, whenever that changes.
#[expect(
    clippy::infinite_loop,
    reason = "the type says that it does not end; the lint knows `!` only"
)]
async fn tell(number: u64, member: &Member<Folder>, observer: &impl Observe) -> Infallible {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was = Standing::default();
    loop {
        look.tick().await;
        let is = member.standing();
        for event in events(number, was, is) {
            observer.observe(event);
        }
        was = is;
    }
}

/// What there is to tell of a change.
fn events(member: u64, was: Standing, is: Standing) -> impl Iterator<Item = Event> {
    let disk = (was.disk != is.disk).then(|| of_the_disk(member, is.disk));
    let is_led_otherwise = was
        != Standing {
            disk: was.disk,
            ..is
        };
    let lead = is_led_otherwise.then(|| of_the_lead(member, was, is));
    disk.into_iter().chain(lead.flatten())
}

fn of_the_lead(member: u64, was: Standing, is: Standing) -> Option<Event> {
    match (was.leader, is.leader) {
        (_, Some(leader)) => Some(Event::KeeperRoleChanged {
            member,
            role: role(is).to_owned(),
            leader,
            term: is.term,
        }),
        (Some(_), None) => Some(Event::KeeperQuorumLost { member }),
        (None, None) => None,
    }
}

fn of_the_disk(member: u64, disk: DiskStanding) -> Event {
    let detail = match disk {
        DiskStanding::Fine => return Event::KeeperDiskRecovered { member },
        DiskStanding::Full => {
            "the disk is full; make room where dataLogDir or dataDir lies, and it goes on by itself"
        },
        DiskStanding::Hangs => {
            "the disk has made nothing durable for three seconds; look at what else writes to it"
        },
    };
    Event::KeeperDiskBlocked {
        member,
        detail: detail.to_owned(),
    }
}

const fn role(standing: Standing) -> &'static str {
    match (standing.is_leader, standing.is_observer) {
        (true, _) => "leader",
        (false, true) => "observer",
        (false, false) => "follower",
    }
}

/// The member, once the last connection has let go of it.
async fn alone(mut member: Arc<Member<Folder>>) -> Option<Member<Folder>> {
    let end = Instant::now() + LET_GO_MAX;
    loop {
        member = match Arc::try_unwrap(member) {
            Ok(member) => return Some(member),
            Err(shared) => shared,
        };
        if Instant::now() >= end {
            return None;
        }
        sleep(LET_GO_STEP).await;
    }
}

/// The member's own folder, and the lock on it.
fn open(folder: &Path) -> Result<(Folder, File), ServerError> {
    let failed = |error| ServerError::Folder(folder.to_owned(), error);
    // The lock lies beside what the member calls its disk, where every file has a meaning.
    let disk = Folder::new(folder.join("data")).map_err(failed)?;
    let lock = File::create(folder.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok((disk, lock)),
        Err(TryLockError::WouldBlock) => Err(ServerError::Locked(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests;
