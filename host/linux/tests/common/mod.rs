//! Two sessions and one link, without a daemon: what `dvsd` and the call library do, in the least code that
//! shows the lanes at work between real processes. Shared by the tests and the measuring example.
#![allow(dead_code)] // each user needs a part

use dvs_abi::limits::COPY_GRACE_NS;
use dvs_abi::{Deadline, Grant, Kind, Message};
use dvs_ipc::bell::{BELL_BYTES, Bell, Ringer, SpinPolicy, Spun, Waited, bits};
use dvs_ipc::host::{Host, Memory};
use dvs_ipc::lane::{Cancel, GrantList, Lane, Outcome, Taken};
use dvs_ipc::link::{LINK_BYTES, Link, Side};
use dvs_linux::LinuxHost;
use dvs_linux::memory::{Mapping, Reading};
use dvs_linux::socket::Socket;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

pub const HOST: LinuxHost = LinuxHost;
/// The one link of each session, in both numberings.
pub const LINK: usize = 0;
/// Lane of the calls.
pub const LANE: usize = 3;

/// One session's end of the link.
pub struct End {
    pub link: Arc<Mapping>,
    pub side: Side,
    pub bell: Bell,
    pub peer: Ringer,
    pub peer_pid: u32,
    pub policy: SpinPolicy,
}

impl End {
    /// Makes the link and hands it over; the other process calls [`End::accept`].
    pub fn offer(socket: &Socket) -> io::Result<End> {
        let (link, file) = Mapping::create("link", LINK_BYTES)?;
        socket.send(b"link", &[file.as_fd()], Deadline::NEVER)?;
        End::join(socket, link, Side::A)
    }

    pub fn accept(socket: &Socket) -> io::Result<End> {
        let got = receive(socket)?;
        let file = got.first().ok_or(io::ErrorKind::InvalidData)?;
        End::join(socket, Mapping::open(file.as_fd(), LINK_BYTES)?, Side::B)
    }

    fn join(socket: &Socket, link: Mapping, side: Side) -> io::Result<End> {
        let (bell, bell_file) = Mapping::create("bell", BELL_BYTES)?;
        let (status, status_file) = Mapping::create_status("status", BELL_BYTES)?;
        let pid = std::process::id().to_le_bytes();
        socket.send(&pid, &[bell_file.as_fd(), status_file.as_fd()], Deadline::NEVER)?;
        let got = socket.receive(Deadline::NEVER)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let [peer_bell, peer_status] = &got.fds[..] else { return Err(io::ErrorKind::InvalidData.into()) };
        let peer_bell = Mapping::open(peer_bell.as_fd(), BELL_BYTES)?;
        let peer_status = Reading::open(peer_status.as_fd(), BELL_BYTES)?;
        let short = || io::Error::from(io::ErrorKind::InvalidData);
        Ok(End {
            link: Arc::new(link),
            side,
            bell: Bell::new(Arc::new(bell), Arc::new(status)).ok_or_else(short)?,
            peer: Ringer::new(Arc::new(peer_bell), Arc::new(peer_status)).ok_or_else(short)?,
            peer_pid: u32::from_le_bytes(got.bytes[..4].try_into().map_err(|_| short())?),
            policy: SpinPolicy::default(),
        })
    }

    pub fn tell_peer(&self) {
        view(&self.link).mark(self.side.other(), LANE);
        self.peer.ring(&HOST, LINK);
    }

    /// Waits until there is something to look at (`true`) or the deadline.
    pub fn wait(&mut self, deadline: Deadline) -> bool {
        let (link, cpu) = (view(&self.link), HOST.cpu());
        link.set_cpu(self.side, cpu);
        let spin = self.policy.spin_ns(link.cpu(self.side.other()), cpu);
        let waited = self.bell.wait(&HOST, deadline, spin);
        match self.bell.spun() {
            Spun::Not => {}
            spun => self.policy.on_result(spun == Spun::Hit),
        }
        match waited {
            Waited::Rung(pending) => {
                if pending.links().any(|n| n == LINK) {
                    let _ready = bits(link.take_ready(self.side)).count();
                }
                true
            }
            Waited::Recheck => true,
            Waited::TimedOut | Waited::Interrupted => false,
        }
    }

    /// A call that ends by the deadline: `None` when it was cancelled.
    pub fn call(
        &mut self,
        m: &Message,
        grants: &[Grant],
        into: &mut Message,
        deadline: Deadline,
    ) -> Option<Outcome> {
        let memory = self.link.clone();
        let lane = lane(&memory);
        let seq = match lane.post(Kind::Request, m, grants) {
            Ok(seq) => seq,
            Err(dvs_ipc::lane::Refused::Closed) => return Some(Outcome::Closed(dvs_abi::Effect::No)),
            Err(e) => panic!("{e:?}"),
        };
        self.tell_peer();
        loop {
            match lane.collect(seq, into) {
                Outcome::Pending => {}
                outcome => return Some(outcome),
            }
            if !self.wait(deadline) && deadline.passed(HOST.now()) {
                break;
            }
        }
        self.leave(lane, seq, into)
    }

    fn leave(&mut self, lane: Lane<'_>, seq: u64, into: &mut Message) -> Option<Outcome> {
        let grace = Deadline::from_ns(HOST.now() + COPY_GRACE_NS);
        loop {
            match lane.cancel(seq) {
                Cancel::NotTaken | Cancel::Taken => return None,
                Cancel::Done(_) => return Some(lane.collect(seq, into)),
                Cancel::Copying if grace.passed(HOST.now()) => {
                    lane.abandon(seq);
                    return None;
                }
                Cancel::Copying | Cancel::Recalled => _ = self.wait(grace),
            }
        }
    }

    /// Serves one request if there is one: the answer is the request with `f` applied.
    pub fn serve(&self, f: impl FnOnce(&mut Message, &GrantList, Lane<'_>, u64)) -> bool {
        let lane = lane(&self.link);
        let (mut m, mut grants) = (Message::default(), GrantList::default());
        let Some((seq, _)) = lane.peek() else { return false };
        match lane.take(seq, &mut m, &mut grants) {
            Taken::Gone => return true,
            Taken::Malformed => {}
            Taken::Yes => {
                f(&mut m, &grants, lane, seq);
                let _caller_gone = lane.reply(seq, &m);
            }
        }
        self.tell_peer();
        true
    }
}

pub fn view(memory: &Mapping) -> Link<'_> {
    Link::new(memory.words()).expect("it was made with this size")
}

pub fn lane(memory: &Mapping) -> Lane<'_> {
    view(memory).lane(LANE).expect("a number below the maximum")
}

fn receive(socket: &Socket) -> io::Result<Vec<std::os::fd::OwnedFd>> {
    Ok(socket.receive(Deadline::NEVER)?.ok_or(io::ErrorKind::UnexpectedEof)?.fds)
}
