//! What the source tree promises of itself: layers, where `unsafe` may be, short files, nothing left undone; and what
//! others may do with what is built from it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each layer may import, besides itself.
const LAYERS: [(&str, &[&str]); 10] = [
    ("wire", &[]),
    ("connection", &["wire"]),
    ("metrics", &["engine", "wire"]),
    ("engine", &["wire", "connection", "metrics"]),
    ("rooms", &["wire", "connection", "engine"]),
    ("socket", &["wire", "connection", "engine", "rooms", "metrics"]),
    ("app", &["wire", "engine", "rooms", "socket", "metrics"]),
    ("shard", &["wire", "connection", "engine", "rooms", "socket", "metrics"]),
    ("mesh", &["shard"]),
    ("driver", &["mesh", "shard", "metrics"]),
];

/// What any layer may import.
const COMMON: &str = "shrink";

/// What is the driver's alone: I/O, threads, clocks, randomness of the operating system.
const DRIVERS_OWN: [&str; 8] =
    ["tokio", "rustix", "socket2", "std::net::Tcp", "std::thread", "Instant::now", "SystemTime::now", "getrandom"];

/// Layers without any of that.
const SANS_IO: [&str; 7] = ["wire", "connection", "engine", "rooms", "socket", "app", "shard"];

const LINES_MAX: usize = 400;

/// Files that are longer, and how long they may be.
const LONGER: [(&str, usize); 2] = [("connection/outbound.rs", 420), ("driver/tests.rs", 500)];

/// Licences (SPDX) that ask for no more than a notice. A dependency that offers others besides is to be looked at.
const LICENCES: [&str; 12] = [
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "LLVM-exception",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Path below `src/`, text without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut directories, mut files) = (vec![root.clone()], Vec::<PathBuf>::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 30, "the source tree is not where it was");
    let name = |path: &PathBuf| path.strip_prefix(&root).expect("below src").display().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).expect("text"))).collect()
}

/// The code of a file, without comments and unit tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or(""));
    lines.take_while(|line| !line.starts_with("mod tests {"))
}

fn layer(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap_or(name)
}

fn is_test(name: &str) -> bool {
    name.contains("/tests")
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn imports_go_downwards() {
    let mut found = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let Some((own, below)) = LAYERS.iter().find(|(own, _)| *own == layer(name)) else { continue };
        for part in code(text).flat_map(|line| line.split("crate::").skip(1)) {
            let import = part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
            if import != *own && import != COMMON && !below.contains(&import) {
                found.push(format!("{name}: crate::{part}"));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn only_drivers_know_the_operating_system() {
    let mut found = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| SANS_IO.contains(&layer(name)) && !is_test(name)) {
        let lines = code(text).filter(|line| DRIVERS_OWN.iter().any(|word| line.contains(word)));
        found.extend(lines.map(|line| format!("{name}: {line}")));
    }
    assert_none(&found);
}

#[test]
fn unsafe_is_in_drivers_and_the_ring() {
    let allowed = |name: &str| layer(name) == "driver" || name == "mesh/ring.rs";
    let mut found = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !allowed(name)) {
        let lines = code(text).filter(|line| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "unsafe"));
        found.extend(lines.map(|line| format!("{name}: {line}")));
    }
    assert_none(&found);
}

#[test]
fn files_are_short_and_nothing_is_left_undone() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let max = LONGER.iter().find(|(longer, _)| *longer == name).map_or(LINES_MAX, |(_, max)| *max);
        let lines = text.lines().count();
        if lines > max {
            found.push(format!("{name}: {lines} lines, {max} allowed"));
        }
        let undone = ["TODO", "FIXME", "todo!", "unimplemented!"].into_iter().filter(|word| text.contains(word));
        found.extend(undone.map(|word| format!("{name}: {word}")));
    }
    assert_none(&found);
}

#[test]
fn dependencies_have_licences_that_ask_for_a_notice_only() {
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let args = ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", &target];
    let cargo = env::var_os("CARGO").expect("cargo runs this");
    let output = Command::new(cargo).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "the dependencies are not where they were");
    let mut found = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        let mut names = licence.split([' ', '/', '(', ')']).filter(|word| !["", "AND", "OR", "WITH"].contains(word));
        if !names.all(|name| LICENCES.contains(&name)) {
            found.push(format!("{}: {licence}", package["name"]));
        }
    }
    assert_none(&found);
}
