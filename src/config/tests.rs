//! What the flags accept.

use super::values::{HOUR_MS, MIB, size, time};
use super::*;

fn parse(flags: &[&str]) -> Result<Config, String> {
    Cli::try_parse_from([&["sockeye"], flags].concat()).map(|cli| cli.serve).map_err(|e| e.to_string())
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = parse(&[]).unwrap();
    assert_eq!((config.host.to_string().as_str(), config.port), ("0.0.0.0", 3000));
    assert_eq!((config.ping_interval_ms, config.ping_timeout_ms), (25_000, 20_000));
    assert_eq!((config.max_payload_bytes, config.max_queue_bytes), (1_000_000, 1_048_576));
    assert_eq!(config.text_max_bytes, 65_536);
    assert_eq!((config.dedupe_window_ms, config.recovery_window_ms), (120_000, 120_000));
    assert_eq!((config.workers, config.max_connections), (None, None));
    assert_eq!(config.cors_origin, [Origin::Any]);
    assert!(config.server_id.is_nil() && !config.require_join);
}

#[test]
fn times_need_a_unit_and_keep_their_bounds() {
    let parse = time(0..=HOUR_MS);
    for (text, ms) in [("0", 0), ("0s", 0), ("300ms", 300), ("25s", 25_000), ("2m", 120_000), ("1h", HOUR_MS)] {
        assert_eq!(parse(text), Ok(ms), "{text}");
    }
    for text in ["", "s", "25", "-1s", "+1s", "1.5s", "1e3ms", " 1s", "1 s", "1S", "2h", "1d", "99999999999999999999s"]
    {
        assert!(parse(text).is_err(), "{text}");
    }
    assert!(time(100..=200)("0").is_err());
}

#[test]
fn sizes_take_units_and_keep_their_bounds() {
    let parse = size(0..=64 * MIB);
    for (text, bytes) in
        [("0", 0), ("7B", 7), ("1000000", 1_000_000), ("1MB", 1_000_000), ("64KiB", 65_536), ("1MiB", MIB)]
    {
        assert_eq!(parse(text), Ok(bytes), "{text}");
    }
    for text in ["", "MiB", "-1", "1.5MiB", "1 MiB", "1mib", "65MiB", "18446744073709551615GiB"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn bad_flags_are_refused_with_the_flag_and_the_reason() {
    for (flag, value, reason) in [
        ("--workers", "0", "1..=64"),
        ("--workers", "65", "1..=64"),
        ("--ping-interval", "25", "unit is missing"),
        ("--ping-interval", "99ms", "between 100ms"),
        ("--max-payload", "1GB", "between 1000"),
        ("--path", "socket.io", "slash"),
        ("--path", "/a?b", "slash"),
        ("--server-id", "1234", "8-4-4-4-12"),
        ("--cors-origin", "https://a.example/path", "without a path"),
        ("--cors-origin", "a.example", "scheme://"),
        ("--log-level", "loud", "must be off"),
        ("--host", "localhost.", "IP"),
    ] {
        let message = parse(&[flag, value]).expect_err(flag);
        assert!(message.contains(flag) && message.contains(reason), "{flag} {value}: {message}");
    }
}

#[test]
fn origins_are_a_list_in_either_form() {
    let config = parse(&["--cors-origin", "https://A.example,http://b.example:8080", "--cors-origin", "null"]).unwrap();
    for (origin, allowed) in [
        ("https://a.example", true),
        ("http://b.example:8080", true),
        ("null", true),
        ("http://a.example", false),
        ("", false),
    ] {
        assert_eq!(config.allows_origin(origin), allowed, "{origin}");
    }
    assert!(parse(&[]).unwrap().allows_origin("https://anything.example"));
}

#[test]
fn the_path_ends_with_a_slash() {
    assert_eq!(parse(&["--path", "/rt"]).unwrap().path, "/rt/");
    assert_eq!(parse(&["--path", "/"]).unwrap().path, "/");
}

#[test]
fn tuning_md_has_a_section_for_every_flag_with_its_default() {
    use clap::CommandFactory;
    let text = include_str!("../../tuning.md");
    for arg in Cli::command().get_arguments() {
        let Some(flag) = arg.get_long() else { continue };
        let (_, rest) =
            text.split_once(&format!("### `--{flag}`\n")).unwrap_or_else(|| panic!("no section for --{flag}"));
        let section = rest.split("\n#").next().unwrap();
        for default in arg.get_default_values().iter().map(|value| value.to_string_lossy()) {
            let takes_value = arg.get_action().takes_values();
            assert!(!takes_value || section.contains(&format!("`{default}`")), "--{flag}: not `{default}`");
        }
    }
    for flag in text.lines().filter_map(|line| line.strip_prefix("### `--")) {
        let flag = flag.trim_end_matches('`');
        assert!(Cli::command().get_arguments().any(|arg| arg.get_long() == Some(flag)), "--{flag} is no flag");
    }
}
