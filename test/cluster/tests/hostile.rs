//! A hostile process beside honest ones: it hurts itself only, the daemon stays within bounds, and when it is
//! gone all it held is free again. One test a kind of harm; see `dvs_cluster::hostile`.

use dvs::{Call, Code, Effect, Endpoint, Message, Port, Privileges, Timeout};
use dvs_cluster::actor::Actor;
use dvs_cluster::hostile::{self, Harm, SLOT};
use dvs_cluster::measure::{self, Held};
use dvs_cluster::node::Node;
use dvs_cluster::raw::Raw;
use dvs_cluster::{DC, WATCHDOG, WATCHDOG_NS, roles, server};
use dvs_linux::clock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
const SERVERS: usize = 2;
/// How long each kind of harm is done: a lower bound of the work done under it.
const RUN_NS: u64 = 2_000_000_000;
/// What a victim gives the hostile process.
const VICTIM_NS: u64 = 200_000_000;
/// What a daemon may have resident while it is attacked.
const RESIDENT_KIB: u64 = 96 << 10;

struct Scene {
    node: Node,
    servers: Vec<Actor>,
    client: Port,
    victim: Port,
    before: Held,
    sessions: u32,
}

#[derive(Default, Debug)]
struct Honest {
    calls: u64,
    worst_ms: u64,
}

impl Scene {
    fn new() -> Scene {
        let node = Node::start(DAEMON);
        node.make_dc();
        let start = |n: usize| {
            let journal = node.scratch().join(format!("server{n}")).display().to_string();
            let arguments = [n.to_string(), SERVERS.to_string(), journal];
            let mut actor = Actor::start(ACTOR, "server", &node.socket(), &arguments);
            actor.expect("ready");
            actor
        };
        let servers = (0..SERVERS).map(start).collect();
        let bind = |slot| node.attach().bind(DC, Endpoint::new(0, slot)).unwrap();
        let (client, victim) = (bind(10), bind(11));
        for n in 0..SERVERS {
            ask(&client, n, 0);
            // A callee may redirect its caller: here it would find links that are there already.
            ask(&victim, n, 0);
        }
        let sessions = node.wait_status("sessions", |s| s.sessions == 4).sessions;
        let mut before = node.held();
        before.fds = node.settled_fds();
        Scene { node, servers, client, victim, before, sessions }
    }

    /// Lets a hostile process do its harm, and kills it.
    fn suffer(&mut self, harm: Harm) {
        let arguments = [harm.name(), SERVERS.to_string()];
        let mut hostile = Actor::start(ACTOR, "hostile", &self.node.socket(), &arguments);
        hostile.expect("ready");
        let over = AtomicBool::new(false);
        let until = clock::now() + RUN_NS;
        let (honest, errors, most) = std::thread::scope(|s| {
            let end = Raise(&over);
            let victim = s.spawn({
                let (victim, over) = (&mut self.victim, &over);
                move || call_the_hostile(victim, over)
            });
            let watched = s.spawn({
                let (node, over) = (&self.node, &over);
                move || watch(node, over)
            });
            let honest = work(&self.client, until);
            drop(end);
            (honest, victim.join().unwrap(), watched.join().unwrap())
        });
        println!("{harm:?}: honest {honest:?}; victim {errors:?}; daemon at most {most:?}");
        assert!(hostile.ended().is_none(), "the hostile process ended by itself");
        assert!(self.servers.iter_mut().all(|s| s.ended().is_none()), "a server ended");
        hostile.kill();
    }

    /// All it held is free again, and everybody still serves.
    fn recover(&mut self) {
        let sessions = self.sessions;
        self.node.wait_status("the hostile session stays", |s| s.sessions == sessions);
        assert!(self.node.runs());
        let process = self.node.attach();
        let info = process.system().proc_info(DC, SLOT).unwrap();
        assert_eq!(info.rts_flags & 1, 1, "{info:?}");
        drop(process);
        for n in 0..SERVERS {
            ask(&self.client, n, 1);
        }
        let e = self.victim.sendrec(Endpoint::new(0, SLOT), &mut Message::new(1), WATCHDOG).unwrap_err();
        assert_eq!(e.code, Code::DSTDIED, "{e}");
        let end = clock::now() + WATCHDOG_NS;
        loop {
            let now = self.node.held();
            if now.fds <= self.before.fds
                && now.memfds <= self.before.memfds
                && now.mapped <= self.before.mapped
            {
                return;
            }
            assert!(clock::now() < end, "before {:?}, now {now:?}", self.before);
            std::thread::yield_now();
        }
    }
}

/// Raises its flag also when the test fails.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// An honest call that must succeed.
fn ask(port: &Port, n: usize, call: u64) -> u64 {
    let started = clock::now();
    let mut m = Message::new(if call % 4 == 3 { roles::SEND } else { roles::CALL } as i32);
    // A number no other call has, as the server's journal wants it.
    m.set_word(0, u64::from(port.endpoint().raw() as u32) | call << 32);
    let done = match m.mtype() as u32 {
        roles::SEND => port.send(server(n), &mut m, WATCHDOG),
        _ => port.sendrec(server(n), &mut m, WATCHDOG),
    };
    done.unwrap_or_else(|e| panic!("an honest call failed: {e}"));
    clock::now() - started
}

fn work(port: &Port, until: u64) -> Honest {
    let mut honest = Honest::default();
    while clock::now() < until || honest.calls < 20 {
        honest.calls += 1;
        let took = ask(port, honest.calls as usize % SERVERS, honest.calls);
        honest.worst_ms = honest.worst_ms.max(took / 1_000_000);
    }
    honest
}

/// Calls to the hostile process end, somehow, by their deadline.
fn call_the_hostile(port: &Port, over: &AtomicBool) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    while !over.load(Ordering::Acquire) {
        let started = clock::now();
        let timeout = Timeout::After(Duration::from_nanos(VICTIM_NS));
        let to = Endpoint::new(0, SLOT);
        let done = match started % 3 {
            0 => port.send(to, &mut Message::new(1), timeout),
            _ => port.sendrec(to, &mut Message::new(1), timeout),
        };
        let took = clock::now() - started;
        assert!(
            took < WATCHDOG_NS / 2,
            "a call to the hostile process took {} ms: {done:?}",
            took / 1_000_000
        );
        let name = done.map_or_else(|e| e.code.name(), |()| "done");
        *ends.entry(name.to_string()).or_default() += 1;
    }
    ends
}

/// The daemon goes on serving within its bounds: answers, and lets in who comes.
fn watch(node: &Node, over: &AtomicBool) -> (u64, Held) {
    let (mut resident, mut most) = (0, Held::default());
    while !over.load(Ordering::Acquire) {
        let now = node.held();
        most = if now.fds > most.fds { now } else { most };
        resident = resident.max(measure::resident_kib(node.pid()));
        assert!(resident < RESIDENT_KIB, "the daemon has {resident} KiB resident");
        node.status();
        let port = node.attach().bind(DC, Endpoint::new(0, 12));
        if let Err(e) = port {
            // The last one's end may not have come through yet.
            assert_eq!(e.code, Code::SLOTUSED, "{e}");
        }
        std::thread::yield_now();
    }
    (resident, most)
}

fn scene(harm: Harm) {
    let mut scene = Scene::new();
    scene.suffer(harm);
    scene.recover();
    // Once more: nothing of the first time is in the way.
    scene.suffer(harm);
    scene.recover();
}

#[test]
fn random_bytes_in_shared_memory_hurt_only_their_writer() {
    scene(Harm::Scribble);
}

#[test]
fn lies_about_lengths_and_states_hurt_only_the_liar() {
    scene(Harm::Lie);
}

#[test]
fn requests_taken_and_never_answered_end_at_their_deadline() {
    scene(Harm::Hold);
}

#[test]
fn a_flood_of_notifications_starves_nobody() {
    scene(Harm::Flood);
}

#[test]
fn endpoints_without_end_stop_at_the_bound() {
    scene(Harm::Bind);
}

#[test]
fn records_that_are_none_are_thrown_out_with_their_sender() {
    scene(Harm::Records);
}

#[test]
fn who_never_reads_does_not_fill_the_daemon() {
    scene(Harm::Unread);
}

#[test]
fn sessions_without_end_leave_room_for_others() {
    scene(Harm::Connect);
}

#[test]
fn a_daemon_without_descriptors_serves_whom_it_has_and_waits() {
    let node = Node::start_with(DAEMON, 40);
    node.make_dc();
    let first = node.attach();
    let port = first.bind(DC, server(0)).unwrap();
    let mut others: Vec<_> = Vec::new();
    // Whoever finds no room is not answered; it would wait, so that nobody attaches here but by hand.
    while let Ok(socket) = dvs_linux::socket::Socket::connect(&node.socket()) {
        others.push(socket);
        if others.len() == 60 {
            break;
        }
    }
    let ticks = measure::cpu_ticks(node.pid());
    // The sessions it has are served, and what waits at its door costs nothing.
    for _ in 0..100 {
        first.system().dvs_info().unwrap();
    }
    std::thread::sleep(Duration::from_secs(1));
    let used = measure::cpu_ticks(node.pid()) - ticks;
    assert!(used < 60, "the daemon spins: {used} ticks in a second");
    drop(others);
    node.wait_status("it lets in again", |s| s.sessions == 1);
    drop(port);
    drop(node.attach().bind(DC, server(1)).unwrap());
}

#[test]
fn a_callee_without_the_right_to_relay_sends_nobody_anywhere() {
    let node = Node::start(DAEMON);
    node.make_dc();
    let bind = |slot| node.attach().bind(DC, Endpoint::new(0, slot)).unwrap();
    let (mut client, third) = (bind(10), bind(12));
    let source = client.endpoint();
    let mut raw = Raw::attach(&node.socket(), "relay").unwrap();
    let hostile = Endpoint::from_raw(raw.bind(Endpoint::NONE.raw()).unwrap().unwrap());
    let mut call = |raw: &mut Raw, answer: bool| {
        let client = &mut client;
        std::thread::scope(|s| {
            let caller = s.spawn(move || client.sendrec(hostile, &mut Message::new(1), WATCHDOG));
            while !hostile::redirect(raw, third.endpoint(), &Message::new(9)) {
                std::thread::yield_now();
            }
            let mut m = Message::default();
            if answer {
                third.receive(Endpoint::ANY, &mut m, WATCHDOG).unwrap();
                assert_eq!((m.source(), m.mtype()), (source, 9));
                third.reply(source, &mut m, WATCHDOG).unwrap();
            }
            caller.join().unwrap()
        })
    };
    let refused = call(&mut raw, false).unwrap_err();
    assert_eq!((refused.code, refused.effect), (Code::BADREQUEST, Effect::Unknown));
    let nothing = third.receive(Endpoint::ANY, &mut Message::default(), Timeout::Now).unwrap_err();
    assert_eq!(nothing.code, Code::AGAIN);

    let operator = node.attach();
    let system = operator.system();
    let rights = system.privileges(DC, hostile).unwrap();
    let may = Privileges { calls: rights.calls.with(Call::Relay), ..rights };
    system.set_privileges(DC, hostile, may).unwrap();
    call(&mut raw, true).unwrap();
    system.set_privileges(DC, hostile, rights).unwrap();
    assert_eq!(call(&mut raw, false).unwrap_err().code, Code::BADREQUEST);
}
