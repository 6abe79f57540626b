//! The table of rules (`docs/rules.md`) and the tests agree.
//!
//! In: a numbered test has a row, a row names tests that exist, a rule without a test says why.
//! Out: whether a test asserts what its rule says; people read that.
//!
//! A test carries the numbers of its rules in front of its name: `t36_…`, `g01_g02_…`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Cells of a row: number, rule, source, tests, what is missing and why.
const CELLS: usize = 5;

#[test]
fn the_table_and_the_tests_agree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = Table::parse(&fs::read_to_string(root.join("docs/rules.md")).unwrap());
    let mut functions = Functions::default();
    for folder in ["src", "tests/it"] {
        functions.read_folder(&root.join(folder));
    }
    assert!(table.rows.len() > 100, "{} rows", table.rows.len());
    assert!(functions.tests.len() > 300, "{:?}", functions.tests.len());
    let faults = faults(&table, &functions);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn disagreements_are_found_and_named() {
    let table = Table::parse(
        &[
            "| # | Rule | Source | Tests | Missing |",
            "|---|---|---|---|---|",
            "| T1 | kept | JSON-RPC 2.0 §4 | `t01_kept`, `without_a_number` | |",
            "| T3 | named in vain | a | `t03_gone`, `t03_helper` | a reason does not help |",
            "| T2 | out of order | a | `t01_t02_both` | |",
            "| T4 | neither test nor reason | a | | |",
            "| T4 | given twice | a | | not yet |",
            "| T5 | of no source | | | not yet |",
            "| T6 | one cell too few | `t01_kept` | |",
            "| T7–T9 | a group with a test | a | `t01_kept` | |",
            "| T10-12 | an odd number | a | | not yet |",
            "| T13–T20 | later | a | | not yet |",
            "| A, B | later | a | | not yet |",
            "| G2 | kept by a test of another number | a | `t01_kept` | |",
        ]
        .join("\n"),
    );
    let mut functions = Functions::default();
    functions.read(
        &[
            "#[test]",
            "fn t01_kept() {}",
            "    #[tokio::test(flavor = \"current_thread\")]",
            "    #[cfg(unix)]",
            "    // A remark.",
            "    async fn t01_t02_both() {}",
            "#[test]",
            "fn without_a_number(bytes in any()) {}",
            "#[test]",
            "fn t004_padded() {}",
            "#[test]",
            "fn t14_in_a_group_alone() {}",
            "#[test]",
            "fn g31_unknown() {}",
            "#[test]",
            "fn http2_and_ipv4_are_no_numbers() {}",
            "fn t03_helper() {}",
        ]
        .join("\n"),
    );
    let expected = [
        "T2: stands after T3",
        "T3: t03_gone is no test",
        "T3: t03_helper is no test",
        "T4: given twice",
        "T4: neither a test nor a reason",
        "T5: no source",
        "T7–T9: a group has no tests; each rule that has one gets a row",
        "g31_unknown: no row for G31",
        "row \"T10-12\": no number",
        "row \"T6\": 4 cells instead of 5",
        "t004_padded: no row for T4 in this spelling, write t04",
        "t03_helper: has a number and is no test",
        "t14_in_a_group_alone: no row for T14",
    ];
    assert_eq!(
        faults(&table, &functions),
        BTreeSet::from(expected.map(str::to_owned))
    );
}

/// What does not fit together, each with the name of the culprit.
fn faults(table: &Table, functions: &Functions) -> BTreeSet<String> {
    let mut faults = table.faults.clone();
    for row in &table.rows {
        let number = &row.number;
        if row.source.is_empty() {
            faults.insert(format!("{number}: no source"));
        }
        if row.tests.is_empty() && row.reason.is_empty() {
            faults.insert(format!("{number}: neither a test nor a reason"));
        }
        if row.rule.is_none() && !row.tests.is_empty() {
            faults.insert(format!(
                "{number}: a group has no tests; each rule that has one gets a row"
            ));
        }
        for test in &row.tests {
            if !functions.tests.contains(test) {
                faults.insert(format!("{number}: {test} is no test"));
            }
        }
    }
    let rules: BTreeSet<&Rule> = table
        .rows
        .iter()
        .filter_map(|row| row.rule.as_ref())
        .collect();
    for name in &functions.numbered {
        if !functions.tests.contains(name) {
            faults.insert(format!("{name}: has a number and is no test"));
        }
    }
    for name in &functions.tests {
        for (rule, spelling) in rules_in(name) {
            let Rule(letter, number) = rule;
            if !rules.contains(&rule) {
                faults.insert(format!("{name}: no row for {letter}{number}"));
            } else if rule.in_a_name() != spelling {
                let better = rule.in_a_name();
                faults.insert(format!(
                    "{name}: no row for {letter}{number} in this spelling, write {better}"
                ));
            }
        }
    }
    faults
}

/// One rule: its letter, upper case, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule(char, u32);

impl Rule {
    /// `T36`.
    fn parse(text: &str) -> Option<Self> {
        let letter = text.chars().next().filter(char::is_ascii_uppercase)?;
        let digits = &text[1..];
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        let number = digits.parse().ok().filter(|_| plain)?;
        Some(Self(letter, number))
    }

    /// How the name of a test begins: `t04`.
    fn in_a_name(self) -> String {
        format!("{}{:02}", self.0.to_ascii_lowercase(), self.1)
    }
}

/// The rules that the name of a test begins with, and how they are spelled there.
fn rules_in(name: &str) -> Vec<(Rule, &str)> {
    let rule = |part: &str| {
        let letter = part.chars().next().filter(char::is_ascii_lowercase)?;
        let digits = part[1..].parse::<u32>().ok()?;
        Some(Rule(letter.to_ascii_uppercase(), digits))
    };
    let parts = name.split('_');
    parts.map_while(|part| Some((rule(part)?, part))).collect()
}

/// The functions of the sources.
#[derive(Default)]
struct Functions {
    /// Those that run as tests.
    tests: BTreeSet<String>,
    /// Those whose name begins with a rule's number.
    numbered: BTreeSet<String>,
}

impl Functions {
    fn read_folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.read_folder(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.read(&fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// Takes the functions of one file. An attribute and a function begin a line, as rustfmt has
    /// it.
    fn read(&mut self, source: &str) {
        let mut is_test = false;
        for line in source.lines().map(str::trim_start) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            }
            let Some(name) = function(line) else {
                continue;
            };
            if !rules_in(name).is_empty() {
                self.numbered.insert(name.to_owned());
            }
            if std::mem::take(&mut is_test) {
                self.tests.insert(name.to_owned());
            }
        }
    }
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    let end = |letter: char| !letter.is_alphanumeric() && letter != '_';
    line.strip_prefix("fn ")?.split(end).next()
}

/// The rows of `docs/rules.md`.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    /// What is wrong with the table itself.
    faults: BTreeSet<String>,
}

struct Row {
    /// As it stands there: `T36`, for a group `T92–T129` or letters.
    number: String,
    /// `None` for a group.
    rule: Option<Rule>,
    source: String,
    tests: Vec<String>,
    reason: String,
}

impl Table {
    fn parse(text: &str) -> Self {
        let mut table = Self::default();
        let mut last: BTreeMap<char, u32> = BTreeMap::new();
        for line in text.lines() {
            let Some(cells) = line
                .strip_prefix('|')
                .and_then(|line| line.strip_suffix('|'))
            else {
                continue;
            };
            let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
            let number = cells[0];
            if number == "#" || number.starts_with("--") {
                continue;
            }
            if cells.len() != CELLS {
                let fault = format!("row {number:?}: {} cells instead of {CELLS}", cells.len());
                table.faults.insert(fault);
                continue;
            }
            let rule = Rule::parse(number);
            if rule.is_none() && !is_group(number) {
                table.faults.insert(format!("row {number:?}: no number"));
                continue;
            }
            if let Some(Rule(letter, this)) = rule {
                match last.insert(letter, this) {
                    Some(before) if before == this => {
                        table.faults.insert(format!("{number}: given twice"));
                    }
                    Some(before) if before > this => {
                        let fault = format!("{number}: stands after {letter}{before}");
                        table.faults.insert(fault);
                    }
                    _ => {}
                }
            }
            table.rows.push(Row {
                number: number.to_owned(),
                rule,
                source: cells[2].to_owned(),
                // Every second piece stands between two backticks.
                tests: cells[3]
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect(),
                reason: cells[4].to_owned(),
            });
        }
        table
    }
}

/// `T92–T129`, or letters alone: rules that come later, together.
fn is_group(number: &str) -> bool {
    let ends = number
        .split_once('–')
        .map(|(first, last)| [first, last].map(Rule::parse));
    let letters = |part: &str| part.len() == 1 && part.chars().all(|it| it.is_ascii_uppercase());
    match ends {
        Some([Some(first), Some(last)]) => first.0 == last.0 && first.1 < last.1,
        Some(_) => false,
        None => number.split(", ").all(letters),
    }
}
