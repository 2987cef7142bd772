//! One worker's connections to one endpoint.
//!
//! Prevents a handshake per request, and requests lost on connections that the endpoint has
//! closed. The most recently used connection goes out first, so that the others can age; one that
//! became readable while idle (an end, or bytes nobody asked for) is never used again.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use mainstay_core::outcome::Reason;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;

/// Idle connections kept.
const IDLE_MAX: usize = 256;
/// Connections open at a time.
const OPEN_MAX: usize = 1_024;
/// How long one may be idle: clearly below the 60 to 75 seconds after which common servers
/// close, so that we close first and no request meets a connection on its way out.
const IDLE_FOR_MAX: Duration = Duration::from_secs(15);
/// How long one may be used: endpoints behind a moved name get a chance to be left.
const LIFE_MAX: Duration = Duration::from_mins(10);

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unconnected {
    /// The endpoint did not take one.
    Failed(Reason),
    /// As many as allowed are open: nothing that the endpoint did.
    Exhausted,
}

/// The connections of one worker to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    address: SocketAddr,
    idle: RefCell<Vec<Connection>>,
    open: Cell<usize>,
}

impl Pool {
    /// An empty pool for `address`.
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: RefCell::new(Vec::new()),
            open: Cell::new(0),
        }
    }

    /// The most recently used connection that is still good. `careful` asks the system about
    /// it, for requests that must not be sent twice.
    pub(crate) fn take_idle(self: &Rc<Self>, careful: bool) -> Option<Lease> {
        loop {
            let connection = self.idle.borrow_mut().pop()?;
            let lease = Lease::new(connection, self);
            if lease.is_quiet(careful) {
                return Some(lease);
            }
        }
    }

    /// A new connection.
    pub(crate) async fn connect(self: &Rc<Self>, until: Instant) -> Result<Lease, Unconnected> {
        if self.open.get() + self.idle.borrow().len() >= OPEN_MAX {
            return Err(Unconnected::Exhausted);
        }
        // The place is taken before the wait and given back on every way out.
        let place = Place::take(self);
        match timeout_at(until, TcpStream::connect(self.address)).await {
            Ok(Ok(stream)) => {
                // Without it small requests wait for an acknowledgement; failing to set it
                // costs speed, nothing else.
                let _nodelay: io::Result<()> = stream.set_nodelay(true);
                let connection = Connection::new(stream, Instant::now());
                drop(place);
                Ok(Lease::new(connection, self))
            },
            Ok(Err(_)) => Err(Unconnected::Failed(Reason::Connect)),
            Err(_) => Err(Unconnected::Failed(Reason::Timeout)),
        }
    }

    /// Closes what is too old or no longer quiet.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle
            .borrow_mut()
            .retain_mut(|connection| is_fresh(connection, now) && connection.is_quiet(false));
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Connections in use, and idle ones.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.open.get(), self.idle.borrow().len())
    }
}

fn is_fresh(connection: &Connection, now: Instant) -> bool {
    now.saturating_duration_since(connection.idle_since()) < IDLE_FOR_MAX
        && now.saturating_duration_since(connection.opened()) < LIFE_MAX
}

/// A place among the connections in use.
#[derive(Debug)]
struct Place(Rc<Pool>);

impl Place {
    fn take(pool: &Rc<Pool>) -> Self {
        pool.open.set(pool.open.get() + 1);
        Self(Rc::clone(pool))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

/// A connection in use. Dropping it closes the connection; [`Lease::release`] keeps it.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Connection,
    place: Place,
}

impl Lease {
    fn new(connection: Connection, pool: &Rc<Pool>) -> Self {
        Self {
            connection,
            place: Place::take(pool),
        }
    }

    /// Gives the connection back for the next request.
    pub(crate) fn release(self, now: Instant) {
        let Self {
            mut connection,
            place,
        } = self;
        connection.rest(now);
        let mut idle = place.0.idle.borrow_mut();
        if idle.len() < IDLE_MAX && is_fresh(&connection, now) {
            idle.push(connection);
        }
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
