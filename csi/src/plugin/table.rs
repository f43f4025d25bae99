//! Rows as a table for people, or as JSON for programs.

use std::fmt::Write;

use anyhow::Context;
use lvmd::units::Bytes;
use serde::Serialize;

use super::args::Output;

/// One thing to show.
pub trait Row: Serialize {
    /// The columns' headings.
    const COLUMNS: &'static [&'static str];
    /// What stands in them; empty for nothing.
    fn cells(&self) -> Vec<String>;
}

/// All of them.
///
/// # Errors
/// A row cannot be written.
pub fn show<R: Row>(rows: &[R], output: Output) -> anyhow::Result<String> {
    match output {
        Output::Json => {
            let text = serde_json::to_string_pretty(rows).context("cannot write JSON")?;
            Ok(text + "\n")
        }
        Output::Table if rows.is_empty() => Ok("Nothing found.\n".to_owned()),
        Output::Table => Ok(table(R::COLUMNS, rows.iter().map(Row::cells).collect())),
    }
}

/// Columns as kubectl writes them: as wide as needed, three blanks between.
fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut all = vec![
        headings
            .iter()
            .map(|heading| (*heading).to_owned())
            .collect(),
    ];
    all.extend(rows);
    let wide = |at: usize| {
        let cells = all.iter().filter_map(|row: &Vec<String>| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(wide).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let cell = if cell.is_empty() { "-" } else { cell };
            // Writing to a String does not fail.
            let _ = write!(line, "{cell:<width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A size with one place after the point at most: `1.5Gi`.
pub fn size(bytes: Bytes) -> String {
    const UNITS: [&str; 6] = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let (mut whole, mut rest, mut unit) = (bytes.0, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    match rest * 10 / 1024 {
        0 => format!("{whole}{}", UNITS[unit]),
        tenth => format!("{whole}.{tenth}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1536, "1.5Ki"),
            (100 << 30, "100Gi"),
            ((1 << 40) - 1, "1023.9Gi"),
            (u64::MAX, "16383.9Pi"),
        ] {
            assert_eq!(size(Bytes(bytes)), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_needed() {
        let rows = vec![vec!["ä".to_owned(), String::new(), "x".to_owned()]];
        assert_eq!(
            table(&["A", "LONG", "B"], rows),
            "A   LONG   B\nä   -      x\n"
        );
    }
}
