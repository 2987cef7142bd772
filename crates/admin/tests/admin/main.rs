//! Claims about the admin listener, over real sockets and in a real browser.

#[cfg(test)]
mod browser;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod http;
#[cfg(test)]
mod node;
#[cfg(test)]
mod stream;
