//! The endpoints' side: which there are, and the connections to them.

pub(crate) mod answer;
pub(crate) mod attempt;
pub(crate) mod connection;
pub(crate) mod endpoint;
pub(crate) mod pool;
pub(crate) mod stream;
pub(crate) mod window;
