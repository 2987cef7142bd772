//! Whether a request can be sent again: the copy that a retry keeps of it.
//!
//! Prevents retries of what can be read only once, as the body of an upload. Such a request is sent
//! once, and its caller gets the original error.

/// Makes copies of requests.
///
/// Any closure `Fn(&Request) -> Option<Request>` is one; `None` means that the request can be sent
/// only once.
pub trait Repeat<Request> {
    /// A copy of `request` for another attempt.
    fn copy(&self, request: &Request) -> Option<Request>;
}

/// Each request is cloned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cloned;

impl<Request: Clone> Repeat<Request> for Cloned {
    fn copy(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

impl<Request, F: Fn(&Request) -> Option<Request>> Repeat<Request> for F {
    fn copy(&self, request: &Request) -> Option<Request> {
        self(request)
    }
}
