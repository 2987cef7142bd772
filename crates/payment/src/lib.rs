//! The example service: a small payment service that can be broken on purpose.
