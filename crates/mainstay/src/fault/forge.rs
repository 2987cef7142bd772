//! What a broken call gives: an error, or a wrong answer.
//!
//! Prevents drills whose failures look unlike the real ones: only the caller knows what those are.

/// Makes errors and wrong answers. A closure `|| error` makes errors, and leaves answers as they
/// are; [`falsify`] makes both.
pub trait Forge<T, E> {
    /// The error of a call that is made to fail.
    fn error(&self) -> E;

    /// What is given instead of `answer`, as a replica would that lies.
    fn wrong(&self, answer: T) -> T {
        answer
    }
}

impl<T, E, F: Fn() -> E> Forge<T, E> for F {
    fn error(&self) -> E {
        self()
    }
}

/// A [`Forge`] of two closures, see [`falsify`].
#[derive(Clone, Copy, Debug)]
pub struct Falsify<F, W> {
    error: F,
    wrong: W,
}

/// Makes errors with `error`, and wrong answers with `wrong`.
///
/// ```
/// use mainstay::fault::{Forge as _, falsify};
///
/// let liar = falsify(|| "reset", |sum: u32| sum + 1);
/// assert_eq!(liar.wrong(4), 5);
/// assert_eq!(liar.error(), "reset");
/// ```
pub const fn falsify<T, E, F, W>(error: F, wrong: W) -> Falsify<F, W>
where
    F: Fn() -> E,
    W: Fn(T) -> T,
{
    Falsify { error, wrong }
}

impl<T, E, F: Fn() -> E, W: Fn(T) -> T> Forge<T, E> for Falsify<F, W> {
    fn error(&self) -> E {
        (self.error)()
    }

    fn wrong(&self, answer: T) -> T {
        (self.wrong)(answer)
    }
}
