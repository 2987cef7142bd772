//! Lets all who ask the same question at the same time share one call.
