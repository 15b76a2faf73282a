//! How large files and functions are: a file fits in the head, a function on the screen.
//!
//! A file aims at 400 lines and may not pass 800, tests not counted. A function aims at 40 lines
//! of code; 70 is the wall, and fewer than one function in a hundred may stand beyond it (clippy
//! asks each of them for a reason).

use super::Complaint;
use crate::source::{Function, Source};

const FILE_LINES_AIM: usize = 400;
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_AIM: usize = 40;
const FUNCTION_LINES_MAX: usize = 70;
/// One function in so many may be longer than the wall.
const LONG_FUNCTIONS_ONE_IN: usize = 100;

/// A file past the wall.
pub(super) fn too_long(source: &Source) -> Vec<Complaint> {
    let n_lines = source.production_lines().count();
    if n_lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let says = format!("{n_lines} lines without tests; the wall is {FILE_LINES_MAX}: split it");
    vec![Complaint::new(&source.path, 0, says)]
}

/// Functions past the wall, once they are one in a hundred.
pub(super) fn too_many_long_functions(sources: &[Source]) -> Vec<Complaint> {
    let functions = production_functions(sources);
    let long: Vec<&(&Source, Function)> =
        functions.iter().filter(|(_, function)| function.n_lines > FUNCTION_LINES_MAX).collect();
    if long.len() * LONG_FUNCTIONS_ONE_IN < functions.len().max(1) {
        return Vec::new();
    }
    long.iter()
        .map(|(source, Function { name, line, n_lines, .. })| {
            let says = format!("fn {name} has {n_lines} lines; the wall is {FUNCTION_LINES_MAX}");
            Complaint::new(&source.path, *line, says)
        })
        .collect()
}

/// What is larger than it aims to be: information, not a complaint.
pub(super) fn print(sources: &[Source]) {
    for source in sources {
        let n_lines = source.production_lines().count();
        if n_lines > FILE_LINES_AIM {
            println!("info: {} has {n_lines} lines (aim {FILE_LINES_AIM})", source.path);
        }
    }
    let functions = production_functions(sources);
    let over = |bound| functions.iter().filter(|(_, f)| f.n_lines > bound).count();
    println!(
        "info: {} functions, {} over {FUNCTION_LINES_AIM} lines, {} over {FUNCTION_LINES_MAX}",
        functions.len(),
        over(FUNCTION_LINES_AIM),
        over(FUNCTION_LINES_MAX),
    );
}

fn production_functions(sources: &[Source]) -> Vec<(&Source, Function)> {
    sources
        .iter()
        .flat_map(|source| source.functions().into_iter().map(move |function| (source, function)))
        .filter(|(_, function)| !function.is_test)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_past_the_wall_is_refused_but_its_tests_do_not_count() {
        let long = "const A: u8 = 1;\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(too_long(&Source::new("crates/state/src/a.rs", &long)).len(), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert!(too_long(&Source::new("crates/state/src/a.rs", &tests)).is_empty());
    }

    #[test]
    fn long_functions_are_refused_once_they_are_one_in_a_hundred() {
        let long = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(FUNCTION_LINES_MAX + 1));
        let one_in = |n: usize| {
            let text = format!("{long}{}", "fn short() {}\n".repeat(n - 1));
            too_many_long_functions(&[Source::new("crates/state/src/a.rs", &text)]).len()
        };
        assert_eq!(one_in(LONG_FUNCTIONS_ONE_IN), 1);
        assert_eq!(one_in(LONG_FUNCTIONS_ONE_IN + 1), 0);
    }

    #[test]
    fn a_house_without_functions_is_in_order() {
        assert!(too_many_long_functions(&[Source::new("crates/state/src/a.rs", "")]).is_empty());
    }
}
