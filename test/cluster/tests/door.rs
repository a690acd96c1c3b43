//! Machines that want to join and may not: with a token that is forged, over, used up, or of another system,
//! and with a program of another version. Each is told why, and nothing of it is left.

use dvs_abi::limits::FRAME_BYTES_MAX;
use dvs_cluster::node::Node;
use dvs_control::token::Token;
use dvs_linux::testing::own_address;
use dvs_wire::{Knock, RecordHead, RefusalReason, SessionFrame, VERSIONS, Versions};
use dvsd::Config;
use dvsd::admin::{AdminAnswer, AdminRequest};
use dvsd::client::AdminClient;
use dvsd::cluster::join::{TokenOrder, join};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
const WATCHDOG: Duration = Duration::from_secs(60);

fn founder(security: &str) -> (Node, String) {
    let at = own_address().to_string();
    let config = format!(
        "node = \"first\"\nlisten = \"{at}\"\nsecurity = \"{security}\"\nruntime_dir = DIR\ndata_dir = DATA\n"
    );
    let node = Node::start_as(DAEMON, 0, &config);
    node.wait_status("it begins", |s| s.cluster.begun);
    (node, at)
}

fn token(node: &Node, seconds: u64) -> Token {
    let order = TokenOrder { uses: 1, seconds, listen: None, address: None };
    let mut admin = AdminClient::connect(&node.admin_socket()).unwrap();
    let text = match admin.all(&AdminRequest::Token(order)).unwrap().into_iter().next() {
        Some(AdminAnswer::Token(text)) => text,
        other => panic!("{other:?}"),
    };
    text.parse().unwrap()
}

/// What a new machine is told that shows this token.
fn shown(name: &str, token: &Token) -> Result<u16, String> {
    let folder = tempfile::tempdir().unwrap();
    let listen = Some(own_address().to_string());
    let data_dir = Some(folder.path().join("data"));
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let config = Config { listen, data_dir, ..Config::single(name) };
    let end = Instant::now() + WATCHDOG;
    loop {
        let said = join(&config, &token.to_string()).map(|identity| identity.node).map_err(|e| e.to_string());
        // Who was refused has to wait before it is heard again.
        match said {
            Err(text) if text.contains("is busy") && Instant::now() < end => {
                std::thread::park_timeout(Duration::from_millis(500));
            }
            said => return said,
        }
    }
}

#[test]
fn only_who_has_a_token_that_holds_is_let_in() {
    let ((node, at), (elsewhere, _)) = (founder("tls"), founder("tls"));
    let good = token(&node, 3600);
    let here = |secret, key| Token::new(secret, key, vec![at.clone()]).unwrap();
    let refused = |what: &str, token: &Token, word: &str| {
        let said = shown("stranger", token).expect_err(what);
        assert!(said.contains(word), "{what}: {said}");
        assert_eq!(node.rows().len(), 1, "{what}");
    };
    refused("a secret nobody gave out", &here([7; 16], good.key()), "unknown");
    refused("a token that is over", &token(&node, 0), "over");
    let foreign = token(&elsewhere, 3600);
    refused("a token of another system", &here(foreign.secret(), good.key()), "unknown");
    refused("a node with another key", &here(good.secret(), foreign.key()), "key");
    // None of these has used it up; the one who has it is let in, and nobody after.
    assert_eq!(shown("second", &good), Ok(1));
    let said = shown("third", &good).expect_err("it was for one machine");
    assert!(said.contains("used up"), "{said}");
    let names: Vec<String> = node.rows().into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["first", "second"]);
}

#[test]
fn a_program_of_another_version_is_told_which_ones_are_spoken() {
    let (node, at) = founder("plain");
    let token = token(&node, 3600);
    for versions in [Versions { min: 0, max: 0 }, Versions { min: VERSIONS.max + 1, max: VERSIONS.max + 9 }] {
        let mut payload = Vec::new();
        SessionFrame::Knock(Knock::new(versions, token.secret().to_vec()).unwrap()).encode(&mut payload);
        let head = RecordHead { length: payload.len() as u32, session: true, ..Default::default() };
        let mut socket = TcpStream::connect(&at).unwrap();
        socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        socket.write_all(&[&head.encode()[..], &payload].concat()).unwrap();
        let mut head = [0; 24];
        socket.read_exact(&mut head).unwrap();
        let length = RecordHead::decode(&head).unwrap().length as usize;
        assert!(length <= FRAME_BYTES_MAX);
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload).unwrap();
        match SessionFrame::decode(&payload).unwrap() {
            SessionFrame::Refuse(r) => assert_eq!((r.reason, r.versions), (RefusalReason::Version, VERSIONS)),
            other => panic!("{other:?}"),
        }
        assert_eq!(node.rows().len(), 1);
    }
}
