//! Clients of one node, servers of another, and a connection or node between them that fails.

use dvs_cluster::actor::Actor;
use dvs_cluster::judge::{Life, Verdict, judge};
use dvs_cluster::net::Net;
use dvs_cluster::rng::{Rng, seed};
use dvs_cluster::{measure, roles};
use dvs_linux::clock;
use std::path::PathBuf;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
const SERVERS: usize = 2;
const CLIENTS: usize = 3;

struct Crew {
    actors: Vec<(Option<u32>, Actor, PathBuf)>,
    lives: Vec<Life>,
    number: u32,
}

impl Crew {
    /// Servers on node 1, clients on node 0.
    fn start(net: &Net) -> Crew {
        let mut crew = Crew { actors: Vec::new(), lives: Vec::new(), number: 0 };
        (0..SERVERS).for_each(|n| crew.server(net, n as u32));
        crew.actors.iter_mut().for_each(|(_, a, _)| a.expect("ready"));
        for n in 0..CLIENTS {
            let journal = crew.journal(net);
            let slot = (10 + n).to_string();
            let path = journal.display().to_string();
            let arguments = [crew.number.to_string(), slot, SERVERS.to_string(), path];
            crew.actors.push((
                None,
                Actor::start(ACTOR, "client", &net.nodes[0].socket(), &arguments),
                journal,
            ));
        }
        crew
    }

    fn journal(&mut self, net: &Net) -> PathBuf {
        self.number += 1;
        net.nodes[0].scratch().join(format!("j{}", self.number))
    }

    fn server(&mut self, net: &Net, n: u32) {
        let journal = self.journal(net);
        let arguments = [n.to_string(), SERVERS.to_string(), journal.display().to_string()];
        let actor = Actor::start(ACTOR, "server", &net.nodes[1].socket(), &arguments);
        self.actors.push((Some(n), actor, journal));
    }

    /// Puts new servers in the place of those whose daemon is gone.
    fn replace_servers(&mut self, net: &Net) {
        let mut at = 0;
        while let Some((server, actor, _)) = self.actors.get_mut(at) {
            match (*server, actor.ended()) {
                (_, None) => at += 1,
                (Some(n), Some(status)) if status.code() == Some(roles::NO_DAEMON) => {
                    let (_, actor, journal) = self.actors.remove(at);
                    self.lives.push(Life { server: Some(n), journal, from: actor.started, to: clock::now() });
                    self.server(net, n);
                }
                (_, Some(status)) => panic!("{server:?} ended with {status}"),
            }
        }
    }

    fn calm(mut self) -> Verdict {
        self.actors.sort_by_key(|(server, ..)| server.is_some());
        for (server, mut actor, journal) in self.actors.drain(..) {
            let (status, _) = actor.finish();
            assert!(status.success(), "{server:?} ended with {status}");
            self.lives.push(Life { server, journal, from: actor.started, to: clock::now() });
        }
        let verdict = judge(&self.lives, SERVERS);
        assert!(verdict.wrong.is_empty(), "{:#?}", &verdict.wrong[..verdict.wrong.len().min(10)]);
        let Verdict { calls, consumed, open, unnoted, late_ns, errors, .. } = &verdict;
        println!("  {calls} calls, {consumed} consumed, open {open}, not noted {unnoted}");
        println!("  latest {} ms, errors {errors:?}", late_ns / 1_000_000);
        verdict
    }
}

#[test]
fn a_connection_cut_half_open_and_delayed_loses_and_doubles_nothing() {
    let mut rng = Rng::new(seed());
    let net = Net::start(DAEMON, 2, 20_000);
    let crew = Crew::start(&net);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(50 + rng.below(100)));
        let forward = &net.forwards[rng.below(net.forwards.len() as u64) as usize];
        match rng.below(3) {
            0 => net.forwards.iter().for_each(|f| f.cut()),
            1 => net.forwards.iter().for_each(|f| f.stall()),
            _ => forward.delay(Duration::from_millis(1 + rng.below(20))),
        }
        std::thread::sleep(Duration::from_millis(rng.below(200)));
        net.forwards.iter().for_each(|f| f.heal());
    }
    let verdict = crew.calm();
    assert_eq!(verdict.unnoted, 0, "nobody was killed");
    // The node was never declared dead, so that nobody may hear that it was.
    let allowed = |name: &str| ["TIMEDOUT", "AGAIN"].contains(&name);
    assert!(verdict.errors.keys().all(|(name, _)| allowed(name)), "{:?}", verdict.errors);
    assert!(verdict.consumed > 100);
}

#[test]
fn a_killed_node_is_told_of_and_comes_back() {
    let mut rng = Rng::new(seed());
    let mut net = Net::start(DAEMON, 2, 1000);
    let mut crew = Crew::start(&net);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(200 + rng.below(200)));
        net.nodes[1].kill();
        std::thread::sleep(Duration::from_millis(rng.below(2500)));
        net.nodes[1].revive();
        net.join();
        net.wait_dc();
        crew.replace_servers(&net);
    }
    std::thread::sleep(Duration::from_millis(500));
    crew.replace_servers(&net);
    let verdict = crew.calm();
    let right = ["TIMEDOUT", "AGAIN", "NOTCONN", "DSTDIED", "SRCDIED"];
    assert!(verdict.errors.keys().all(|(name, _)| right.contains(&name.as_str())), "{:?}", verdict.errors);
    assert_eq!(measure::zombies_of(std::process::id()), 0);
}
