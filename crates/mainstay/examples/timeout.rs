//! A limit per attempt inside a limit for the whole call. `cargo run -p mainstay --example timeout`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::time::Duration;

use mainstay::{Clock, Deadline, Error, Timeout};
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let clock = Clock::new();
    let attempt = Timeout::attempt(Duration::from_millis(100));
    let deadline = Deadline::after(clock.now(), Duration::from_millis(250));

    for work in [50, 500, 500, 500] {
        let call = async {
            sleep(Duration::from_millis(work)).await;
            Ok::<_, std::io::Error>("paid")
        };
        // Whichever ends first: the third call has only what the others left of the 250 ms.
        let result: Result<_, Error<_>> = attempt.call_before(deadline, clock, call).await;
        match result {
            Ok(answer) => println!("{work} ms of work: {answer}"),
            Err(error) => println!("{work} ms of work: {error}"),
        }
    }
}
