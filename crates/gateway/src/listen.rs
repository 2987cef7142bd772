//! Listening sockets: one per worker and service, on the same port.
//!
//! Prevents workers that hand connections to each other (the kernel spreads them over the
//! sockets), a second gateway that silently shares the port of the first, and a busy loop when
//! file descriptors run out.

use std::io;
use std::net::{SocketAddr, TcpListener};

use mainstay_core::retry::{Backoff, BackoffConfig, Jitter};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::Duration;

/// Connections that wait in the kernel until a worker accepts them.
const BACKLOG: i32 = 4_096;
/// Waits after a failed accept: file descriptors do not come back at once.
const RETRY_MIN: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Binds `count` sockets to `address`; with port 0 the system chooses one port for all.
pub(crate) fn bind(
    address: SocketAddr,
    count: usize,
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // A port that is shared on purpose can be shared by accident: another program of the same
    // user would get half of the connections. A first socket that does not share finds out.
    if address.port() != 0 {
        let lone = socket(address, false)?;
        lone.bind(&address.into())?;
        lone.listen(1)?;
    }
    let mut actual = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(address, true)?;
        socket.bind(&actual.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        actual = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((actual, listeners))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// How long to wait after failed accepts in a row. Without jitter: a worker meets no other there.
pub(crate) fn accept_backoff() -> Backoff {
    let backoff = Backoff::new(&BackoffConfig {
        base: RETRY_MIN,
        max: RETRY_MAX,
        jitter: Jitter::None,
        ..BackoffConfig::default()
    });
    // The values are constants that a test shows to work.
    backoff.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_that_fail_wait_ever_longer_up_to_a_second() {
        let bound = |failures| accept_backoff().bound(failures, Duration::ZERO);
        assert_eq!(bound(1), RETRY_MIN);
        assert_eq!(bound(2), RETRY_MIN * 2);
        assert_eq!(bound(u32::MAX), RETRY_MAX);
    }

    #[test]
    fn all_sockets_share_the_port_that_the_system_chose() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, listeners) = bind(any, 3).expect("loopback has ports");
        for listener in &listeners {
            assert_eq!(listener.local_addr().expect("it is bound"), address);
        }
    }

    #[test]
    fn a_port_that_another_gateway_listens_on_is_taken() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, _listeners) = bind(any, 2).expect("loopback has ports");
        let error = bind(address, 2).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
