//! The dishonest helper processes. Each attaches as a program does, binds [`SLOT`], opens lanes to every
//! server, says `ready`, and does harm until it is killed or its standard input ends.

use crate::raw::{Raw, Shore, encode};
use crate::rng::Rng;
use crate::roles::say;
use crate::server;
use dvs::{Endpoint, Kind, Message};
use dvs_ipc::control::{self as words, Request};
use dvs_ipc::host::Memory;
use dvs_ipc::lane::{GrantList, Lane, Phase, State};
use dvs_ipc::link::Link;
use dvs_linux::LinuxHost;
use dvs_linux::socket::Socket;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;

/// The slot of the hostile process: a server's, so that it may do all a server may.
pub const SLOT: i32 = 20;
const HOST: LinuxHost = LinuxHost;
/// Where the words of a lane are in it; they are told here again, since nobody honest writes them so.
const REQUEST_META: usize = 2;
const REPLY_META: usize = 3;
const HEADER_WORDS: usize = 96;
const LANE_WORDS: usize = dvs_ipc::lane::LANE_WORDS;

/// What harm it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    /// Writes any bytes anywhere in the memory it shares.
    Scribble,
    /// Writes states, lengths, destinations and errors that are nearly right.
    Lie,
    /// Takes requests and holds their callers, never answering.
    Hold,
    /// Notifies without end.
    Flood,
    /// Binds endpoints without end.
    Bind,
    /// Sends records that are none, too long or laden with descriptors.
    Records,
    /// Asks without end and never reads an answer.
    Unread,
    /// Connects without end.
    Connect,
}

impl Harm {
    /// All of them.
    pub const ALL: [Harm; 8] = [
        Harm::Scribble,
        Harm::Lie,
        Harm::Hold,
        Harm::Flood,
        Harm::Bind,
        Harm::Records,
        Harm::Unread,
        Harm::Connect,
    ];

    /// As it is named on the command line.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// `hostile SOCKET HARM SERVERS`.
///
/// # Panics
/// When the daemon does not let it in.
pub fn run(socket: &Path, harm: Harm, servers: usize) {
    let mut raw = Raw::attach(socket, "hostile").expect("it looks honest so far");
    raw.bind(SLOT).expect("the daemon").expect("a free slot");
    for n in 0..servers {
        raw.open(SLOT, server(n).raw()).expect("the daemon").expect("a lane");
    }
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut std::io::stdin(), &mut rest);
        std::process::exit(0);
    });
    say("ready");
    let mut rng = Rng::new(u64::from(std::process::id()));
    match harm {
        Harm::Scribble => forever(&mut raw, |raw| scribble(raw, &mut rng)),
        Harm::Lie => forever(&mut raw, |raw| lie(raw, &mut rng)),
        Harm::Hold => forever(&mut raw, |raw| hold(raw, &mut rng)),
        Harm::Flood => forever(&mut raw, flood),
        Harm::Bind => bind(&mut raw, servers),
        Harm::Records => records(socket, &mut rng),
        Harm::Unread => unread(&mut raw),
        Harm::Connect => connect(socket),
    }
}

fn forever(raw: &mut Raw, mut harm: impl FnMut(&Raw)) {
    loop {
        raw.pump();
        for _ in 0..1000 {
            harm(raw);
        }
    }
}

fn lane(shore: &Shore, n: u8) -> Option<Lane<'_>> {
    Link::new(shore.memory.words())?.lane(n as usize)
}

fn ring(shore: &Shore, n: u8) {
    if let Some(link) = Link::new(shore.memory.words()) {
        link.mark(shore.side.other(), n as usize);
        shore.ringer.ring(&HOST, shore.bell_link as usize);
    }
}

fn scribble(raw: &Raw, rng: &mut Rng) {
    for shore in raw.links.values() {
        let words = if rng.below(8) == 0 { shore.bell.words() } else { shore.memory.words() };
        let word = &words[rng.below(words.len() as u64) as usize];
        match rng.below(6) {
            0 => word.store(rng.draw(), Ordering::Relaxed),
            1 => word.store(0, Ordering::Relaxed),
            2 => drop(word.fetch_xor(1 << rng.below(9), Ordering::Relaxed)),
            3 => drop(word.fetch_add(1 << 8, Ordering::Relaxed)),
            4 => word.store(rng.below(1024), Ordering::Relaxed),
            _ => ring(shore, rng.below(64) as u8),
        }
    }
}

/// Words of a lane as they lie in memory.
fn words(shore: &Shore, n: u8) -> &[std::sync::atomic::AtomicU64] {
    &shore.memory.words()[HEADER_WORDS + n as usize * LANE_WORDS..][..LANE_WORDS]
}

fn lie(raw: &Raw, rng: &mut Rng) {
    for (link, n) in &raw.incoming {
        let Some(shore) = raw.links.get(link) else { continue };
        let w = words(shore, *n);
        let state = State(w[0].load(Ordering::Acquire));
        if !matches!(state.phase(), Some(Phase::PostedRequest | Phase::PostedSend)) {
            continue;
        }
        let (meta, phase) = match rng.below(8) {
            0 => (rng.draw(), Phase::Replied),
            1 => (200, Phase::Replied),
            2 => (32 | (SLOT as u64) << 32, Phase::Redirected),
            3 => (32 | rng.draw() << 32, Phase::Redirected),
            4 => (32 | (server(0).raw() as u64) << 32, Phase::Redirected),
            // MIGRATE, effect no: "make the call again".
            5 => ((-332i32 as u32 as u64) << 32, Phase::Failed),
            // Stuck for good, so not too often.
            6 if rng.below(500) == 0 => (rng.draw(), Phase::Leaving),
            _ => (rng.draw(), Phase::Failed),
        };
        w[REPLY_META].store(meta, Ordering::Relaxed);
        if rng.below(10_000) == 0 {
            w[0].store(state.to(phase).0, Ordering::Release);
        } else {
            // As an honest callee would, so that the lane is not stuck and the next lie is heard, too.
            let swap = w[0].compare_exchange(state.0, state.to(phase).0, Ordering::AcqRel, Ordering::Relaxed);
            if swap.is_err() {
                continue;
            }
        }
        ring(shore, *n);
    }
    for (link, n) in &raw.outgoing {
        let Some(shore) = raw.links.get(link) else { continue };
        let w = words(shore, *n);
        let state = State(w[0].load(Ordering::Acquire));
        let phase = if rng.below(2) == 0 { Phase::PostedSend } else { Phase::PostedRequest };
        for word in &w[8..52] {
            word.store(rng.draw(), Ordering::Relaxed);
        }
        let meta = [0xff, 33, 32 | 5 << 8, 32 | 0xff << 8, rng.draw(), 1 | 4 << 8][rng.below(6) as usize];
        w[REQUEST_META].store(meta, Ordering::Relaxed);
        w[0].store(State::new(state.next_seq(), phase).0, Ordering::Release);
        ring(shore, *n);
    }
}

fn hold(raw: &Raw, rng: &mut Rng) {
    for (link, n) in &raw.incoming {
        let Some(lane) = raw.links.get(link).and_then(|s| lane(s, *n)) else { continue };
        let Some((seq, _)) = lane.peek() else { continue };
        let (mut m, mut grants) = (Message::default(), GrantList::default());
        lane.take(seq, &mut m, &mut grants);
        if rng.below(2) == 0 {
            let _ = lane.begin_copy(seq);
        }
    }
    for (link, n) in &raw.outgoing {
        let Some(shore) = raw.links.get(link) else { continue };
        let Some(lane) = lane(shore, *n) else { continue };
        // A request whose answer is never collected, and then one that is taken back.
        match lane.post(Kind::Request, &Message::new(crate::roles::HOLD as i32), &[]) {
            Ok(_) => ring(shore, *n),
            Err(_) if rng.below(64) == 0 => drop(lane.cancel(lane.state().seq())),
            Err(_) => {}
        }
    }
}

/// Takes a request that waits in one of the lanes and has its caller send `message` to `to` instead; whether
/// there was one.
pub fn redirect(raw: &mut Raw, to: Endpoint, message: &Message) -> bool {
    raw.pump();
    for (link, n) in &raw.incoming {
        let Some(shore) = raw.links.get(link) else { continue };
        let Some(lane) = lane(shore, *n) else { continue };
        let Some((seq, _)) = lane.peek() else { continue };
        let (mut m, mut grants) = (Message::default(), GrantList::default());
        lane.take(seq, &mut m, &mut grants);
        let done = lane.redirect(seq, to, message).is_ok();
        ring(shore, *n);
        return done;
    }
    false
}

fn flood(raw: &Raw) {
    for (link, n) in &raw.outgoing {
        let Some(shore) = raw.links.get(link) else { continue };
        if let Some(lane) = lane(shore, *n) {
            lane.notify(1);
            ring(shore, *n);
        }
    }
}

fn bind(raw: &mut Raw, servers: usize) {
    let mut bound = 0;
    while let Ok(Ok(endpoint)) = raw.bind(Endpoint::NONE.raw()) {
        bound += 1;
        if bound % 16 == 0 {
            // Lanes as well: a user may call servers.
            let _ = raw.open(endpoint, server(bound % servers).raw());
        }
    }
    say(&format!("bound {bound}"));
    loop {
        // The table is full; it goes on asking.
        if raw.bind(Endpoint::NONE.raw()).is_err() {
            return;
        }
    }
}

/// A record as only the system bounds it.
fn throw(socket: &Socket, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
    let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags).is_ok()
}

fn records(path: &Path, rng: &mut Rng) {
    let null: OwnedFd = std::fs::File::open("/dev/null").expect("it is always there").into();
    let many: Vec<BorrowedFd<'_>> = (0..64).map(|_| null.as_fd()).collect();
    let mut bytes = vec![0; 128 << 10];
    loop {
        bytes.iter_mut().for_each(|b| *b = rng.draw() as u8);
        let Ok(socket) = Socket::connect(path) else { continue };
        match rng.below(5) {
            0 => drop(throw(&socket, &bytes[..1 + rng.below(200) as usize], &[])),
            1 => drop(throw(&socket, &bytes, &[])),
            2 => drop(throw(&socket, &bytes[..100], &many[..1 + rng.below(63) as usize])),
            3 => {
                let (version, long) = (words::VERSION, rng.below(60_000) as usize);
                let hello = Request::Hello { version, name: "x".repeat(long) };
                throw(&socket, &encode(1, hello), &many[..3]);
            }
            _ => {
                // Honest at first, then a flood of descriptors and nonsense until it is thrown out.
                if let Ok(raw) = Raw::attach(path, "records") {
                    let ask = encode(7, Request::DvsInfo);
                    while throw(&raw.socket, &ask, &many[..4]) && rng.below(200) != 0 {}
                    throw(&raw.socket, &bytes[..64], &many);
                }
            }
        }
    }
}

fn unread(raw: &mut Raw) {
    let ask = encode(7, Request::DcInfo { dc: crate::DC.0 });
    loop {
        if !throw(&raw.socket, &ask, &[]) {
            std::thread::yield_now();
        }
    }
}

fn connect(path: &Path) {
    let mut kept = Vec::new();
    let mut sockets = Vec::new();
    let mut tries = 0;
    loop {
        tries += 1;
        if tries % 2 == 0 {
            kept.extend(Raw::attach(path, "many").ok());
        } else {
            sockets.extend(rustix_connect(path));
        }
        if tries == 4000 {
            say(&format!("connected {} and {}", kept.len(), sockets.len()));
        }
    }
}

/// Connects without ever waiting.
fn rustix_connect(path: &Path) -> Option<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()?;
    connect(&fd, &SocketAddrUnix::new(path).ok()?).ok()?;
    Some(fd)
}
