//! Golden scripts: commands and questions with the full trace of what came of them.
//!
//! Each `tests/scripts/*.txt` begins with a sentence that says what it shows. A line that starts with
//! `> ` is a command or a question in the small language of `language/`; the lines below it are what
//! the state said. After every line the state is saved, loaded again and compared by its hash, and a
//! second replica applies the same command and must say the same.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p muster-state --test scripts` writes the traces anew; commit them
//! only when you understand what changed.

mod language;

use std::path::{Path, PathBuf};

use language::{Line, parse, print_answer, print_change, print_outcome};
use muster_state::State;

#[test]
fn every_script_says_what_it_said_before() {
    let is_update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "the scripts are not where they should be");
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let trace = run(&script);
        if is_update {
            std::fs::write(&path, trace).unwrap();
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(trace, script, "{name}: the trace is another; see the essay of this file");
        }
    }
}

/// Runs the lines of a script and gives it back with what the state says now.
fn run(script: &str) -> String {
    let mut trace = String::new();
    let (mut state, mut replica) = (State::default(), State::default());
    let kept = |line: &&str| line.is_empty() || line.starts_with('#') || line.starts_with("> ");
    for line in script.lines().filter(kept) {
        trace.push_str(&format!("{line}\n"));
        let Some(wish) = line.strip_prefix("> ") else { continue };
        match parse(wish) {
            Line::Command(command) => {
                let index = state.index() + 1;
                let (outcome, changes) = state.apply(index, &command);
                assert_eq!(replica.apply(index, &command), (outcome.clone(), changes.clone()));
                trace.push_str(&format!("{index}: {}\n", print_outcome(&outcome)));
                for change in &changes {
                    trace.push_str(&format!("  {}\n", print_change(change)));
                }
            }
            Line::Query(query) => trace.push_str(&print_answer(&state.answer(&query))),
        }
        let loaded = State::load(state.save()).expect("what was saved can be loaded");
        assert_eq!(loaded.hash(), state.hash(), "{wish}: loading changed the state");
        assert_eq!(replica.hash(), state.hash(), "{wish}: two replicas differ");
    }
    trace
}
