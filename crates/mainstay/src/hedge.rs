//! A second copy of a call that takes unusually long.
