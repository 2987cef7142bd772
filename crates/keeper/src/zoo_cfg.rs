//! `zoo.cfg` and `myid`: the files that operators of ZooKeeper have.
//!
//! Prevents a migration that begins with writing configuration anew, and a typing error that
//! nobody notices: every mistake is reported with its line and key, and what is not known is kept
//! and named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::serve::{Settings, Users, WithoutQuorum};
use crate::tls::{MembersTls, TlsSettings};

mod member;
mod proof;

pub use member::Member;
pub use proof::Proof;

/// What `zoo.cfg` says.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the file"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooCfg {
    /// The unit of time, in milliseconds.
    pub tick_ms: u32,
    /// Where snapshots lie, and `myid`.
    pub data_dir: PathBuf,
    /// Where the log lies, if elsewhere.
    pub data_log_dir: Option<PathBuf>,
    /// The port of clients.
    pub client_port: Option<u16>,
    /// The address of that port.
    pub client_address: Option<String>,
    /// The port of clients that come by TLS.
    pub secure_client_port: Option<u16>,
    /// The address of that port.
    pub secure_client_address: Option<String>,
    /// The port of the page for operators; zero for none, `None` for ZooKeeper's if that is free.
    pub admin_port: Option<u16>,
    /// The address of that port.
    pub admin_address: Option<String>,
    /// The file's own text, without passwords.
    pub text: String,
    /// Most connections of one address; `None` for any number.
    pub connections_of_address_max: Option<NonZeroUsize>,
    /// Shortest timeout of sessions, in milliseconds.
    pub timeout_min_ms: i32,
    /// Longest timeout of sessions, in milliseconds.
    pub timeout_max_ms: i32,
    /// Ticks that a follower has to connect.
    pub init_limit: u32,
    /// Ticks that a follower may be behind.
    pub sync_limit: u32,
    /// Four-letter words that are answered; `None` for all.
    pub words: Option<BTreeSet<String>>,
    /// Whether members may be changed.
    pub reconfig_enabled: bool,
    /// No change leaves fewer members with a vote: one, when `standaloneEnabled` is not set.
    pub voters_min: usize,
    /// What this member does for its clients when it has no quorum.
    pub without_quorum: WithoutQuorum,
    /// Where the list of members is, if in a file of its own.
    pub dynamic_config: Option<PathBuf>,
    /// Whether hard limits of quotas are kept.
    pub enforce_quota: bool,
    /// Whether this member has no vote.
    pub is_observer: bool,
    /// Longest message, in bytes.
    pub message_bytes_max: usize,
    /// How clients prove who they are.
    pub proof: Proof,
    /// The members by number.
    pub members: BTreeMap<i64, Member>,
    /// Containers and nodes with a time to live are looked through this often, in milliseconds.
    pub container_check_ms: u32,
    /// Keys about TLS, as they stand there; [`ZooCfg::tls`] and [`ZooCfg::members_tls`] understand
    /// them.
    pub tls: BTreeMap<String, String>,
    /// Keys that mean nothing here, with their values: tuning of the Java server.
    pub unknown: BTreeMap<String, String>,
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Its line, from one; zero when something is missing.
    pub line: usize,
    /// The key.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, key, what } = self;
        match line {
            0 => write!(f, "{key}: {what}"),
            _ => write!(f, "line {line}: {key}: {what}"),
        }
    }
}

impl std::error::Error for Mistake {}

/// One line: where it is and what it says.
struct Line<'a> {
    number: usize,
    key: &'a str,
    value: &'a str,
}

impl Line<'_> {
    fn wrong(&self, what: impl Into<String>) -> Mistake {
        Mistake {
            line: self.number,
            key: self.key.to_owned(),
            what: what.into(),
        }
    }

    fn number<T: std::str::FromStr>(&self) -> Result<T, Mistake> {
        let wrong = |_| self.wrong(format!("{:?} is no number that fits here", self.value));
        self.value.parse().map_err(wrong)
    }

    fn switch(&self) -> Result<bool, Mistake> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" | "yes" => Ok(true),
            "false" | "no" => Ok(false),
            other => Err(self.wrong(format!("{other:?} is neither true nor false"))),
        }
    }
}

impl ZooCfg {
    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// All mistakes.
    pub fn read(text: &str) -> Result<Self, Vec<Mistake>> {
        Self::read_with(text, &[])
    }

    /// Reads the file's text, and the properties that the Java server takes on its command line:
    /// they have the same keys, behind `zookeeper.`, and count more than the file.
    ///
    /// # Errors
    ///
    /// All mistakes.
    pub fn read_with(text: &str, properties: &[(String, String)]) -> Result<Self, Vec<Mistake>> {
        let mut config = Self::new(PathBuf::new());
        let is_open = |line: &&str| !line.to_ascii_lowercase().contains("password");
        config.text = text
            .lines()
            .filter(is_open)
            .map(|line| line.to_owned() + "\n")
            .collect();
        let mut mistakes = Vec::new();
        let mut timeouts = (None, None);
        let lines = text.lines().zip(1..).filter_map(|(line, number)| {
            let line = line.trim();
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let (key, value) = (key.trim(), value.trim());
            let says = !line.is_empty() && !line.starts_with(['#', '!']);
            says.then_some(Line { number, key, value })
        });
        let properties = properties.iter().map(|(key, value)| Line {
            number: 0,
            key,
            value,
        });
        for line in lines.chain(properties) {
            if let Err(mistake) = config.set(&line, &mut timeouts) {
                mistakes.push(mistake);
            }
        }
        let tick_ms = i32::try_from(config.tick_ms).unwrap_or(i32::MAX);
        config.timeout_min_ms = timeouts.0.unwrap_or_else(|| tick_ms.saturating_mul(2));
        config.timeout_max_ms = timeouts.1.unwrap_or_else(|| tick_ms.saturating_mul(20));
        config.check(&mut mistakes);
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(mistakes)
        }
    }

    /// Takes the members that a file of its own names, as ZooKeeper writes it: nothing else stands
    /// there but their version.
    ///
    /// # Errors
    ///
    /// All mistakes.
    pub fn take_members(&mut self, text: &str) -> Result<(), Vec<Mistake>> {
        let named = Self::read(&format!("dataDir=.\nclientPort=1\n{text}"))?;
        let mut mistakes = Vec::new();
        for key in named.unknown.keys().filter(|key| *key != "version") {
            mistakes.push(Mistake {
                line: 0,
                key: key.clone(),
                what: "does not belong into a list of members".to_owned(),
            });
        }
        self.members.extend(named.members);
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes)
        }
    }

    /// What is so when a file says nothing but where data lie.
    pub fn new(data_dir: PathBuf) -> Self {
        let edge = Settings::default();
        Self {
            tick_ms: edge.tick_ms,
            data_dir,
            data_log_dir: None,
            client_port: None,
            client_address: None,
            secure_client_port: None,
            secure_client_address: None,
            admin_port: None,
            admin_address: None,
            text: String::new(),
            connections_of_address_max: edge.connections_of_address_max,
            timeout_min_ms: edge.timeout_min_ms,
            timeout_max_ms: edge.timeout_max_ms,
            init_limit: 10,
            sync_limit: 5,
            words: edge.words,
            reconfig_enabled: false,
            voters_min: edge.voters_min,
            without_quorum: edge.without_quorum,
            dynamic_config: None,
            enforce_quota: false,
            is_observer: false,
            message_bytes_max: edge.message_bytes_max,
            proof: Proof::default(),
            members: BTreeMap::new(),
            container_check_ms: edge.container_check_ms,
            tls: BTreeMap::new(),
            unknown: BTreeMap::new(),
        }
    }

    fn set(
        &mut self,
        line: &Line<'_>,
        timeouts: &mut (Option<i32>, Option<i32>),
    ) -> Result<(), Mistake> {
        // Java's properties of the same meaning begin so.
        match line.key.strip_prefix("zookeeper.").unwrap_or(line.key) {
            "tickTime" => self.tick_ms = line.number()?,
            "dataDir" => self.data_dir = line.value.into(),
            "dataLogDir" => self.data_log_dir = Some(line.value.into()),
            "clientPort" => self.client_port = Some(line.number()?),
            "clientPortAddress" => self.client_address = Some(line.value.to_owned()),
            "secureClientPort" => self.secure_client_port = Some(line.number()?),
            "secureClientPortAddress" => {
                self.secure_client_address = Some(line.value.to_owned());
            },
            // Once switched off, a port does not switch it on again.
            "admin.serverPort" if self.admin_port == Some(0) => {},
            "admin.serverPort" => self.admin_port = Some(line.number()?),
            "admin.serverAddress" => self.admin_address = Some(line.value.to_owned()),
            "admin.enableServer" => {
                if !line.switch()? {
                    self.admin_port = Some(0);
                }
            },
            "maxClientCnxns" => self.connections_of_address_max = NonZeroUsize::new(line.number()?),
            "minSessionTimeout" => timeouts.0 = Some(line.number()?).filter(|&ms| ms != -1),
            "maxSessionTimeout" => timeouts.1 = Some(line.number()?).filter(|&ms| ms != -1),
            "initLimit" => self.init_limit = line.number()?,
            "syncLimit" => self.sync_limit = line.number()?,
            "4lw.commands.whitelist" => self.words = words(line.value),
            "znode.container.checkIntervalMs" => self.container_check_ms = line.number()?,
            "enforceQuota" => self.enforce_quota = line.switch()?,
            "reconfigEnabled" => self.reconfig_enabled = line.switch()?,
            "standaloneEnabled" => self.voters_min = if line.switch()? { 2 } else { 1 },
            "readonlymode.enabled" => {
                self.without_quorum = if line.switch()? {
                    WithoutQuorum::Read
                } else {
                    WithoutQuorum::Refuse
                };
            },
            "dynamicConfigFile" => self.dynamic_config = Some(line.value.into()),
            "peerType" => {
                self.is_observer = match line.value {
                    "observer" => true,
                    "participant" => false,
                    _ => return Err(line.wrong("either participant or observer")),
                };
            },
            "jute.maxbuffer" => self.message_bytes_max = line.number()?,
            key => match key.strip_prefix("server.") {
                Some(number) => {
                    let number = number
                        .parse()
                        .map_err(|_| line.wrong("what follows the dot is no number"))?;
                    let member = Member::read(line.value).map_err(|what| line.wrong(what))?;
                    if self.members.insert(number, member).is_some() {
                        return Err(line.wrong("this member is named twice"));
                    }
                },
                None if TlsSettings::is_key(key) => {
                    self.tls.insert(key.to_owned(), line.value.to_owned());
                },
                None if self.proof.set(line, key)? => {},
                None => {
                    self.unknown
                        .insert(line.key.to_owned(), line.value.to_owned());
                },
            },
        }
        Ok(())
    }

    fn check(&self, mistakes: &mut Vec<Mistake>) {
        let mut wrong = |key: &str, what: &str| {
            mistakes.push(Mistake {
                line: 0,
                key: key.to_owned(),
                what: what.to_owned(),
            });
        };
        if self.data_dir.as_os_str().is_empty() {
            wrong("dataDir", "is missing");
        }
        let by_member = self.members.values().any(|member| member.client.is_some());
        if self.client_port.is_none() && self.secure_client_port.is_none() && !by_member {
            wrong("clientPort", "is missing, and so is secureClientPort");
        }
        if self.proof.is_required && self.proof.schemes.is_empty() {
            wrong(
                "enforce.auth.schemes",
                "is missing, and enforce.auth.enabled needs it",
            );
        }
        if self.tick_ms == 0 {
            wrong("tickTime", "must be more than zero");
        }
        if self.timeout_min_ms > self.timeout_max_ms || self.timeout_min_ms <= 0 {
            wrong(
                "minSessionTimeout",
                "must be more than zero and at most maxSessionTimeout",
            );
        }
    }

    /// How clients come by TLS; `None` when nothing says so.
    ///
    /// # Errors
    ///
    /// The first key that is wrong, or missing.
    pub fn tls(&self) -> Result<Option<TlsSettings>, Mistake> {
        let mistake = |(key, what)| Mistake { line: 0, key, what };
        let tls = TlsSettings::read(&self.tls).map_err(mistake)?;
        if self.secure_client_port.is_some() && tls.is_none() {
            return Err(mistake((
                "ssl.keyStore.location".to_owned(),
                "is missing, and secureClientPort needs it".to_owned(),
            )));
        }
        Ok(tls)
    }

    /// How members come to each other by TLS; `None` when they speak in the open.
    ///
    /// # Errors
    ///
    /// The first key that is wrong, or missing.
    pub fn members_tls(&self) -> Result<Option<MembersTls>, Mistake> {
        let mistake = |(key, what)| Mistake { line: 0, key, what };
        MembersTls::read(&self.tls).map_err(mistake)
    }

    /// Where this member's clients come to: the address, if one is named, and the port.
    ///
    /// A list of members that may change names both behind a semicolon; then the keys of the file
    /// are absent.
    pub fn clients_of(&self, member: i64) -> (Option<String>, Option<u16>) {
        let own = self.members.get(&member);
        let Some(client) = own.and_then(|own| own.client.as_deref()) else {
            return (self.client_address.clone(), self.client_port);
        };
        let (host, port) = match client.rsplit_once(':') {
            Some((host, port)) => (Some(host.trim_matches(['[', ']']).to_owned()), port),
            None => (None, client),
        };
        // Where the line says only a port, the member listens at all addresses, those of IPv6 too.
        let host = host.filter(|host| host != "0.0.0.0");
        let address = self.client_address.clone().or(host);
        (address, self.client_port.or_else(|| port.parse().ok()))
    }

    /// What the client edge has to know. `users` are those of the JAAS file.
    pub fn settings(&self, member: i64, users: Users) -> Settings {
        Settings {
            tick_ms: self.tick_ms,
            timeout_min_ms: self.timeout_min_ms,
            timeout_max_ms: self.timeout_max_ms,
            message_bytes_max: self.message_bytes_max,
            connections_of_address_max: self.connections_of_address_max,
            super_digest: self.proof.super_digest.clone(),
            users,
            schemes_required: self.proof.schemes_required(),
            words: self.words.clone(),
            conf: self.conf(member),
            data_dir: Some(self.data_dir.clone()),
            standalone: self.members.len() < self.voters_min.min(2),
            reconfig_enabled: self.reconfig_enabled,
            voters_min: self.voters_min,
            without_quorum: self.without_quorum,
            container_check_ms: self.container_check_ms,
            initial_configuration: self.text.clone(),
        }
    }

    /// What the word `conf` tells, but for the members: those are what the ensemble agreed on last.
    fn conf(&self, member: i64) -> String {
        let port = |port: Option<u16>| port.map_or(-1, i32::from);
        let dir = self.data_dir.display();
        let log_dir = self.data_log_dir.as_ref().unwrap_or(&self.data_dir);
        let connections = self.connections_of_address_max.map_or(0, NonZeroUsize::get);
        let mut lines = vec![
            format!("clientPort={}", port(self.clients_of(member).1)),
            format!("secureClientPort={}", port(self.secure_client_port)),
            format!("dataDir={dir}"),
            format!("dataLogDir={}", log_dir.display()),
            format!("tickTime={}", self.tick_ms),
            format!("maxClientCnxns={connections}"),
            format!("minSessionTimeout={}", self.timeout_min_ms),
            format!("maxSessionTimeout={}", self.timeout_max_ms),
            "clientPortListenBacklog=-1".to_owned(),
            format!("serverId={member}"),
        ];
        if !self.members.is_empty() {
            lines.push(format!("initLimit={}", self.init_limit));
            lines.push(format!("syncLimit={}", self.sync_limit));
            lines.push(format!("peerType={}", i32::from(self.is_observer)));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn words(value: &str) -> Option<BTreeSet<String>> {
    let words = value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let words: BTreeSet<String> = words.map(str::to_owned).collect();
    (!words.contains("*")).then_some(words)
}

/// The number in the file `myid`.
///
/// # Errors
///
/// A [`Mistake`] when there is none: 0 to 254, as in ZooKeeper, for it is part of sessions' numbers.
pub fn my_id(text: &str) -> Result<i64, Mistake> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| (0..=254).contains(number))
        .ok_or_else(|| Mistake {
            line: 1,
            key: "myid".to_owned(),
            what: format!("{:?} is no number from 0 to 254", text.trim()),
        })
}

/// The users of a JAAS file's `Server` section: `user_NAME="PASSWORD"`.
pub fn jaas_users(text: &str) -> Users {
    let mut users = Users::new();
    let mut is_server = false;
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_suffix('{') {
            is_server = name.trim() == "Server";
        } else if line.starts_with('}') {
            is_server = false;
        } else if is_server
            && let Some((name, password)) =
                line.strip_prefix("user_").and_then(|l| l.split_once('='))
        {
            let password = password.trim().trim_end_matches(';').trim_end();
            let password = password
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .unwrap_or(password);
            users.insert(name.trim().to_owned(), password.to_owned());
        }
    }
    users
}

#[cfg(test)]
mod tests;
