//! What may still be done with a kept answer: serve it, serve and refresh it, serve it in need.
//!
//! Prevents answers that are too old, and no answer at all where an old one would do.
