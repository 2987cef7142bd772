//! The handshake: a session begins, or goes on here.
//!
//! Prevents a client that sees the past: whoever has seen more than this member waits until it has
//! caught up, or goes elsewhere. Prevents a session that is taken over by a guess: its number is
//! known to many, its password to one.

use std::sync::Arc;

use mainstay_zk_proto::frame;
use mainstay_zk_proto::handshake::{ConnectRequest, ConnectResponse, PASSWORD_BYTES};
use mainstay_zk_proto::jute::{Jute as _, Reader};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{Duration, sleep, timeout};

use super::connection::End;
use super::desk::{Desk, Waiter, read};
use super::line::Line;
use crate::process::random;
use crate::proposal::{Action, Password};
use crate::replica::{Proposal, Replica};
use crate::state::State;

/// How long a client waits here for what it has seen elsewhere.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// How often is looked.
const CATCH_UP_STEP: Duration = Duration::from_millis(20);
/// How long a session may take to begin; a client would not wait longer.
const AGREE_MAX: Duration = Duration::from_secs(30);

/// A session, and what its client needs for it.
struct Seat {
    session: i64,
    timeout_ms: i32,
    password: Password,
}

/// No session: what the client gets to hear is that its own is over.
const EXPIRED: Seat = Seat {
    session: 0,
    timeout_ms: 0,
    password: [0; PASSWORD_BYTES],
};

/// Answers the first message of a client.
pub(super) async fn shake<R: Replica>(
    desk: &Arc<Desk>,
    replica: &Arc<R>,
    line: &Arc<Line>,
    message: &[u8],
    output: &mut (impl AsyncWrite + Unpin),
) -> Result<(), End> {
    let request: ConnectRequest<'_> = Reader::new(message).read()?;
    let reads_only = desk.cut_off.is();
    if reads_only && !(desk.settings.serves_readers() && request.read_only == Some(true)) {
        return Err(End::Refused("there is no quorum"));
    }
    if !reads_only && !replica.takes_writes() {
        return Err(End::Refused("sessions cannot begin or go on here now"));
    }
    if !caught_up(&**replica, request.last_zxid_seen).await {
        return Err(End::Refused("the client has seen more than this member"));
    }
    let seat = if reads_only {
        seat_reader(desk, &**replica, line, &request)?
    } else if request.session_id == 0 {
        open(desk, &**replica, line, request.timeout_ms).await?
    } else {
        attach(desk, &**replica, line, &request).await?
    };
    let mut out = Vec::new();
    frame::append(&mut out, |out| {
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: seat.timeout_ms,
            session_id: seat.session,
            password: &seat.password,
            read_only: request.read_only.map(|_| reads_only),
        };
        response.write(out);
    });
    output.write_all(&out).await?;
    desk.tally.send();
    line.tally.send();
    if seat.session == EXPIRED.session {
        output.shutdown().await?;
        return Err(End::Refused("the session is over"));
    }
    Ok(())
}

/// A session that is known here only begins or goes on.
fn seat_reader<R: Replica>(
    desk: &Desk,
    replica: &R,
    line: &Line,
    request: &ConnectRequest<'_>,
) -> Result<Seat, End> {
    let session = request.session_id;
    if read(replica.state(), |state| {
        state.sessions().get(session).is_some()
    }) {
        // It lives on where there is a quorum, and its client shall find it there.
        return Err(End::Refused("the session cannot go on without a quorum"));
    }
    if session != 0 {
        let Some(timeout_ms) = desk.cut_off.attach(session, request.password) else {
            return Ok(EXPIRED);
        };
        desk.seat_reader(session, timeout_ms, line);
        // Of this length, since it is the right one.
        let password = Password::try_from(request.password).unwrap_or_default();
        return Ok(Seat {
            session,
            timeout_ms,
            password,
        });
    }
    let timeout_ms = desk.settings.timeout_ms(request.timeout_ms);
    let password = random().map_err(|_| End::Refused("there is no randomness"))?;
    let session = desk.session_number();
    if !desk.cut_off.open(session, password, timeout_ms) {
        return Err(End::Refused("too many read here already"));
    }
    desk.seat_reader(session, timeout_ms, line);
    Ok(Seat {
        session,
        timeout_ms,
        password,
    })
}

async fn caught_up<R: Replica>(replica: &R, zxid: i64) -> bool {
    let wait = async {
        while read(replica.state(), State::zxid) < zxid {
            sleep(CATCH_UP_STEP).await;
        }
    };
    timeout(CATCH_UP_MAX, wait).await.is_ok()
}

async fn open<R: Replica>(
    desk: &Arc<Desk>,
    replica: &R,
    line: &Arc<Line>,
    wanted_ms: i32,
) -> Result<Seat, End> {
    let timeout_ms = desk.settings.timeout_ms(wanted_ms);
    let password = random().map_err(|_| End::Refused("there is no randomness"))?;
    let session = desk.session_number();
    let action = Action::Open {
        timeout_ms,
        password,
    };
    let begun = agree(desk, replica, line, session, action).await?;
    begun
        .map(|timeout_ms| Seat {
            session,
            timeout_ms,
            password,
        })
        .ok_or(End::Refused("the session did not begin"))
}

async fn attach<R: Replica>(
    desk: &Arc<Desk>,
    replica: &R,
    line: &Arc<Line>,
    request: &ConnectRequest<'_>,
) -> Result<Seat, End> {
    // A password of another length is nobody's.
    let Ok(password) = Password::try_from(request.password) else {
        return Ok(EXPIRED);
    };
    let session = request.session_id;
    let timeout_ms = desk.settings.timeout_ms(request.timeout_ms);
    let action = Action::Attach {
        password,
        timeout_ms,
    };
    let goes_on = agree(desk, replica, line, session, action).await?;
    Ok(goes_on.map_or(EXPIRED, |timeout_ms| Seat {
        session,
        timeout_ms,
        password,
    }))
}

/// The timeout of the session, or `None` when there is none.
async fn agree<R: Replica>(
    desk: &Arc<Desk>,
    replica: &R,
    line: &Arc<Line>,
    session: i64,
    action: Action<'_>,
) -> Result<Option<i32>, End> {
    let (sender, told) = oneshot::channel();
    let mut sender = Some(sender);
    let proposal = Proposal {
        session,
        identities: Vec::new(),
        action,
    };
    replica.propose(proposal, &mut |sequence| {
        let waiter = sender.take().map_or(Waiter::Nobody, |sender| {
            Waiter::Handshake(Arc::clone(line), sender)
        });
        desk.wait(sequence, waiter);
    });
    tokio::select! {
        told = timeout(AGREE_MAX, told) => match told {
            Ok(Ok(result)) => Ok(result.ok()),
            Ok(Err(_)) | Err(_) => Err(End::Refused("nobody agreed on the session in time")),
        },
        // Elsewhere there may be one.
        () = desk.cut_off.begins() => Err(End::Refused("there is no quorum")),
    }
}
