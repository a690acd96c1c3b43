//! Each local peer runs and says one positive number; what is asked wrongly says why.

use std::process::{Command, Output};

/// Runs the program under a watchdog.
fn run(words: &str) -> Output {
    Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_dvs-bench-local")])
        .args(words.split_whitespace())
        .env("DVS_BENCH_DIR", env!("CARGO_TARGET_TMPDIR"))
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
fn pairs_say_a_round_trip() {
    for peer in ["seqpacket", "seqpacket-epoll", "pipe", "yield"] {
        assert!(number(&format!("{peer} pingpong --ms 5")) > 0.0);
        assert!(number(&format!("{peer} pingpong --ms 5 --place same")) > 0.0);
    }
}

#[test]
fn many_clients_say_a_rate() {
    for clients in [1, 8, 64] {
        assert!(number(&format!("seqpacket-epoll many --ms 50 --clients {clients}")) > 0.0);
    }
}

#[test]
fn those_of_one_process_and_the_copies_say_a_number() {
    for words in ["coro", "tokio", "vm-read --bytes 65536", "memcpy --bytes 4096"] {
        assert!(number(&format!("{words} --ms 5")) > 0.0);
    }
}

#[test]
fn wrong_words_end_with_code_3_and_a_reason() {
    for words in ["", "nobody", "pipe", "pipe dance", "pipe pingpong --place left", "coro --ms"] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(3), "{words}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{words}");
    }
}
