//! The end of the whole call, known to all that it calls.
