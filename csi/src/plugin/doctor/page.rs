//! The page on which a pod says how it is, as `lvmd::runtime::http` writes it: a line for each thing that was looked at. What is for a
//! person keeps no pod from being ready, so the lines tell and not the page's code.

use crate::plugin::why::{Finding, Verdict};

/// What a pod says of itself: its lines, or why there are none.
pub(super) fn findings(what: &str, told: &Result<String, String>) -> Vec<Finding> {
    let page = match told {
        Ok(page) => page,
        Err(words) => return vec![Finding::new(what, Verdict::Problem, words)],
    };
    let lines = page.lines().filter_map(read);
    let found: Vec<_> = lines
        .map(|(verdict, text)| Finding::new(what, verdict, text))
        .collect();
    match found.is_empty() {
        true => vec![Finding::new(what, Verdict::Ok, "says that it is well")],
        false => found,
    }
}

/// A line of the page; `None` for one that tells of no check.
fn read(line: &str) -> Option<(Verdict, String)> {
    let (sign, check) = line.strip_prefix('[')?.split_once(']')?;
    Some(match sign {
        "+" => (Verdict::Ok, without(check, "ok")),
        "!" => (Verdict::Problem, without(check, "warns")),
        "-" => (Verdict::Problem, check.to_owned()),
        _ => return None,
    })
}

/// `name word: text` without the word, which the verdict says.
fn without(check: &str, word: &str) -> String {
    if let Some((name, text)) = check.split_once(&format!(" {word}: ")) {
        return format!("{name}: {text}");
    }
    let name = check.strip_suffix(&format!(" {word}"));
    name.unwrap_or(check).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_told_and_those_for_a_person_are_problems() {
        let page = "[+]lvm ok: lvm 2.03.31\n[+]Tools ok\n[!]class okay warns: VGPartial: PVs are missing\n\
                    [-]lock-dir failed: private\nreadyz check failed\n";
        let found = findings("node n1", &Ok(page.to_owned()));
        let found: Vec<_> = found.iter().map(|f| (f.verdict, &*f.text)).collect();
        assert_eq!(
            found,
            [
                (Verdict::Ok, "lvm: lvm 2.03.31"),
                (Verdict::Ok, "Tools"),
                (Verdict::Problem, "class okay: VGPartial: PVs are missing"),
                (Verdict::Problem, "lock-dir failed: private"),
            ]
        );
    }

    #[test]
    fn a_page_of_another_program_says_that_it_is_well_by_being_there() {
        let found = findings("node n1", &Ok("ok".to_owned()));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].verdict, Verdict::Ok);
        assert!(findings("node n1", &Err("gone".to_owned()))[0].is_problem());
    }
}
