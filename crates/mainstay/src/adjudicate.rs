//! Asks several replicas and believes what enough of them say.
