//! Another answer where there is none.
