//! What precedes every request and every reply.
//!
//! Prevents a reply from reaching the wrong request: clients match them by `xid`, and a few of
//! these are not requests at all.

use crate::jute::records;

/// The `xid` of what the server tells unasked: a watch fired.
pub const XID_WATCH: i32 = -1;
/// The `xid` of a ping.
pub const XID_PING: i32 = -2;
/// The `xid` of an authentication.
pub const XID_AUTH: i32 = -4;
/// The `xid` of watches that are set again after a reconnection.
pub const XID_SET_WATCHES: i32 = -8;

records! {
    /// Precedes a request.
    #[derive(Copy)]
    RequestHeader {
        /// Chosen by the client; its reply carries the same.
        xid: i32,
        /// The operation, see [`Opcode`](crate::Opcode).
        opcode: i32,
    }

    /// Precedes a reply.
    #[derive(Copy)]
    ReplyHeader {
        /// The request's.
        xid: i32,
        /// The newest transaction that this server had applied.
        zxid: i64,
        /// Zero, or why there is no result, see [`Code`](crate::Code).
        error: i32,
    }
}
