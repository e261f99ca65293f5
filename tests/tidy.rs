//! Holds who may import whom, and how long things may get. The table is DESIGN's: lower rings know nothing of higher.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each module of the crate, and the modules of ours that it may name.
const LAYERS: [(&str, &[&str]); 16] = [
    ("payment", &[]),
    ("disk", &[]),
    ("journal", &["payment", "disk"]),
    ("store", &["payment", "journal"]),
    ("engine", &["payment", "disk", "journal", "store"]),
    ("signature", &[]),
    ("tls", &[]),
    ("told", &["payment"]),
    ("gateway", &["payment", "signature", "tls"]),
    // Below the threads nothing opens files, so the runtime is also where disk and store are chosen.
    ("runtime", &["payment", "disk", "journal", "store", "engine", "gateway"]),
    ("deliver", &["payment", "disk", "signature", "tls", "told", "runtime"]),
    ("http", &["payment", "told", "runtime", "deliver"]),
    ("config", &["payment", "gateway", "runtime", "deliver", "http", "signature"]),
    ("settle", &["payment"]),
    ("receipt", &["payment", "journal", "told"]),
    ("sim", &["payment", "disk", "journal", "store", "engine", "gateway"]),
];

/// Words that say that a thing has not been thought about.
const VAGUE: [&str; 6] = ["utils", "util", "common", "types", "manager", "helper"];

/// Outside the tests of a file nothing below the threads may reach for a clock, a thread, a socket or chance.
const IMPURE: [&str; 6] = ["SystemTime::now", "Instant::now", "std::thread", "std::net", "tokio::", "new_v4"];

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            found.push((path, text));
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The lines of a file before its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The modules of ours that a text names through `crate::`.
fn named(text: &str) -> Vec<String> {
    let code: String = code_lines(text).collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for part in code.split("crate::").skip(1) {
        let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
        match part.strip_prefix('{') {
            None => names.push(word(part)),
            Some(list) => names.extend(top_level(list).into_iter().map(|item| word(item.trim_start()))),
        }
    }
    names
}

/// The items of a braced import list, split at its own commas.
fn top_level(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ => items.last_mut().expect("never empty").push(c),
        }
    }
    items
}

#[test]
fn no_module_names_one_above_it() {
    for (module, allowed) in LAYERS {
        let its_own = |path: &Path| path.starts_with(src().join(module)) || path == src().join(format!("{module}.rs"));
        let sources: Vec<_> = sources(&src()).into_iter().filter(|(path, _)| its_own(path)).collect();
        assert!(!sources.is_empty(), "there is no module {module}");
        for (path, text) in sources {
            for name in named(product(&text)) {
                let ours = LAYERS.iter().any(|(layer, _)| *layer == name);
                assert!(
                    !ours || name == module || allowed.contains(&name.as_str()),
                    "{} names {name}, which {module} must know nothing of",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_stepped_rings_read_no_clock_and_own_no_thread() {
    for module in ["payment", "disk", "journal", "engine", "settle"] {
        for (path, text) in sources(&src().join(module)) {
            for word in IMPURE {
                let found = code_lines(product(&text)).find(|line| line.contains(word));
                assert_eq!(found, None, "{}", path.display());
            }
        }
    }
}

#[test]
fn sled_and_bincode_live_behind_one_module_each() {
    for (word, home) in [("sled::", "src/store/"), ("bincode::", "src/journal/codec.rs")] {
        let users: Vec<PathBuf> = sources(&src())
            .into_iter()
            .filter(|(_, text)| code_lines(text).any(|line| line.contains(word)))
            .map(|(path, _)| path)
            .collect();
        assert!(!users.is_empty(), "{word} is used somewhere");
        assert!(users.iter().all(|path| path.to_string_lossy().contains(home)), "{word} {users:?}");
    }
}

/// Whether a function begins here, whatever stands before `fn`.
fn is_head(code: &str) -> bool {
    let Some((before, _)) = code.split_once("fn ") else { return false };
    let open = before.starts_with("pub(").then(|| before.find(") ")).flatten();
    let before = open.map_or(before, |end| before.get(end + 2..).unwrap_or_default());
    before.split_whitespace().all(|word| ["pub", "const", "async", "unsafe"].contains(&word))
}

#[test]
fn files_and_functions_stay_short_enough_to_read() {
    for (path, text) in sources(&src()) {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
        let mut start = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            if start.is_none() && is_head(code) && !code.ends_with(';') {
                start = Some((number, indent, code.to_owned()));
            } else if let Some((from, depth, head)) = &start
                && code.starts_with('}')
                && indent == *depth
            {
                let length = number - from + 1;
                assert!(length <= 70, "{}: {length} lines: {head}", path.display());
                start = None;
            }
        }
    }
}

#[test]
fn every_module_says_what_it_knows_nothing_of() {
    for (path, text) in sources(&src()) {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        assert!(!VAGUE.contains(&name.as_str()), "{} has a name that says nothing", path.display());
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
        let above = path.parent().and_then(Path::parent);
        if name == "mod" && [src(), src().join("bin/payonce")].iter().any(|folder| above == Some(folder)) {
            assert!(text.contains("Knows nothing of"), "{} does not say what it knows nothing of", path.display());
        }
    }
}

/// What a user of the library alone must not have to build; and how much they may have to, payonce itself included.
const PROGRAM_ONLY: [&str; 10] =
    ["axum", "hyper", "clap", "ureq", "rustls", "tokio-rustls", "ring", "serde_json", "toml", "tracing-subscriber"];
const EMBEDDED: usize = 42;

#[test]
fn a_user_of_the_library_alone_builds_nothing_of_the_program() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--no-default-features", "--edges", "normal,build", "--no-dedupe"]);
    cargo.args(["--prefix", "none", "--format", "{p}"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().expect("cargo runs");
    let tree = String::from_utf8(output.stdout).expect("UTF-8");
    let names: std::collections::BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("payonce") && names.contains("sled"), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(PROGRAM_ONLY.into_iter().find(|name| names.contains(name)), None);
    assert!(names.len() <= EMBEDDED, "each package more has to be justified in the README: {names:?}");
}

#[test]
fn the_project_speaks_of_itself_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in sources(&root.join("src")).into_iter().chain(sources(&root.join("tests"))) {
        let unfinished = ["to", "do!("].concat();
        assert!(!text.contains(&unfinished), "{}", path.display());
        for line in text.lines().filter(|line| !line.contains("/home/")) {
            assert!(line.is_ascii(), "{}: only ASCII in sources: {line}", path.display());
        }
    }
}
