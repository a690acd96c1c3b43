//! Who is connected to whom, whether it is the same session as before, and when to give up.
//!
//! ```text
//!             greeting, first of this life         a connection is lost
//!  Connecting ────────────────────────────▶ Up ───────────────────────▶ Broken
//!   ▲  │ dead_after                        ▲  ▲  greeting, same session   │ │ dead_after
//!   │  │                                   │  └───────────────────────────┘ │
//!   │  └──────────────────────────▶ Dead ──┘◀──────────────────────────────┘
//!   └── from Up and Broken, when the peer is another one than before
//! ```
//!
//! A session is a pair of identities (boot, life). A greeting that names both as this side knows them
//! resumes it; one from another identity means that the peer restarted or gave up: everything outstanding
//! is lost, `Down` is said once, our own life rises by one (so that the peer, too, cannot take us for the
//! old session), and `Up` is said for the new one. While Connecting and Broken callers just wait within
//! their credit; only Dead gives errors.
//!
//! The lower node id dials, so two nodes never hold two connections of one class; a newer connection
//! replaces an older one, which may be half open.

use dvs_abi::NodeId;
use dvs_wire::{Greeting, Identity, Refusal, RefusalReason, StreamClass, VERSIONS, Versions};

/// Where a peer node stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Not connected yet; what is sent waits.
    Connecting,
    /// Both connections stand.
    Up,
    /// A connection is lost and is being made anew; what is sent waits.
    Broken,
    /// Given up; what is sent fails. A new session may come at any time.
    Dead,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DownReason {
    /// No connection for longer than `dead_after`.
    Unreachable,
    /// The node's daemon started again.
    Restarted,
    /// The node gave this session up.
    GaveUp,
    /// It is no longer in the list.
    Forgotten,
    /// It takes too little of what it is sent.
    Flooded,
    /// It broke the protocol in a way that no new connection heals.
    Protocol,
}

/// The times of a session, in ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Heartbeat when nothing else is sent.
    pub ping_every: u64,
    /// Nothing heard for so long: the connection is broken.
    pub silence_max: u64,
    /// No connection for so long: the node is dead.
    pub dead_after: u64,
    /// Longest pause between two dials; the first is an eighth of it.
    pub redial_max: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            ping_every: 100_000_000,
            silence_max: 1_000_000_000,
            dead_after: 5_000_000_000,
            redial_max: 400_000_000,
        }
    }
}

/// What the driver has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Make a connection and say HELLO.
    Dial(StreamClass),
    /// Close the connection, if there is one.
    Close(StreamClass),
    /// Tell the router: a new session.
    Up,
    /// Tell the router: everything outstanding is lost.
    Down(DownReason),
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Closed { since: u64, dial_at: u64, pause: u64 },
    Dialing { since: u64, pause: u64 },
    Open,
}

/// The state machine. Calls that end a session return [`Command::Down`]; the owner then resets the streams.
#[derive(Debug)]
pub struct Session {
    node: NodeId,
    me: Identity,
    peer: Identity,
    peer_node: NodeId,
    versions: Versions,
    timing: Timing,
    links: [Link; 2],
    given_up: bool,
    over: bool,
    system: u128,
}

impl Session {
    /// Node `node`, which runs as `boot`, towards `peer_node`.
    pub fn new(node: NodeId, boot: u128, peer_node: NodeId, timing: Timing, now: u64) -> Self {
        let link = Link::Closed { since: now, dial_at: now, pause: timing.redial_max / 8 };
        Session {
            node,
            me: Identity { boot: boot.max(1), life: 0 },
            peer: Identity::NOBODY,
            peer_node,
            versions: VERSIONS,
            timing,
            links: [link; 2],
            given_up: false,
            over: false,
            system: 0,
        }
    }

    /// Speaks other versions (for tests of the negotiation).
    pub fn with_versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// A node of this system: one of another is refused, whatever its number.
    pub fn with_system(mut self, system: u128) -> Self {
        self.system = system;
        self
    }

    /// Begins with this life, for a node that was forgotten and is admitted again by the same run: above all
    /// lives before, or the other side takes it for the session that it still knows, or for one that is over.
    pub fn with_life(mut self, life: u64) -> Self {
        self.me.life = life;
        self
    }

    /// The times it keeps.
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Whether this side dials.
    pub const fn dials(&self) -> bool {
        self.node.0 < self.peer_node.0
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        let open = self.links.iter().all(|l| matches!(l, Link::Open));
        match (self.given_up || self.over, self.peer.is_nobody(), open) {
            (true, ..) => State::Dead,
            (_, true, _) => State::Connecting,
            (_, _, true) => State::Up,
            (_, _, false) => State::Broken,
        }
    }

    /// The HELLO for a stream on which `received` is the last frame received.
    pub fn hello(&self, class: StreamClass, received: u64) -> Greeting {
        self.greeting(class, received, self.versions)
    }

    fn greeting(&self, class: StreamClass, received: u64, versions: Versions) -> Greeting {
        let (node, from, to, system) = (self.node, self.me, self.peer, self.system);
        Greeting { versions, node, class, from, to, features: 0, received, system }
    }

    fn refuse(&self, reason: RefusalReason, text: String) -> Refusal {
        Refusal { reason, versions: self.versions, boot: self.me.boot, text }
    }

    /// A HELLO came. `Ok`: the connection is accepted, WELCOME is to be sent with [`Session::welcome`]. The
    /// commands hold in both cases.
    pub fn on_hello(&mut self, g: &Greeting, now: u64, commands: &mut Vec<Command>) -> Result<(), Refusal> {
        if self.over {
            let text = format!("{} is not in this node's list", self.peer_node);
            return Err(self.refuse(RefusalReason::Unknown, text));
        }
        let common = self.versions.common(g.versions);
        common.map_err(|e| self.refuse(RefusalReason::Version, e.to_string()))?;
        if g.system != self.system {
            let text = format!("this is {} of another system", self.node);
            return Err(self.refuse(RefusalReason::Unknown, text));
        }
        if g.node != self.peer_node {
            let text = format!("this is {}, {} was expected, {} came", self.node, self.peer_node, g.node);
            return Err(self.refuse(RefusalReason::Unknown, text));
        }
        if self.dials() {
            let text = format!("{} dials {}, not the other way round", self.node, self.peer_node);
            return Err(self.refuse(RefusalReason::Direction, text));
        }
        if g.from.boot == self.peer.boot && g.from.life < self.peer.life {
            // dialed before the session that stands; it must not end it
            return Err(self.refuse(RefusalReason::Stale, "that session is over".to_owned()));
        }
        if self.peer != g.from && !self.peer.is_nobody() {
            self.lost(self.reason(g.from), now, commands);
        }
        let known = self.peer == g.from;
        if !(g.to.is_nobody() || known && g.to == self.me) {
            return Err(self.refuse(RefusalReason::Stale, "that session is over".to_owned()));
        }
        self.opened(g, now, commands);
        Ok(())
    }

    /// The WELCOME that answers an accepted `hello`.
    pub fn welcome(&self, hello: &Greeting, received: u64) -> Greeting {
        let version = self.versions.common(hello.versions).unwrap_or(self.versions.max);
        self.greeting(hello.class, received, Versions { min: version, max: version })
    }

    /// A WELCOME came. Returns whether the connection can be used; else it is to be closed.
    pub fn on_welcome(&mut self, g: &Greeting, now: u64, commands: &mut Vec<Command>) -> bool {
        let right = (g.system, g.node, g.to) == (self.system, self.peer_node, self.me);
        let fits = right && self.versions.common(g.versions).is_ok();
        if self.over || !fits {
            self.closed(g.class, now);
            return false;
        }
        if self.peer != g.from && !self.peer.is_nobody() {
            // First: a link that were left dialing would never be dialed again.
            self.closed(g.class, now);
            self.lost(self.reason(g.from), now, commands);
            return false;
        }
        self.opened(g, now, commands);
        true
    }

    /// A REFUSE came in answer to `hello`.
    pub fn on_refuse(&mut self, hello: &Greeting, r: &Refusal, now: u64, commands: &mut Vec<Command>) {
        self.closed(hello.class, now);
        let about_us = hello.from == self.me && hello.to == self.peer;
        if r.reason == RefusalReason::Stale && about_us && !self.peer.is_nobody() {
            let restarted = r.boot != 0 && r.boot != self.peer.boot;
            let why = if restarted { DownReason::Restarted } else { DownReason::GaveUp };
            self.lost(why, now, commands);
        }
    }

    fn reason(&self, from: Identity) -> DownReason {
        if self.peer.boot == from.boot { DownReason::GaveUp } else { DownReason::Restarted }
    }

    fn opened(&mut self, g: &Greeting, now: u64, commands: &mut Vec<Command>) {
        self.links[g.class as usize] = Link::Open;
        if self.peer.is_nobody() {
            self.peer = g.from;
            self.given_up = false;
            self.start_over(now);
            commands.push(Command::Up);
        }
    }

    /// The other class, too, gets the whole of `dead_after` from here.
    fn start_over(&mut self, now: u64) {
        for link in &mut self.links {
            if let Link::Closed { since, .. } | Link::Dialing { since, .. } = link {
                *since = now;
            }
        }
    }

    /// The connection of a class is gone, or a dial failed.
    pub fn closed(&mut self, class: StreamClass, now: u64) {
        let first = self.timing.redial_max / 8;
        let link = &mut self.links[class as usize];
        *link = match *link {
            Link::Open => Link::Closed { since: now, dial_at: now, pause: first },
            Link::Dialing { since, pause } => {
                let longer = (pause * 2).min(self.timing.redial_max);
                Link::Closed { since, dial_at: now + pause, pause: longer }
            }
            closed => closed,
        };
    }

    /// Ends the session: all that is outstanding is lost.
    pub fn lost(&mut self, reason: DownReason, now: u64, commands: &mut Vec<Command>) {
        self.me.life += 1;
        self.peer = Identity::NOBODY;
        self.given_up = reason == DownReason::Unreachable;
        for class in StreamClass::ALL {
            if matches!(self.links[class as usize], Link::Open) {
                self.closed(class, now);
            }
            commands.push(Command::Close(class));
        }
        if !self.given_up {
            self.start_over(now);
        }
        commands.push(Command::Down(reason));
    }

    /// The peer is in the list no more: the session ends, and none begins.
    pub fn forget(&mut self, now: u64, commands: &mut Vec<Command>) {
        if self.state() != State::Dead {
            self.lost(DownReason::Forgotten, now, commands);
        }
        self.over = true;
    }

    /// Time passes: dials what is due, gives up what is late.
    pub fn tick(&mut self, now: u64, commands: &mut Vec<Command>) {
        if self.over {
            return;
        }
        let late = self.links.iter().any(|l| match *l {
            Link::Closed { since, .. } | Link::Dialing { since, .. } => {
                now.saturating_sub(since) >= self.timing.dead_after
            }
            Link::Open => false,
        });
        if late && !self.given_up {
            self.lost(DownReason::Unreachable, now, commands);
        }
        if !self.dials() {
            return;
        }
        for class in StreamClass::ALL {
            let link = &mut self.links[class as usize];
            if let Link::Closed { since, dial_at, pause } = *link
                && dial_at <= now
            {
                *link = Link::Dialing { since, pause };
                commands.push(Command::Dial(class));
            }
        }
    }
}
