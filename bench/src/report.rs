//! What was measured: as JSON for machines, and as tables and plots for people.

use std::path::Path;

use serde::Serialize;

use crate::figures::Figures;
use crate::speed::Slowness;
use crate::{Error, Result, plot};

/// What the tables call the least that could be measured.
pub(crate) const FLOOR: &str = "floor";
/// What the name of this repository's own rows begins with.
pub(crate) const OWN: &str = "muster";
/// The unit of the figure that counts.
pub(crate) const CPU: &str = "us CPU";

/// Everything that a run measured.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    /// When, on what and how.
    pub(crate) circumstances: Vec<(String, String)>,
    /// On which machine the goals were set, and how this one compares, by workload.
    pub(crate) goals: Option<String>,
    /// Contestants with their versions, in the order of the columns.
    pub(crate) contestants: Vec<(String, String)>,
    pub(crate) rows: Vec<Row>,
    /// How many samples of muster's profile each part has, by work.
    pub(crate) profiles: Vec<(String, Vec<(&'static str, u64)>)>,
    /// Who was left out, of what, and why.
    pub(crate) left_out: Vec<(String, String, String)>,
}

/// One figure of one contestant.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) work: String,
    /// By whom.
    pub(crate) contestant: String,
    /// What it cost.
    pub(crate) figure: f64,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// The least and the greatest round.
    pub(crate) spread: (f64, f64),
    /// The floor of the same run, where there is one.
    pub(crate) floor: Option<f64>,
    /// What muster may cost.
    pub(crate) at_most: Option<AtMost>,
    /// How this machine compared meanwhile with the one that the goals were set on.
    pub(crate) slowness: Option<Slowness>,
    /// What else the rounds tell.
    pub(crate) details: Option<Figures>,
}

/// What a work may cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum AtMost {
    /// So much, in the unit of the figure.
    Amount(f64),
    /// So much time of the processor of the machine that the goals were set on.
    Cpu(f64),
    /// So much time there that processor and disk share; it is stretched by the lesser of both.
    Wait(f64),
    /// So many times the floor.
    Floors(f64),
}

impl std::fmt::Display for AtMost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AtMost::Amount(amount) | AtMost::Cpu(amount) | AtMost::Wait(amount) => {
                write!(formatter, "{amount}")
            }
            AtMost::Floors(n_floors) => write!(formatter, "{n_floors} floors"),
        }
    }
}

impl Row {
    /// A figure with its spread.
    pub(crate) fn new(
        work: &str,
        contestant: &str,
        (figure, spread): (f64, (f64, f64)),
        unit: &'static str,
    ) -> Row {
        let (work, contestant) = (work.into(), contestant.into());
        let (floor, at_most, slowness, details) = (None, None, None, None);
        Row { work, contestant, figure, unit, spread, floor, at_most, slowness, details }
    }

    /// With a limit for muster.
    pub(crate) fn at_most(mut self, at_most: AtMost) -> Row {
        self.at_most = Some(at_most);
        self
    }

    /// What muster may cost here, in the unit of the figure.
    fn limit(&self) -> Option<f64> {
        let stretched = |amount, by: fn(Slowness) -> f64| amount * self.slowness.map_or(1.0, by);
        match self.at_most? {
            AtMost::Amount(amount) => Some(amount),
            AtMost::Cpu(amount) => Some(stretched(amount, |here| here.cpu)),
            AtMost::Wait(amount) => Some(stretched(amount, |here| here.cpu.min(here.disk))),
            AtMost::Floors(n_floors) => self.floor.map(|floor| floor * n_floors),
        }
    }
}

impl Report {
    /// Notes that somebody's row is missing.
    pub(crate) fn leave_out(&mut self, contestant: &str, what: &str, why: &Error) {
        eprintln!("  {contestant} is left out ({what}): {why}");
        self.left_out.push((contestant.into(), what.into(), why.to_string()));
    }

    /// Writes `report.json`, `report.md` and the plots into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("report.json"), serde_json::to_string_pretty(self)?)?;
        std::fs::write(folder.join("report.md"), self.markdown())?;
        for unit in self.units() {
            let name = format!("{}.svg", unit.replace([' ', '%'], "-").to_lowercase());
            std::fs::write(folder.join(name), plot::bars(self, unit))?;
        }
        Ok(())
    }

    /// All of it as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        for (name, value) in self.circumstances.iter().chain(&self.contestants) {
            out.push_str(&format!("- {name}: {value}\n"));
        }
        if let Some(goals) = &self.goals {
            out.push_str(&format!("- goals: {goals}\n"));
        }
        out.push_str("\n## Side by side\n\n");
        out.push_str(&self.table());
        out.push_str("\n## In detail\n\n");
        out.push_str(&self.details());
        if !self.profiles.is_empty() {
            out.push_str("\n## Where the time goes\n\n");
            out.push_str(&self.parts());
        }
        for (contestant, what, why) in &self.left_out {
            out.push_str(&format!("\n{contestant} is left out of \"{what}\": {why}\n"));
        }
        out
    }

    /// One line a work, one column a contestant; the spread in brackets.
    pub(crate) fn table(&self) -> String {
        let columns = self.columns();
        let mut out = format!("| work | unit | {} | goal | here | |\n", columns.join(" | "));
        out.push_str(&format!("|---|---|{}---|---|---|\n", "---|".repeat(columns.len())));
        for (work, unit) in self.works() {
            let rows: Vec<&Row> =
                self.rows.iter().filter(|row| row.work == work && row.unit == unit).collect();
            let cells = columns.iter().map(|column| {
                let own = rows.iter().find(|row| row.contestant == *column);
                own.map_or(String::new(), |row| cell(row))
            });
            let cells = cells.collect::<Vec<_>>().join(" | ");
            let own = rows.iter().find(|row| row.contestant.starts_with(OWN));
            let goal = own.and_then(|row| Some((row.at_most?, row.limit()?, row.figure)));
            let verdict = goal.map_or(String::from(" | |"), |(goal, limit, figure)| {
                let verdict = if figure <= limit { "met" } else { "MISSED" };
                format!("{goal} | {} | {verdict}", short(limit))
            });
            out.push_str(&format!("| {work} | {unit} | {cells} | {verdict} |\n"));
        }
        out
    }

    /// Rates, latencies, bytes and syncs.
    fn details(&self) -> String {
        let mut out = String::from(
            "| work | who | CPU us | a second | p50 us | p99 us | p99.9 us | B written | syncs \
             | resident MB |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let Some(details) = &row.details else { continue };
            let optional = |figure: Option<f64>| figure.map_or(String::new(), short);
            out.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                row.work,
                row.contestant,
                short(row.figure),
                short(details.rate),
                short(details.p50),
                short(details.p99),
                short(details.p99_9),
                optional(details.written),
                optional(details.syncs),
                short(details.resident),
            ));
        }
        out
    }

    /// One line a work, one column a part, in percent; the greatest part of all first.
    fn parts(&self) -> String {
        let share = |shares: &[(&str, u64)], part: &str| {
            let all: u64 = shares.iter().map(|(_, count)| count).sum();
            let own: u64 =
                shares.iter().filter(|(own, _)| *own == part).map(|(_, count)| count).sum();
            own as f64 * 100.0 / all.max(1) as f64
        };
        let mut parts: Vec<&str> = Vec::new();
        for (_, shares) in &self.profiles {
            parts.extend(shares.iter().map(|(part, _)| *part));
        }
        parts.sort_unstable();
        parts.dedup();
        let sum = |part| self.profiles.iter().map(|(_, shares)| share(shares, part)).sum::<f64>();
        parts.sort_by(|one, other| sum(*other).total_cmp(&sum(*one)));
        let mut out = format!("| % of the CPU time of | {} |\n", parts.join(" | "));
        out.push_str(&format!("|---|{}\n", "---|".repeat(parts.len())));
        for (work, shares) in &self.profiles {
            let cells = parts.iter().map(|part| format!("{:.0}", share(shares, part)));
            out.push_str(&format!("| {work} | {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        }
        out
    }

    /// What was done, once each, in order.
    pub(crate) fn works(&self) -> Vec<(String, &'static str)> {
        let mut works = Vec::new();
        for row in &self.rows {
            let work = (row.work.clone(), row.unit);
            if !works.contains(&work) {
                works.push(work);
            }
        }
        works
    }

    /// Who has a row, in the order of the contestants.
    pub(crate) fn columns(&self) -> Vec<&str> {
        let has_row = |name: &&str| self.rows.iter().any(|row| row.contestant == *name);
        let mut columns: Vec<&str> = Vec::new();
        for (name, _) in &self.contestants {
            if has_row(&name.as_str()) && !columns.contains(&name.as_str()) {
                columns.push(name);
            }
        }
        columns
    }

    fn units(&self) -> Vec<&'static str> {
        let mut units = Vec::new();
        for row in &self.rows {
            if !units.contains(&row.unit) {
                units.push(row.unit);
            }
        }
        units
    }

    /// An error only where muster's own rows could not be measured: a missed figure is a finding,
    /// and so is a peer that fails.
    pub(crate) fn verdict(&self) -> Result<()> {
        match self.left_out.iter().find(|(name, ..)| name.starts_with(OWN)) {
            None => Ok(()),
            Some((name, what, why)) => Err(format!("{name} failed in \"{what}\": {why}").into()),
        }
    }
}

fn cell(row: &Row) -> String {
    let (figure, (least, greatest)) = (short(row.figure), row.spread);
    match least < greatest {
        true => format!("{figure} ({}-{})", short(least), short(greatest)),
        false => figure,
    }
}

/// Three digits, as a person would write them.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = |who: &str, figure| Row::new("put", who, (figure, (figure, figure * 2.0)), CPU);
        let mut own = row(OWN, 12.0);
        (own.floor, own.at_most) = (Some(10.0), Some(AtMost::Floors(1.5)));
        let contestants = [OWN, "peer", FLOOR].map(|name| (name.to_string(), "1".into()));
        let rows = vec![own, row("peer", 250.0), row(FLOOR, 10.0)];
        Report { rows, contestants: contestants.into(), ..Report::default() }
    }

    #[test]
    fn a_work_is_one_line_with_a_column_for_everybody() {
        let table = report().table();
        let line = table.lines().last().expect("there is a line");
        let expected = "| put | us CPU | 12.0 (12.0-24.0) | 250 (250-500) | 10.0 (10.0-20.0) | 1.5 floors | 15.0 | met |";
        assert_eq!(line, expected);
    }

    #[test]
    fn only_what_muster_cannot_do_is_a_failure() {
        let mut report = report();
        report.leave_out("peer", "put", &"it crashed".into());
        assert!(report.verdict().is_ok());
        report.leave_out(OWN, "put", &"it crashed".into());
        assert!(report.verdict().is_err());
    }
}
