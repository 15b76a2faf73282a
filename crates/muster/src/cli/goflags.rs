//! Go-style flags made ordinary: `-http-addr=x` becomes `--http-addr=x`.
//!
//! Consul's commands take long flags with one dash or two; scripts in the field use both. Before clap
//! sees the arguments, every single-dash flag that the command knows under that long name gets its
//! second dash. What is a flag's value, and what belongs to a child program, is left alone, which is
//! why this walks the same [`Command`] that clap parses with.

use clap::{Arg, Command};

/// The arguments with long flags in the form that clap reads.
pub fn normalized(arguments: Vec<String>, root: &Command) -> Vec<String> {
    let mut command = root;
    let mut known: Vec<&Arg> = root.get_arguments().collect();
    let mut result = Vec::with_capacity(arguments.len());
    let mut is_value = false;
    let mut arguments = arguments.into_iter();
    result.extend(arguments.next());
    for argument in arguments.by_ref() {
        if is_value || argument == "-" {
            is_value = false;
            result.push(argument);
            continue;
        }
        if argument == "--" {
            result.push(argument);
            break;
        }
        if argument.starts_with('-') {
            let (argument, takes_value) = flag(argument, &known);
            is_value = takes_value;
            result.push(argument);
        } else if let Some(inner) = command.find_subcommand(&argument) {
            command = inner;
            known.extend(inner.get_arguments());
            result.push(argument);
        } else {
            let ends_flags = takes_child(command);
            result.push(argument);
            if ends_flags {
                break;
            }
        }
    }
    result.extend(arguments);
    result
}

/// A flag in clap's form, and whether the next argument is its value.
fn flag(argument: String, known: &[&Arg]) -> (String, bool) {
    let bare = argument.trim_start_matches('-');
    let (name, has_value) = match bare.split_once('=') {
        Some((name, _)) => (name, true),
        None => (bare, false),
    };
    let is_name = |arg: &&&Arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || aliases.contains(&name)
    };
    let found = known.iter().rev().find(is_name);
    let takes_value = found.is_some_and(|arg| {
        arg.get_action().takes_values() && !arg.is_require_equals_set() && !has_value
    });
    // An unknown word is shown to clap as a long flag, so that its error names the whole of it.
    let is_long = found.is_some() || name.len() > 1 && !name.starts_with(|c: char| c.is_numeric());
    match (is_long, argument.starts_with("--")) {
        (true, false) => (format!("-{argument}"), takes_value),
        _ => (argument, takes_value),
    }
}

/// Whether what follows the first plain argument belongs to another program.
fn takes_child(command: &Command) -> bool {
    command.get_arguments().any(Arg::is_trailing_var_arg_set)
}
