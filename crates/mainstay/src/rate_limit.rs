//! So many calls per time.
