//! Kept from getting slower: this binary beside an older one, in one run.
//!
//! CPU time per operation is compared, work by work. What became more than a tenth dearer, and in
//! its best round is dearer than the older one in its median round, is named; a single busy round
//! of the machine names nobody.

use crate::Result;
use crate::report::{CPU, OWN, Report};

/// What the older binary is called.
pub(crate) const BEFORE: &str = "before";
/// The workloads that are compared.
pub(crate) const WORKLOADS: [&str; 4] = ["kv", "register", "discover", "dns"];
/// Rounds of each binary.
pub(crate) const ROUNDS: usize = 7;
/// How much dearer is too much.
const DEARER: f64 = 1.10;

/// An error that names what became dearer.
pub(crate) fn verdict(report: &Report) -> Result<()> {
    report.verdict()?;
    let mut dearer = Vec::new();
    for own in report.rows.iter().filter(|row| row.contestant == OWN && row.unit == CPU) {
        let is_before =
            |row: &&crate::report::Row| row.contestant == BEFORE && row.work == own.work;
        let Some(before) = report.rows.iter().find(is_before) else { continue };
        let ratio = own.figure / before.figure;
        if ratio > DEARER && own.spread.0 > before.figure {
            let (now, then, work) = (own.figure, before.figure, &own.work);
            dearer.push(format!("{work}: {now:.1} us, before {then:.1} us ({ratio:.2} times)"));
        }
    }
    match dearer.is_empty() {
        true => Ok(()),
        false => Err(format!("became dearer:\n  {}", dearer.join("\n  ")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;

    fn report(now: f64, best: f64) -> Report {
        let row = |who, figure, least| Row::new("put", who, (figure, (least, figure)), CPU);
        let rows = vec![row(OWN, now, best), row(BEFORE, 10.0, 9.0)];
        Report { rows, ..Report::default() }
    }

    #[test]
    fn what_is_a_tenth_dearer_is_named() {
        let named = verdict(&report(12.0, 11.0)).expect_err("it is dearer").to_string();
        assert!(named.contains("put: 12.0 us, before 10.0 us (1.20 times)"), "{named}");
    }

    #[test]
    fn a_little_more_or_one_good_round_names_nobody() {
        assert!(verdict(&report(10.9, 10.5)).is_ok());
        assert!(verdict(&report(12.0, 9.5)).is_ok());
    }
}
