//! What can be measured says a number; wrong words end with code 3 and the reason.

use std::process::{Command, Output};

/// Runs the program under a watchdog, in a folder of its own.
fn run(words: &str) -> Output {
    let folder = format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), words.replace([' ', '-'], ""));
    std::fs::create_dir_all(&folder).unwrap();
    Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_dvs-bench-ours")])
        .args(words.split_whitespace())
        .env("DVS_BENCH_DIR", folder)
        .output()
        .unwrap()
}

fn number(words: &str) -> f64 {
    let output = run(words);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    text.trim().parse().unwrap_or_else(|_| panic!("{words}: {text:?} {errors:?}"))
}

#[test]
fn messages_say_a_round_trip_and_a_rate() {
    for words in ["local pingpong --ms 5", "local pingpong --place same --ms 5", "coro --ms 5"] {
        assert!(number(words) > 0.0, "{words}");
    }
    assert!(number("local many --clients 8 --ms 100") > 0.0);
}

#[test]
fn copies_and_memory_say_a_number() {
    for words in ["vcopy --ms 5 --of copy", "memory --ms 5 --of daemon"] {
        assert!(number(words) > 0.0, "{words}");
    }
    assert_eq!(number("memory --of count --endpoints 100"), 100.0);
}

#[test]
fn an_idle_server_says_what_it_uses() {
    assert!(number("idle --endpoints 10") >= 0.0);
}

#[test]
fn two_nodes_say_a_round_trip_a_rate_and_how_fast_they_copy() {
    for words in ["remote pingpong --ms 20", "remote-tls pingpong --ms 20"] {
        assert!(number(words) > 0.0, "{words}");
    }
    assert!(number("remote many --clients 8 --ms 100") > 0.0);
    for words in ["--tls off --of in", "--tls off --of out", "--tls on --of in", "--tls on --of out"] {
        assert!(number(&format!("bulk --ms 20 {words}")) > 0.0, "{words}");
    }
}

#[test]
fn wrong_words_end_with_code_3_and_a_reason() {
    for words in ["memory --of cake", "nobody", "local", "coro --ms", "bulk --of cake"] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(3), "{words}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{words}");
    }
}
