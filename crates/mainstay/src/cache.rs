//! Keeps answers, and gives an older one when there is no new one.
