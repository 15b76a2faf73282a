//! `cargo xtask fuzz TARGET`: sends mangled input to a parser for a while.
//!
//! A target is an example of the crate whose parser it is: a program of ours on a stable compiler,
//! which mangles recorded documents as a seed decides. It ends badly at the first input that is not
//! answered as it must be, and says which seed and which input that was.
//!
//! Left out: guidance by coverage, which needs another compiler.

use crate::process::cargo;
use crate::{Failure, repository};

pub(crate) const SAYS: &str =
    "Sends mangled input to a parser: fuzz eureka-xml|eureka-json [--seconds N] [--seed N].";

/// Each target: its name, the package with the example `fuzz`, and what that is told.
const TARGETS: &[(&str, &str, &str)] =
    &[("eureka-xml", "muster-front-eureka", "xml"), ("eureka-json", "muster-front-eureka", "json")];

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (target, seconds, seed) = parse(arguments)?;
    let (name, package, word) = target;
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", package, "--example", "fuzz", "--", word]);
    command.args([seconds.to_string(), seed.to_string()]).current_dir(repository::root());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            Err(Failure::NotInOrder(format!("{name}: an input was not answered as it must be")))
        }
        Err(error) => Err(Failure::NotInOrder(format!("cargo run: {error}"))),
    }
}

type Target = (&'static str, &'static str, &'static str);

fn parse(arguments: &[String]) -> Result<(Target, u64, u64), Failure> {
    let names: Vec<&str> = TARGETS.iter().map(|(name, ..)| *name).collect();
    let says = || Failure::Usage(format!("say what to fuzz: {}", names.join(", ")));
    let (name, mut rest) = arguments.split_first().ok_or_else(says)?;
    let target = TARGETS.iter().find(|(own, ..)| own == name).ok_or_else(says)?;
    let (mut seconds, mut seed) = (20, 1);
    while let [flag, tail @ ..] = rest {
        let value = tail.first().and_then(|value| value.parse().ok());
        let value = value.ok_or_else(|| Failure::Usage(format!("{flag} needs a number")))?;
        match flag.as_str() {
            "--seconds" => seconds = value,
            "--seed" => seed = value,
            _ => {
                return Err(Failure::Usage(format!(
                    "unknown flag {flag}; there are --seconds --seed"
                )));
            }
        }
        rest = &tail[1..];
    }
    Ok((*target, seconds, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_name_a_time_and_a_seed() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let parsed = parse(&words("eureka-xml --seconds 3 --seed 7")).ok().expect("is an order");
        assert_eq!((parsed.0.2, parsed.1, parsed.2), ("xml", 3, 7));
        assert!(parse(&words("eureka-yaml")).is_err());
        assert!(parse(&words("eureka-xml --seconds")).is_err());
        assert!(parse(&[]).is_err());
    }
}
