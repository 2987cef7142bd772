//! [`Outliers`] as a layer: the one endpoint that a service speaks to reports how its calls end.

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_layer::Layer;

use super::{OutlierService, Outliers};
use crate::classify::ErrorsFail;

/// Has the calls of a service counted as those of one endpoint.
#[derive_where(Clone, Debug; C)]
pub struct OutlierLayer<C = ErrorsFail, O: Observe = ()> {
    outliers: Outliers<O>,
    endpoint: usize,
    classify: C,
}

impl<O: Observe> Outliers<O> {
    /// These outliers as a layer around the service of the endpoint at this place in the list; an
    /// `Err` of the service is a failure. It lets all calls pass: whom to leave out is decided by
    /// who picks the endpoint, by [`is_ejected`](Self::is_ejected) or [`share`](Self::share).
    pub fn layer(&self, endpoint: usize) -> OutlierLayer<ErrorsFail, O> {
        OutlierLayer {
            outliers: self.clone(),
            endpoint,
            classify: ErrorsFail,
        }
    }
}

impl<C, O: Observe> OutlierLayer<C, O> {
    /// Says what the service's own results mean.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> OutlierLayer<D, O> {
        OutlierLayer {
            outliers: self.outliers,
            endpoint: self.endpoint,
            classify,
        }
    }
}

impl<S, C: Clone, O: Observe> Layer<S> for OutlierLayer<C, O> {
    type Service = OutlierService<S, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let reports = (self.outliers.clone(), self.endpoint, self.classify.clone());
        OutlierService::new(inner, reports)
    }
}
