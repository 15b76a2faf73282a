//! What was measured, as a table for people and as JSON.

use serde::Serialize;

use crate::Result;

/// Everything that a run measured.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) failed: Vec<(&'static str, String)>,
}

/// One figure, with the one it is held against.
#[derive(Serialize)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) work: String,
    /// What it cost.
    pub(crate) figure: f64,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// The floor of the same run, where there is one.
    pub(crate) floor: Option<f64>,
    /// What it is to cost at most: a multiple of the floor, or an amount where there is no floor.
    pub(crate) at_most: f64,
    /// The least and the greatest round.
    pub(crate) spread: (f64, f64),
}

impl Row {
    /// A figure that was measured once, and is held against an amount.
    pub(crate) fn once(work: &str, figure: f64, unit: &'static str, at_most: f64) -> Row {
        Row { work: work.into(), figure, unit, floor: None, at_most, spread: (figure, figure) }
    }

    /// The figure as it is compared with `at_most`.
    fn measure(&self) -> f64 {
        self.floor.map_or(self.figure, |floor| self.figure / floor)
    }

    fn is_met(&self) -> bool {
        self.measure() <= self.at_most
    }
}

impl Report {
    /// A Markdown table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from(
            "| work | figure | floor | ratio | at most | spread | |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let floor = row.floor.map_or(String::new(), |floor| format!("{floor:.2}"));
            let ratio = row.floor.map_or(String::new(), |_| format!("{:.2}", row.measure()));
            out.push_str(&format!(
                "| {} | {:.2} {} | {floor} | {ratio} | {} | {:.2}-{:.2} | {} |\n",
                row.work,
                row.figure,
                row.unit,
                row.at_most,
                row.spread.0,
                row.spread.1,
                if row.is_met() { "met" } else { "MISSED" },
            ));
        }
        for (name, why) in &self.failed {
            out.push_str(&format!("| {name} | failed: {why} |\n"));
        }
        out
    }

    /// An error only where something could not be measured: a missed figure is a finding.
    pub(crate) fn verdict(&self) -> Result<()> {
        match self.failed.as_slice() {
            [] => Ok(()),
            failed => Err(format!("{} workloads failed", failed.len()).into()),
        }
    }
}

/// The median, the least and the greatest of some rounds.
pub(crate) fn summary(mut rounds: Vec<f64>) -> (f64, (f64, f64)) {
    rounds.sort_by(f64::total_cmp);
    let middle = rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN);
    let first = rounds.first().copied().unwrap_or(f64::NAN);
    let last = rounds.last().copied().unwrap_or(f64::NAN);
    (middle, (first, last))
}
