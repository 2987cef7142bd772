//! The last heartbeat of each node and replica, as metrics.
//!
//! Prevents an alert that cannot be written: silence shows as a timestamp that stands still.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_core::health::Verdict;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{HEARTBEAT_HEALTHY, HEARTBEAT_TIMESTAMP};

/// Nodes and replicas that are followed; a hostile peer could name many.
const IDS_MAX: usize = 1_024;

/// Cheap to clone; all clones are one table.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeats(Arc<Mutex<BTreeMap<Arc<str>, Beat>>>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    status: Verdict,
    timestamp: u64,
}

impl Heartbeats {
    pub(super) fn beat(&self, node_id: &Arc<str>, status: Verdict, timestamp: u64) {
        let beat = Beat { status, timestamp };
        let mut beats = self.lock();
        if let Some(known) = beats.get_mut(node_id) {
            *known = beat;
        } else if beats.len() < IDS_MAX {
            beats.insert(Arc::clone(node_id), beat);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Beat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Heartbeats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let beats = self.lock().clone();
        gauges(&mut encoder, HEARTBEAT_TIMESTAMP, &beats, |beat| {
            beat.timestamp
        })?;
        gauges(&mut encoder, HEARTBEAT_HEALTHY, &beats, |beat| {
            u64::from(beat.status == Verdict::Healthy)
        })
    }
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    beats: &BTreeMap<Arc<str>, Beat>,
    value: impl Fn(&Beat) -> u64,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (node_id, beat) in beats {
        let labels = [("node_id", node_id.as_ref())];
        let gauge = ConstGauge::new(value(beat));
        gauge.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
