//! What a replica writes to its standard output and standard error, line by line.
//!
//! Prevents a replica that hangs because nobody reads its pipe, and memory without bound because
//! it writes no line ends: lines longer than [`LINE_MAX`] are cut, and the log drops what it
//! cannot take.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mainstay_observe::Observer;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

/// The longest line that is passed on whole; the rest of a longer one is dropped.
pub(crate) const LINE_MAX: usize = 16 * 1024;
/// What is read at once: what a pipe holds by default.
const CHUNK: usize = 64 * 1024;
/// Reads after the replica ended, should a stranger hold its pipe and write on for ever.
const REST_READS_MAX: usize = 16;

/// One of a replica's two streams on its way into the log.
#[derive(Debug)]
pub(crate) struct Output {
    /// Takes the lines.
    pub(crate) observer: Observer,
    /// Who writes.
    pub(crate) replica: Arc<str>,
    /// `stdout` or `stderr`.
    pub(crate) stream: &'static str,
}

impl Output {
    /// Reads `pipe` to its end, or until `ended` and nothing is left to read.
    pub(crate) async fn read(self, pipe: OwnedFd, ended: CancellationToken) {
        let Ok(pipe) = pipe::Receiver::from_owned_fd(pipe) else {
            return;
        };
        let mut lines = Lines::default();
        let mut chunk = vec![0; CHUNK];
        tokio::select! {
            biased;
            // A pipe that breaks says no more than one that ends.
            _broken = self.follow(&pipe, &mut chunk, &mut lines) => {},
            () = ended.cancelled() => self.rest(&pipe, &mut chunk, &mut lines),
        }
        lines.finish(|line| self.pass(line));
    }

    async fn follow(
        &self,
        pipe: &pipe::Receiver,
        chunk: &mut [u8],
        lines: &mut Lines,
    ) -> io::Result<()> {
        loop {
            pipe.readable().await?;
            match pipe.try_read(chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => self.lines(chunk, length, lines),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {},
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what is in the pipe right now. Asks the kernel itself: the runtime may not have
    /// heard yet of the last lines.
    fn rest(&self, pipe: &pipe::Receiver, chunk: &mut [u8], lines: &mut Lines) {
        for _ in 0..REST_READS_MAX {
            match rustix::io::read(pipe, &mut *chunk) {
                Ok(0) | Err(_) => return,
                Ok(length) => self.lines(chunk, length, lines),
            }
        }
    }

    fn lines(&self, chunk: &[u8], length: usize, lines: &mut Lines) {
        let bytes = chunk.get(..length).unwrap_or_default();
        lines.take(bytes, |line| self.pass(line));
    }

    fn pass(&self, line: &[u8]) {
        self.observer.replica_line(&self.replica, self.stream, line);
    }
}

/// Cuts bytes into lines, none longer than [`LINE_MAX`].
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], mut pass: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, complete) = piece
                .strip_suffix(b"\n")
                .map_or((piece, false), |text| (text, true));
            let room = LINE_MAX - self.partial.len();
            self.partial
                .extend_from_slice(text.get(..room).unwrap_or(text));
            if complete {
                pass(&self.partial);
                self.partial.clear();
            }
        }
    }

    /// The replica ended within a line.
    fn finish(self, mut pass: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            pass(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;
    use std::time::Duration;

    use mainstay_core::event::Severity;
    use mainstay_observe::log::{Format, Log};

    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.take(chunk, |line| seen.push(line.to_vec()));
        }
        lines.finish(|line| seen.push(line.to_vec()));
        seen
    }

    #[test]
    fn lines_are_put_together_from_any_chunks() {
        let whole = lines_of(&[b"one\ntwo\n\nthree"]);
        assert_eq!(whole, [&b"one"[..], b"two", b"", b"three"]);
        let torn = lines_of(&[b"o", b"ne\ntw", b"o", b"\n", b"\nthre", b"e"]);
        assert_eq!(torn, whole);
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let endless = vec![b'x'; LINE_MAX - 1];
        let seen = lines_of(&[&endless, b"yz", b"z\nshort\n"]);
        assert_eq!(seen[0].len(), LINE_MAX);
        assert_eq!(seen[0].last(), Some(&b'y'));
        assert_eq!(seen[1], b"short");
    }

    /// Keeps what the log writes.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn last_words_are_read_even_if_a_stranger_keeps_the_pipe_open() {
        let written = Written::default();
        let target = Box::new(written.clone());
        let log = Log::to(target, Format::Json, Severity::Debug);
        let output = Output {
            observer: Observer::with_log("n1", log).expect("the log starts"),
            replica: "payment-1".into(),
            stream: "stdout",
        };
        let observer = output.observer.clone();
        let (reader, mut writer) = io::pipe().expect("pipes are to be had");
        let ended = CancellationToken::new();
        ended.cancel();

        writer.write_all(b"farewell").expect("the pipe has room");
        output.read(reader.into(), ended).await;

        assert!(observer.flush(Duration::from_secs(30)));
        let written = written.0.lock().expect("nobody panics");
        let text = String::from_utf8_lossy(&written);
        assert!(text.contains("farewell"), "{text}");
        drop(writer);
    }
}
