//! Users look codes up in docs/disk-watcher.md: it has each of them, in the words of the code.

const SOURCE: &str = include_str!("../code.rs");
const DOCS: &str = include_str!("../../../../docs/disk-watcher.md");

/// The rows that the comments on the codes make.
fn rows() -> Vec<String> {
    let (_, body) = SOURCE.split_once("pub enum Code {\n").unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let (mut rows, mut words) = (Vec::new(), Vec::new());
    for line in body.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            words.push(comment.trim());
            continue;
        }
        let name = line.split([',', '(']).next().unwrap();
        let comment = std::mem::take(&mut words).join(" ");
        let (meaning, way_out) = comment.split_once(" Way out: ").unwrap_or((&comment, ""));
        rows.push(format!("| `{name}` | {meaning} | {way_out} |"));
    }
    rows
}

#[test]
fn every_code_is_documented_in_its_own_words() {
    let rows = rows();
    let names = SOURCE.matches("=> \"").count();
    assert_eq!(rows.len(), names, "each code has a comment and a name");
    let (_, section) = DOCS.split_once("## Why a disk is not taken").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let documented: Vec<&str> = section.lines().filter(|l| l.starts_with("| `")).collect();
    assert_eq!(documented, rows, "docs/disk-watcher.md, the table of codes");
}

#[test]
fn every_code_is_in_one_section_of_troubleshooting() {
    const PAGE: &str = include_str!("../../../../docs/troubleshooting.md");
    let lists: Vec<&str> = PAGE.split("\n## ").skip(1).collect();
    let lists: Vec<&str> = lists
        .iter()
        .filter_map(|text| text.split("\n\n").nth(1))
        .collect();
    for row in rows() {
        let name = row.split(' ').nth(1).unwrap();
        let found = lists
            .iter()
            .filter(|list| list.starts_with('`') && list.contains(name));
        assert_eq!(found.count(), 1, "docs/troubleshooting.md, {name}");
    }
}

#[test]
fn every_reason_why_a_pool_does_not_grow_is_documented() {
    let (_, body) = include_str!("../../extend.rs")
        .split_once("pub fn code(&self)")
        .unwrap();
    let (body, _) = body.split_once("\n    }\n").unwrap();
    let codes: Vec<&str> = body.split('"').skip(1).step_by(2).collect();
    assert!(codes.contains(&"GroupFull"));
    for code in codes {
        assert!(DOCS.contains(&format!("| `{code}` |")), "{code}");
    }
}
