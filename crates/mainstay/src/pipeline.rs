//! The policies of a call, in an order that works.
