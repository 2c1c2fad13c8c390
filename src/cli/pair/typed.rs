//! What a person types, or a script pipes, while other things go on.

use std::io::{self, Read, Stdin};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest line that is read. Six digits with blanks between them fit many times.
const MAX_LINE: usize = 256;

/// Standard input, a line at a time.
pub(super) struct Typed {
    input: Input,
    buffer: Vec<u8>,
}

enum Input {
    /// A terminal, a pipe or a socket: it can be waited for.
    Waits(AsyncFd<Stdin>),
    /// A file: it never blocks, and cannot be waited for.
    File(Stdin),
}

impl Typed {
    /// To be called inside the runtime.
    pub(super) fn new() -> Self {
        #[expect(
            deprecated,
            reason = "the way that replaces it is unsafe; standard input is never closed here"
        )]
        // A kernel that cannot wait for it says so; then it is a file.
        let input = AsyncFd::with_interest(io::stdin(), Interest::READABLE)
            .map_or_else(|_| Input::File(io::stdin()), Input::Waits);
        Self { input, buffer: Vec::new() }
    }

    /// Six digits; anything else that is typed is told to `again`, and the next line is waited for. `None`
    /// when an empty line was typed or the input ended. Cancel-safe.
    pub(super) async fn six_digits(&mut self, mut again: impl FnMut()) -> io::Result<Option<u32>> {
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            match six_digits(&line) {
                Some(number) => return Ok(Some(number)),
                None if line.trim().is_empty() => return Ok(None),
                None => again(),
            }
        }
    }

    /// The next line without its end; `None` at the end of the input. Cancel-safe.
    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(io::Error::other("the line is too long"));
            }
            let mut octets = [0; MAX_LINE];
            let read = match &mut self.input {
                Input::File(file) => file.lock().read(&mut octets)?,
                Input::Waits(input) => {
                    let mut ready = input.readable().await?;
                    let read = rustix::io::read(ready.get_inner(), &mut octets)?;
                    // All of it may have been taken, whose length it has by chance: the next one is waited
                    // for by the runtime, not in a read that keeps everything else waiting.
                    if read < octets.len() || rustix::io::ioctl_fionread(ready.get_inner())? == 0 {
                        ready.clear_ready();
                    }
                    read
                }
            };
            if read == 0 {
                let rest = std::mem::take(&mut self.buffer);
                return Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
            }
            self.buffer.extend(octets.iter().take(read));
        }
    }
}

/// Six digits as they stand on a display, blanks between them or not.
fn six_digits(line: &str) -> Option<u32> {
    let digits: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    let fits = digits.len() == 6 && digits.bytes().all(|octet| octet.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_taken_as_they_stand_on_a_display() {
        for (line, number) in [("123456\n", 123_456), ("000001", 1), (" 123 456\r\n", 123_456)] {
            assert_eq!(six_digits(line), Some(number), "{line:?}");
        }
        for line in ["", "12345", "1234567", "12345a", "-12345", "+12345", "１２３４５６"] {
            assert_eq!(six_digits(line), None, "{line:?}");
        }
    }
}
