//! One policy per key, in bounded memory.
