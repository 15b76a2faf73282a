//! Bars, one for each contestant and work, as SVG: read in any browser, with its own fonts.
//!
//! The scale is logarithmic: figures that differ a thousandfold stand on one page.

use crate::report::{FLOOR, OWN, Report};

const BAR_HEIGHT: f64 = 13.0;
const GAP: f64 = 9.0;
const LABELS_WIDTH: f64 = 430.0;
const BARS_WIDTH: f64 = 430.0;
const WIDTH: f64 = LABELS_WIDTH + BARS_WIDTH + 190.0;

/// All rows in one unit.
pub(crate) fn bars(report: &Report, unit: &str) -> String {
    let figures = || report.rows.iter().filter(|row| row.unit == unit && row.figure > 0.0);
    let least = figures().map(|row| row.figure).fold(f64::INFINITY, f64::min);
    let greatest = figures().map(|row| row.figure).fold(0.0, f64::max);
    let scale = Scale::new(least, greatest);
    let (mut body, mut y) = (String::new(), 34.0);
    for (work, _) in report.works().iter().filter(|(_, own)| *own == unit) {
        body.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
            LABELS_WIDTH - 8.0,
            y + BAR_HEIGHT - 3.0,
            escape(work)
        ));
        for row in report.rows.iter().filter(|row| row.unit == unit && row.work == *work) {
            let (width, color) = (scale.width(row.figure), color(&row.contestant));
            let height = BAR_HEIGHT - 2.0;
            body.push_str(&format!(
                "<rect x=\"{LABELS_WIDTH}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" \
                 fill=\"{color}\"/>\n<text x=\"{:.1}\" y=\"{}\">{} {:.2}</text>\n",
                LABELS_WIDTH + width + 4.0,
                y + BAR_HEIGHT - 3.0,
                escape(&row.contestant),
                row.figure
            ));
            y += BAR_HEIGHT;
        }
        y += GAP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n<text x=\"8\" y=\"20\" font-size=\"14\">{} (logarithmic; less is \
         better)</text>\n{body}</svg>\n",
        escape(unit)
    )
}

/// From a figure to the length of its bar.
struct Scale {
    least: f64,
    decades: f64,
}

impl Scale {
    fn new(least: f64, greatest: f64) -> Scale {
        // A third of a decade below the least, so that its bar is seen.
        let least = least / 2.0;
        Scale { least, decades: (greatest / least).log10().max(f64::MIN_POSITIVE) }
    }

    fn width(&self, figure: f64) -> f64 {
        let decades = (figure / self.least).log10().clamp(0.0, self.decades);
        let width = decades / self.decades * BARS_WIDTH;
        if width.is_finite() { width } else { 0.0 }
    }
}

fn color(contestant: &str) -> &'static str {
    match contestant {
        name if name.starts_with(OWN) => "#1b7f4b",
        FLOOR => "#b8b8b8",
        _ => "#5b7fb0",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{CPU, Row};

    #[test]
    fn every_row_of_the_unit_has_a_bar_and_dearer_ones_have_longer_bars() {
        let row = |who: &str, figure, unit| Row::new("a < b", who, (figure, (0.0, 0.0)), unit);
        let rows = vec![row(OWN, 5.0, CPU), row("peer", 500.0, CPU), row(OWN, 1.0, "ms")];
        let drawn = bars(&Report { rows, ..Report::default() }, CPU);
        assert_eq!(drawn.matches("<rect x=").count(), 2);
        assert!(drawn.contains("a &lt; b"));
        let scale = Scale::new(5.0, 500.0);
        assert!(scale.width(5.0) > 0.0 && scale.width(5.0) < scale.width(500.0));
        assert_eq!(scale.width(0.0), 0.0);
    }
}
