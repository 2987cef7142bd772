//! The deadline that a request brings along, as a layer.

use std::time::Duration;

use tower_layer::Layer;

use super::DeadlineService;
use crate::name::Name;

/// Reads from each request how long its caller will wait, and ends its call then.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay::deadline::{DeadlineLayer, from_header, remaining};
/// use mainstay::innermost::InnermostLayer;
/// use tower::{ServiceBuilder, ServiceExt as _};
///
/// // Here a request is nothing but its header.
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new("payment", |header: &&str| from_header(header)))
///     .layer(InnermostLayer)
///     .service_fn(async |_header: &str| Ok::<_, std::io::Error>(remaining()));
/// let left = service.clone().oneshot("200m").await.unwrap();
/// assert!(left.unwrap().as_millis() <= 200);
/// assert!(service.oneshot("0m").await.is_err(), "nobody waits for it");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct DeadlineLayer<R> {
    name: Name,
    read: R,
}

impl<R> DeadlineLayer<R> {
    /// The layer of the service called `name`. `read` gives what is left for a request, and `None`
    /// when its caller did not say.
    pub fn new<Request>(name: impl Into<Name>, read: R) -> Self
    where
        R: Fn(&Request) -> Option<Duration>,
    {
        Self {
            name: name.into(),
            read,
        }
    }
}

impl<S, R: Clone> Layer<S> for DeadlineLayer<R> {
    type Service = DeadlineService<S, R>;

    fn layer(&self, inner: S) -> DeadlineService<S, R> {
        DeadlineService::new(inner, self.name.clone(), self.read.clone())
    }
}
