//! Scripts of `tests/clients/` that drive real clients. They run from a copy below `target/`, where the clients are
//! installed once; later runs need no network. Without Node.js, npm or Python they are skipped for all to see, except
//! where `CI` is set.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::Server;

/// How long an installation may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(240);

/// How long a script may take; each of its waits has a limit of its own.
const SCRIPT_LIMIT: Duration = Duration::from_secs(120);

/// Runs `tests/clients/NAME` with node on the URL of a server.
pub fn node(name: &str, server: &Server) {
    node_with(name, server, &[]);
}

/// As [`node`], with environment variables.
pub fn node_with(name: &str, server: &Server, variables: &[(&str, &str)]) {
    if let Some(directory) = node_clients() {
        script(Path::new("node"), directory, name, server, variables);
    }
}

/// Runs `tests/clients/NAME` with Python on the URL of a server.
pub fn python(name: &str, server: &Server) {
    if let Some(directory) = python_clients() {
        script(&directory.join("venv/bin/python"), directory, name, server, &[]);
    }
}

fn script(program: &Path, directory: &Path, name: &str, server: &Server, variables: &[(&str, &str)]) {
    let mut command = Command::new(program);
    command.arg(name).arg(server.url()).envs(variables.iter().copied()).current_dir(directory);
    run(command, &format!("{name} with {}", server.label), SCRIPT_LIMIT);
}

/// Where socket.io-client is installed, and the ElizaOS packages are unpacked, beside the scripts.
fn node_clients() -> Option<&'static Path> {
    static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let is_here = can_run("node", &["--version"]) && can_run("npm", &["--version"]);
        is_here.then(|| {
            installed("node", "package.json", |directory| {
                let mut npm = Command::new("npm");
                npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(directory);
                run(npm, "npm install", INSTALL_LIMIT);
                let mut unpack = Command::new("npm");
                unpack.args(["run", "--silent", "unpack"]).current_dir(directory);
                run(unpack, "npm run unpack", INSTALL_LIMIT);
            })
        })
    };
    PLACE.get_or_init(install).as_deref()
}

/// Where python-socketio is installed, beside its scripts.
fn python_clients() -> Option<&'static Path> {
    static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        can_run("python3", &["-c", "import venv, ensurepip"]).then(|| {
            installed("python", "requirements.txt", |directory| {
                let mut venv = Command::new("python3");
                venv.args(["-m", "venv", "--clear", "venv"]).current_dir(directory);
                run(venv, "python3 -m venv", INSTALL_LIMIT);
                let mut pip = Command::new(directory.join("venv/bin/python"));
                pip.args(["-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"]);
                pip.current_dir(directory);
                run(pip, "pip install", INSTALL_LIMIT);
            })
        })
    };
    PLACE.get_or_init(install).as_deref()
}

/// Whether a program can be run here. Where it cannot, that is said for all to see, or fails in CI.
pub fn can_run(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) {
        return true;
    }
    let missing = format!("`{program} {}` does not work here", args.join(" "));
    assert!(std::env::var_os("CI").is_none(), "CI must test with real peers, but {missing}");
    // Not `eprintln!`, which the test harness keeps to itself when a test passes.
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("\n*** {missing}: REAL PEERS ARE NOT TESTED ***\n\n").as_bytes(),
    );
    false
}

/// Copies the scripts to a directory below `target/`, and installs there what `manifest` names if it is not what was
/// installed last.
fn installed(kind: &str, manifest: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(kind);
    fs::create_dir_all(&directory).expect("a directory below target/");
    // Another test run may be at it; the lock goes with the file.
    let lock = File::create(directory.join("lock")).expect("a file below target/");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    for entry in fs::read_dir(&source).expect("tests/clients") {
        let path = entry.expect("an entry of tests/clients").path();
        if path.is_file() {
            fs::copy(&path, directory.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    let wanted = fs::read(source.join(manifest)).expect("the manifest");
    let stamp = directory.join("installed");
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        install(&directory);
        fs::write(&stamp, wanted).expect("a file below target/");
    }
    directory
}

/// Runs a program to its end, and fails with its output if it fails or takes too long.
fn run(mut command: Command, what: &str, limit: Duration) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let output = [collect(child.stdout.take()), collect(child.stderr.take())];
    let end = Instant::now() + limit;
    let ended = loop {
        match child.try_wait().expect("our own child") {
            Some(status) => break Some(status),
            None if Instant::now() >= end => break None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if ended.is_none() {
        kill(&mut child);
    }
    let output = output.map(|reader| reader.join().expect("a reader that does not panic"));
    let outcome = ended.map_or_else(|| format!("still running after {limit:?}"), |status| status.to_string());
    assert!(ended.is_some_and(|status| status.success()), "{what}: {outcome}\n{}{}", output[0], output[1]);
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn collect(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
