//! Man pages and shell completions of the programs, made from their command lines, for packages.
//!
//! In: the command lines, a folder, a date. Out: `man1/PROGRAM-COMMAND.1` for each program and each of its commands that
//! is not hidden, and `completions/{bash,zsh,fish}/` with one file for each program, named as each shell looks for
//! it. What is written depends on these alone: no clock, no folder of this machine.

use std::fs::{File, create_dir_all};
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap::builder::{Resettable, StyledStr};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

/// Each program that is shipped, by its command line.
fn programs() -> Vec<Command> {
    vec![
        crate::cli::command(),
        #[cfg(feature = "operator")]
        crate::fleet::operator::command(),
    ]
}

/// Writes them into a folder, which is made if need be. Each page says the date, `YYYY-MM-DD`.
pub fn write(folder: &Path, date: &str) -> anyhow::Result<()> {
    let pages = folder.join("man1");
    made(&pages)?;
    for program in programs() {
        let name = program.get_name().to_owned();
        // `help` as a command repeats every command; `--help` is on each.
        let mut program = program.disable_help_subcommand(true);
        program.build();
        for (file, page) in pages_of(&program, date)? {
            put(&pages.join(file), &page)?;
        }
        for (shell, file) in [
            (Shell::Bash, format!("bash/{name}")),
            (Shell::Zsh, format!("zsh/_{name}")),
            (Shell::Fish, format!("fish/{name}.fish")),
        ] {
            let path = folder.join("completions").join(file);
            made(path.parent().unwrap_or(folder))?;
            let mut script = Vec::new();
            generate(shell, &mut program, name.clone(), &mut script);
            put(&path, &script)?;
        }
    }
    Ok(())
}

fn made(folder: &Path) -> anyhow::Result<()> {
    create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))
}

fn put(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    File::create(path).with_context(cannot)?.write_all(content).with_context(cannot)
}

/// The page of a command and those of the commands below it, each with the name of its file.
fn pages_of(command: &Command, date: &str) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut pages = vec![(format!("{name}.1"), page(command, date)?)];
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages.extend(pages_of(below, date)?);
    }
    Ok(pages)
}

/// One page. What stands after the help is set as it was written: it has columns.
fn page(command: &Command, date: &str) -> std::io::Result<Vec<u8>> {
    let after = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
    let none = || Resettable::<StyledStr>::Reset;
    let man = Man::new(command.clone().after_help(none()).after_long_help(none()))
        .date(date)
        .source(concat!("Wardline ", env!("CARGO_PKG_VERSION")))
        .manual("Wardline");
    let mut page = Vec::new();
    man.render(&mut page)?;
    if let Some(after) = after {
        set_as_written(&after, &mut page)?;
    }
    Ok(page)
}

/// A line that ends in a colon and is not indented becomes a section, as `Examples:` and `Exit codes:` are; the
/// rest keeps its lines.
fn set_as_written(text: &str, page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut before = Before::Nothing;
    for line in text.lines() {
        let heading = line.strip_suffix(':').filter(|words| !words.starts_with(' '));
        match (heading, before) {
            (Some(words), Before::Nothing) => writeln!(page, ".SH \"{}\"\n.nf", words.to_uppercase())?,
            (Some(words), _) => writeln!(page, ".fi\n.SH \"{}\"\n.nf", words.to_uppercase())?,
            (None, _) if line.is_empty() => {}
            (None, Before::Nothing) => writeln!(page, ".SH NOTES\n.nf\n{}", escaped(line))?,
            (None, Before::Gap) => writeln!(page, ".sp\n{}", escaped(line))?,
            (None, Before::Line) => writeln!(page, "{}", escaped(line))?,
        }
        before = if line.is_empty() { Before::Gap } else { Before::Line };
    }
    page.extend_from_slice(b".fi\n");
    Ok(())
}

/// What stands before a line.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Line,
    Gap,
}

/// A line of text for roff (groff(7)): no escape, no request, hyphens that can be copied.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', r"\(rs").replace('-', r"\-");
    if line.starts_with(['.', '\'']) { format!(r"\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(program: Command) -> Command {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        program
    }

    #[test]
    fn every_command_that_is_shown_has_a_page_and_no_other() {
        let program = built(crate::cli::command());
        let files: Vec<String> =
            pages_of(&program, "2026-01-02").unwrap().into_iter().map(|(file, _)| file).collect();
        assert_eq!(files[0], "wardline.1");
        for command in program.get_subcommands() {
            let file = format!("wardline-{}.1", command.get_name());
            assert_eq!(files.contains(&file), !command.is_hide_set(), "{file}");
        }
        assert!(files.contains(&"wardline-spool-verify.1".to_owned()), "{files:?}");
        assert!(!files.iter().any(|file| file.ends_with("-help.1")), "{files:?}");
    }

    #[test]
    fn what_stands_after_the_help_keeps_its_lines_and_headings() {
        let command = built(
            Command::new("x")
                .about("Does x")
                .after_help("Examples:\n  x -a 'b\\n'\n\nMore.\n\nExit codes:\n  0  y"),
        );
        let page = String::from_utf8(page(&command, "2026-01-02").unwrap()).unwrap();
        // An empty field would be left out, and what follows take its place.
        assert!(
            page.contains(concat!(
                ".TH x 1 2026-01-02 \"Wardline ",
                env!("CARGO_PKG_VERSION"),
                "\" Wardline"
            )),
            "{page}"
        );
        let tail = page.split_once(".SH \"EXAMPLES\"\n").expect("no examples").1;
        assert_eq!(tail, ".nf\n  x \\-a 'b\\(rsn'\n.sp\nMore.\n.fi\n.SH \"EXIT CODES\"\n.nf\n  0  y\n.fi\n");
    }

    #[test]
    fn text_is_never_a_request() {
        assert_eq!(escaped(".so /etc/shadow"), r"\&.so /etc/shadow");
        assert_eq!(escaped("'br"), r"\&'br");
        let mut page = Vec::new();
        set_as_written("Ends with 0.", &mut page).unwrap();
        assert_eq!(page, b".SH NOTES\n.nf\nEnds with 0.\n.fi\n");
    }
}
