//! Manual pages: what the flags tell by themselves, and behind it what only people know (exit codes, environment, files,
//! examples). One page for each program and each of its actions, without a date, so that the same source gives the same
//! pages.

mod words;

use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use self::words::{Words, words_of};
use super::{Exit, RunError, output};

/// The name of the whole, on each page.
const WHOLE: &str = "pubsub-kafka";

/// Writes the pages of a program into a folder, which is made where it is missing.
pub(super) fn write(command: Command, folder: &Path) -> Result<Exit, RunError> {
    let pages = pages(command).map_err(RunError::io("make the manual pages"))?;
    std::fs::create_dir_all(folder).map_err(RunError::io("make the folder of the manual pages"))?;
    for (name, page) in &pages {
        std::fs::write(folder.join(name), page).map_err(RunError::io("write a manual page"))?;
    }
    output::complain(&format!("{} manual pages are in {}", pages.len(), folder.display()));
    Ok(Exit::Done)
}

/// The file names and the texts of all pages of a program.
fn pages(command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, None, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, parent: Option<&str>, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let man = Man::new(command.clone())
        .source(format!("{WHOLE} {}", env!("CARGO_PKG_VERSION")))
        .manual(format!("{WHOLE} manual"));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if actions(command).next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    ours(command, parent).to_writer(&mut page)?;
    pages.push((man.get_filename(), page));
    for action in actions(command) {
        add(action, Some(title(command)), pages)?;
    }
    Ok(())
}

fn actions(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|action| !action.is_hide_set())
}

/// The name of a command's page: `dlq-apply`.
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// How a command is called, and what is known of it: `pubsub-kafka dlq apply` is `dlq apply`, too.
fn known(command: &Command) -> (&str, &'static Words) {
    let called = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let alone = called.strip_prefix(WHOLE).map(str::trim_start).filter(|alone| !alone.is_empty());
    let prefix = if alone.is_some() { &called[..=WHOLE.len()] } else { "" };
    (prefix, words_of(alone.unwrap_or(called)))
}

/// The sections that the flags know nothing of.
fn ours(command: &Command, parent: Option<&str>) -> Roff {
    let (prefix, words) = known(command);
    let mut page = Roff::new();
    page.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        item(&mut page, &(exit as u8).to_string(), exit.meaning());
    }
    item(
        &mut page,
        "130, 143",
        "stopped by a second SIGINT or SIGTERM; the first one ends the work in order, or at once where there is only \
         reading to end",
    );
    page.control("SH", ["ENVIRONMENT"]);
    for arg in command.get_arguments() {
        if let (Some(name), Some(long)) = (arg.get_env(), arg.get_long()) {
            item(&mut page, &name.to_string_lossy(), &format!("the same as --{long}, which goes before it"));
        }
    }
    if command.get_arguments().any(|arg| arg.get_id() == "bootstrap_servers") {
        item(&mut page, "KAFKA_SASL_PASSWORD", "the password for sasl.username");
        item(&mut page, "KAFKA_SSL_KEY_PASSWORD", "the password of the client's private key");
    }
    for (name, what) in words.environment {
        item(&mut page, name, what);
    }
    item(
        &mut page,
        "RUST_LOG",
        "which messages are shown, such as debug; --verbose and --quiet go before it",
    );
    item(&mut page, "NO_COLOR", "no colours, whatever the value");
    page.control("SH", ["FILES"]);
    for (name, what) in words.files {
        item(&mut page, name, what);
    }
    let settings = format!("settings (TOML), named by --config; {WHOLE} config prints all of them");
    item(&mut page, "FILE.toml", &settings);
    page.control("SH", ["EXAMPLES"]);
    for (what, example) in words.examples {
        if !what.is_empty() {
            page.control("PP", []);
            page.text([roman(*what)]);
        }
        page.control("PP", []);
        page.control("RS", ["4"]);
        page.control("nf", []);
        page.text([bold(format!("{prefix}{example}"))]);
        page.control("fi", []);
        page.control("RE", []);
    }
    let others: Vec<&str> = parent.into_iter().chain(actions(command).map(title)).collect();
    if !others.is_empty() {
        page.control("SH", ["SEE ALSO"]);
        let mut line: Vec<Inline> = Vec::new();
        for (at, other) in others.iter().enumerate() {
            line.push(bold(*other));
            line.push(roman(if at + 1 < others.len() { "(1), " } else { "(1)" }));
        }
        page.text(line);
    }
    page
}

fn item(page: &mut Roff, name: &str, what: &str) {
    page.control("TP", []);
    page.text([bold(name)]);
    page.text([roman(what)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::roles;

    /// Every command of a program, as it is called, the program itself first.
    fn commands(command: &Command) -> Vec<Command> {
        let inner = actions(command).flat_map(commands);
        std::iter::once(command.clone()).chain(inner).collect()
    }

    fn built(command: Command) -> Command {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        command
    }

    /// Splits a command line as a shell does, as far as the examples need it: single quotes, and what is before a pipe.
    fn split(line: &str) -> Vec<String> {
        let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
        for c in line.split(" | ").next().unwrap_or_default().chars() {
            match c {
                '\'' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
                c => word.push(c),
            }
        }
        words.push(word);
        words
    }

    #[test]
    fn every_page_has_examples_and_each_of_them_is_a_command_line_that_is_taken() {
        for role in roles::ALL {
            for command in commands(&built(role.parser())) {
                let (_, words) = known(&command);
                assert!(!words.examples.is_empty(), "{} has no example", title(&command));
                for (_, example) in words.examples {
                    let words = split(example);
                    assert_eq!(words[0], role.name, "{example}");
                    let called = command.get_bin_name().unwrap_or_else(|| command.get_name());
                    assert!(example.starts_with(called), "{example} is not about {called}");
                    let taken = role.parser().try_get_matches_from(&words);
                    if let Err(error) = taken {
                        panic!("{example}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_page_has_every_section_and_the_same_source_gives_the_same_pages() {
        for role in roles::ALL {
            let made = pages(role.parser()).expect("pages");
            assert_eq!(made, pages(role.parser()).expect("pages"));
            for (name, page) in made {
                let page = String::from_utf8(page).expect("UTF-8");
                for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES"]
                {
                    assert!(page.contains(&format!("\n.SH {section}\n")), "{name} has no {section}:\n{page}");
                }
                assert!(page.contains("\n.SH EXAMPLES\n"), "{name}");
            }
        }
    }
}
