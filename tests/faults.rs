//! The deliberate faults of `tests/faults` still fit the tree, so that they do not rot. Whether they are caught is for
//! `tests/faults/run` to say: that builds payonce once for each.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Fewer would leave a promise with hardly a fault.
const FEWEST: usize = 22;
/// A plausible mistake is short.
const LONGEST: usize = 20;

struct Fault {
    name: String,
    path: PathBuf,
    text: String,
}

impl Fault {
    fn field(&self, field: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{}: no line `{field}: `", self.name))
    }

    fn lines<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| line.strip_prefix(beginning))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("tests/faults")
}

fn faults() -> Vec<Fault> {
    let entries = fs::read_dir(folder()).expect("the folder of the faults");
    let paths = entries.map(|entry| entry.expect("an entry of it").path());
    let mut faults: Vec<Fault> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .map(|path| Fault {
            name: path.file_stem().expect("it has a name").to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).expect("a patch is text"),
            path,
        })
        .collect();
    faults.sort_by(|one, other| one.name.cmp(&other.name));
    faults
}

#[test]
fn every_deliberate_fault_still_applies() {
    for fault in faults() {
        // Without a repository above this folder, whose paths git would take for the patch's.
        let above = root().parent().unwrap_or(root());
        let mut git = Command::new("git");
        git.args(["apply", "--check"]).arg(&fault.path).current_dir(root()).env("GIT_CEILING_DIRECTORIES", above);
        let output = git.output().expect("git is needed to see whether the faults still apply");
        assert!(output.status.success(), "{}: {}", fault.name, String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_deliberate_fault_says_what_it_breaks_and_what_catches_it() {
    let run = fs::read_to_string(folder().join("run")).expect("the command that tries them");
    for fault in faults() {
        let first = fault.text.lines().next().unwrap_or_default();
        assert!(first.ends_with('.') || first.len() > 40, "{}: begins with what it breaks: {first}", fault.name);
        assert!((1..=8).any(|n| fault.field("promise") == format!("P{n}")), "{}", fault.name);
        let check = fault.field("caught-by");
        assert!(run.contains(&format!("\n        {check}) ")), "{}: `run` knows no check `{check}`", fault.name);
        assert!(fault.lines("+++ ").all(|path| path.starts_with("b/src/")), "{}: breaks the product only", fault.name);
        let changed = fault.lines("+").chain(fault.lines("-")).filter(|line| !line.starts_with(['+', '-'])).count();
        assert!((1..=LONGEST).contains(&changed), "{}: changes {changed} lines", fault.name);
    }
}

#[test]
fn every_promise_has_a_fault_and_none_has_a_number_twice() {
    let faults = faults();
    assert!(faults.len() >= FEWEST, "{}", faults.len());
    for promise in 1..=8 {
        assert!(faults.iter().any(|fault| fault.field("promise") == format!("P{promise}")), "P{promise}");
    }
    for (fault, number) in faults.iter().zip(1..) {
        assert!(fault.name.starts_with(&format!("{number:02}-")), "{}: the {number}th", fault.name);
    }
}
