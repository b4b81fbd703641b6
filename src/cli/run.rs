//! From the process's arguments to a role and its exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::{Exit, RunError, man, output, roles, signals};
use crate::config::{DEFAULTS, default_of};

/// One of the programs.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    /// Its name, which is that of its binary too.
    pub name: &'static str,
    /// Its flags.
    pub command: fn() -> Command,
    /// The sections of the settings that its flags are of.
    pub sections: &'static [&'static str],
    /// Its work, from the parsed flags on.
    pub run: fn(&ArgMatches) -> Result<Exit, RunError>,
}

impl Role {
    /// The parser, its help telling the defaults.
    pub(super) fn parser(&self) -> Command {
        (self.command)().name(self.name).version(env!("CARGO_PKG_VERSION")).mut_args(|arg| {
            let default = self.sections.iter().find_map(|section| default_of(section, arg.get_id().as_str()));
            match (default, arg.get_help().map(ToString::to_string)) {
                (Some(default), Some(help)) => arg.help(format!("{help} [default: {default}]")),
                _ => arg,
            }
        })
    }

    fn start(&self, matches: &ArgMatches) -> Result<Exit, RunError> {
        if let Some(shell) = matches.get_one::<clap_complete::Shell>("completions") {
            return complete(*shell, self.parser());
        }
        if let Some(folder) = matches.get_one::<PathBuf>("man") {
            return man::write(self.parser(), folder);
        }
        (self.run)(matches)
    }
}

/// Runs a role with the process's arguments.
pub fn run_role(role: &Role) -> ExitCode {
    finish(run_role_with(role, std::env::args_os().collect()))
}

/// Runs the role that is compiled in, or the one that the first argument names.
pub fn dispatch() -> ExitCode {
    finish(dispatch_among(roles::ALL, std::env::args_os().collect()))
}

fn finish(outcome: Result<Exit, RunError>) -> ExitCode {
    outcome
        .unwrap_or_else(|error| {
            error.report();
            error.exit()
        })
        .into()
}

fn run_role_with(role: &Role, arguments: Vec<OsString>) -> Result<Exit, RunError> {
    let matches = role.parser().try_get_matches_from(arguments)?;
    start(role, &matches)
}

fn start(role: &Role, matches: &ArgMatches) -> Result<Exit, RunError> {
    signals::survive_file_limit().map_err(RunError::io("install the signal handlers"))?;
    role.start(matches)
}

fn dispatch_among(roles: &[Role], mut arguments: Vec<OsString>) -> Result<Exit, RunError> {
    let first = arguments.get(1).and_then(|a| a.to_str()).unwrap_or_default();
    if let [only] = roles
        && !["config", "completions", "man"].contains(&first)
    {
        // `pubsub-kafka tracker …` means the same in a build of that role alone.
        if first == only.name {
            arguments.remove(1);
        }
        return run_role_with(only, arguments);
    }
    let matches = all_roles(roles).try_get_matches_from(arguments)?;
    match matches.subcommand() {
        Some(("config", _)) => output::print_text(DEFAULTS),
        Some(("completions", inner)) => {
            if let Some(shell) = inner.get_one::<clap_complete::Shell>("shell") {
                return complete(*shell, all_roles(roles));
            }
        }
        Some(("man", inner)) => {
            if let Some(folder) = inner.get_one::<PathBuf>("folder") {
                return man::write(all_roles(roles), folder);
            }
        }
        Some((name, inner)) => {
            if let Some(role) = roles.iter().find(|role| role.name == name) {
                return start(role, inner);
            }
        }
        None => {}
    }
    Ok(Exit::Done)
}

fn all_roles(roles: &[Role]) -> Command {
    let shell = clap::Arg::new("shell")
        .value_name("SHELL")
        .required(true)
        .value_parser(clap::value_parser!(clap_complete::Shell));
    let folder = clap::Arg::new("folder")
        .value_name("DIR")
        .help("Where to; it is made where it is missing")
        .required(true)
        .value_parser(clap::value_parser!(PathBuf));
    Command::new("pubsub-kafka")
        .about(
            "A Kafka order pipeline whose dead letters are first-class. The first argument names the role.",
        )
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand_value_name("ROLE")
        .subcommand_help_heading("Roles")
        .subcommands(roles.iter().map(Role::parser))
        .subcommand(
            Command::new("config")
                .about("Print every setting with its default, commented, as a file for --config"),
        )
        .subcommand(Command::new("completions").about("Print the completions for a shell").arg(shell))
        .subcommand(
            Command::new("man").about("Write the manual pages of all roles into a folder").arg(folder),
        )
}

fn complete(shell: clap_complete::Shell, mut command: Command) -> Result<Exit, RunError> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    output::print_text(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(_: &ArgMatches) -> Result<Exit, RunError> {
        Ok(Exit::Partial)
    }

    const A: Role = Role { name: "a", command: || Command::new("a"), sections: &[], run: never };
    const B: Role = Role { name: "b", ..A };

    fn dispatched(roles: &[Role], arguments: &[&str]) -> Exit {
        let arguments = std::iter::once(&"pubsub-kafka").chain(arguments).map(OsString::from).collect();
        let roles: Vec<Role> = roles
            .iter()
            .map(|r| Role {
                command: || <crate::cli::Common as clap::Args>::augment_args(Command::new("x")),
                ..*r
            })
            .collect();
        dispatch_among(&roles, arguments).unwrap_or_else(|error| error.exit())
    }

    #[test]
    fn one_role_is_the_program_and_several_are_named_first() {
        assert_eq!(dispatched(&[A], &[]), Exit::Partial);
        assert_eq!(dispatched(&[A], &["a"]), Exit::Partial);
        assert_eq!(dispatched(&[A], &["b"]), Exit::Usage);
        assert_eq!(dispatched(&[A, B], &["b"]), Exit::Partial);
        assert_eq!(dispatched(&[A, B], &["c"]), Exit::Usage);
        assert_eq!(dispatched(&[A, B], &["b", "--nonsense"]), Exit::Usage);
        assert_eq!(dispatched(&[A, B], &[]), Exit::Usage);
        assert_eq!(dispatched(&[A, B], &["--help"]), Exit::Done);
    }

    #[test]
    fn every_parser_is_sound() {
        all_roles(roles::ALL).debug_assert();
        for role in roles::ALL {
            role.parser().debug_assert();
        }
    }
}
