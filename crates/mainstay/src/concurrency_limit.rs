//! So many calls at a time as can be served in time, found while running.
