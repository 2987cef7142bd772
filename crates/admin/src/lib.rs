//! Dashboard, metrics, probes and the API of a node.
