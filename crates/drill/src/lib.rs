//! Breaks a service on purpose, with and without protection, and measures what users see.
