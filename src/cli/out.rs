//! Standard output: the one place that writes to it.
//!
//! A reader that went away (`wardline drivers | head -1`) is not an error: what follows is dropped and
//! the command ends as it would have. Every other failure to write is reported.

use std::fmt::Arguments;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use serde::Serialize;

/// Where a command writes what was asked for.
pub(crate) struct Out<W: Write> {
    writer: BufWriter<W>,
    gone: bool,
    colours: bool,
}

/// Standard output.
pub(crate) fn stdout() -> Out<io::Stdout> {
    let stdout = io::stdout();
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = stdout.is_terminal() && !is_dumb && !is_refused;
    Out { writer: BufWriter::new(stdout), gone: false, colours }
}

/// Whether standard output is a file that others than its owner can read.
pub(crate) fn is_open_to_others() -> io::Result<bool> {
    let file = rustix::fs::fstat(io::stdout())?;
    let is_file = rustix::fs::FileType::from_raw_mode(file.st_mode) == rustix::fs::FileType::RegularFile;
    Ok(is_file && file.st_mode & 0o077 != 0)
}

/// A colour of the terminal's own set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Good,
    Look,
    Bad,
    Faint,
    Strong,
}

impl<W: Write> Out<W> {
    /// A line of text.
    pub(crate) fn line(&mut self, text: Arguments<'_>) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let written = writeln!(self.writer, "{text}");
        self.forgive(written)
    }

    /// Text with its own line ends, or none.
    pub(crate) fn text(&mut self, text: Arguments<'_>) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let written = self.writer.write_fmt(text);
        self.forgive(written)
    }

    /// Writes out what is still in the buffer; `false`: nobody reads it any more.
    pub(crate) fn finish_while_read(mut self) -> io::Result<bool> {
        if !self.gone {
            let flushed = self.writer.flush();
            self.forgive(flushed)?;
        }
        Ok(!self.gone)
    }

    /// A line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.line(format_args!("{text}"))
    }

    /// The text in a colour, where there is a person to see it.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Good => "32",
            Colour::Look => "33",
            Colour::Bad => "31",
            Colour::Faint => "2",
            Colour::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Writes out what is still in the buffer.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let flushed = self.writer.flush();
        self.forgive(flushed)
    }

    fn forgive(&mut self, written: io::Result<()>) -> io::Result<()> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            other => other,
        }
    }
}

/// Says something beside what was asked for: on standard error, where a failure to say it has no
/// better place to be reported.
pub(crate) fn remark(text: Arguments<'_>) {
    remark_of("wardline", text);
}

/// The same in the name of another program.
pub(crate) fn remark_of(program: &str, text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{program}: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn long_output(kind: ErrorKind) -> io::Result<()> {
        let mut out = Out { writer: BufWriter::new(Failing(kind)), gone: false, colours: false };
        for _ in 0..10_000 {
            out.line(format_args!("a line of text"))?;
        }
        out.finish()
    }

    #[test]
    fn colours_are_for_terminals_only() {
        let out = |colours| Out { writer: BufWriter::new(io::sink()), gone: false, colours };
        assert_eq!(out(false).paint(Colour::Bad, "x"), "x");
        assert_eq!(out(true).paint(Colour::Bad, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn a_reader_that_went_away_is_not_an_error_and_a_full_disk_is() {
        assert!(long_output(ErrorKind::BrokenPipe).is_ok());
        assert_eq!(long_output(ErrorKind::StorageFull).unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
