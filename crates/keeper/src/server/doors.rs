//! The ports of a server, opened before anything is promised.
//!
//! Prevents a member that its clients cannot reach: a port that is taken, or a key store that is
//! wrong, is an error of the start.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

use super::{ServerConfig, ServerError, address};
use crate::serve::Listeners;
use crate::tls::Tls;

/// ZooKeeper's port for clients.
const CLIENT_PORT: u16 = 2_181;

/// ZooKeeper's port for operators.
const ADMIN_PORT: u16 = 8_080;

/// What is listened on.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) clients: Listeners,
    /// Where clients come to; the plain port, if there is one.
    pub(super) address: SocketAddr,
}

impl Doors {
    pub(super) async fn open(config: &ServerConfig) -> Result<Self, ServerError> {
        let zoo = &config.zoo;
        let tls = config.tls.clone().map(Tls::load).transpose();
        let tls = tls.map_err(ServerError::Tls)?;
        let host = zoo.secure_client_address.as_deref();
        let secure = match zoo.secure_client_port {
            Some(port) => Some(listen(host, port, "secureClientPort").await?),
            None => None,
        };
        let (host, port) = zoo.clients_of(config.member);
        let host = host.as_deref();
        let plain = match (port, &secure) {
            (None, Some(_)) => None,
            (port, _) => Some(listen(host, port.unwrap_or(CLIENT_PORT), "clientPort").await?),
        };
        let host = zoo.admin_address.as_deref();
        let admin = match zoo.admin_port {
            Some(0) => None,
            Some(port) => Some(listen(host, port, "admin.serverPort").await?),
            // Several members on one machine share the port that nobody asked for.
            None => listen(host, ADMIN_PORT, "admin.serverPort").await.ok(),
        };
        let bound = plain.as_ref().or(secure.as_ref());
        let bound = bound.and_then(|listener| listener.local_addr().ok());
        Ok(Self {
            address: bound.unwrap_or_else(|| SocketAddr::from(([0; 4], 0))),
            clients: Listeners {
                plain,
                secure,
                tls,
                admin,
            },
        })
    }
}

/// Listens at one address, or at all addresses of this machine.
async fn listen(
    host: Option<&str>,
    port: u16,
    key: &'static str,
) -> Result<TcpListener, ServerError> {
    let bound = match host {
        Some(host) => TcpListener::bind((host, port)).await,
        None => match TcpListener::bind((IpAddr::from([0_u16; 8]), port)).await {
            // A machine without IPv6.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                TcpListener::bind((IpAddr::from([0; 4]), port)).await
            },
            bound => bound,
        },
    };
    bound.map_err(|error| {
        let at = address(host.unwrap_or("::"), port);
        ServerError::Listen { at, key, error }
    })
}
