//! Moves of services to this node: somebody has to be here who takes them over.

use super::{MoveRecord, Prepare, Readiness};
use crate::admin::RunOrder;
use crate::daemon::Daemon;
use crate::programs::Asker;
use dvs_abi::limits::MOVES_MAX;
use dvs_kern::mover::MoverAnswer;
use dvs_kern::node::event::Event;
use dvs_linux::clock;

/// How long a program that was started has until it stands by.
const START_NS: u64 = 10_000_000_000;

/// One that is prepared.
pub(crate) struct Coming {
    ask: Prepare,
    /// The program started for it.
    program: Option<u32>,
    /// Somebody was told to take it.
    taken: bool,
    pub(super) until: u64,
}

impl Daemon {
    /// A service wants to come here.
    pub(super) fn move_prepare(&mut self, from: u16, id: u64, ask: Prepare) {
        let standby = self.node.standby(ask.dc, ask.slot);
        if ask.check {
            let record = match (standby, &ask.start) {
                (Some(w), _) => {
                    let mover = Some((w.mover.raw(), w.versions));
                    MoveRecord::Ready { id, room: Readiness { mover, memory: free_memory() } }
                }
                (None, Some(_)) => match self.may_run(from) {
                    Ok(()) => {
                        MoveRecord::Ready { id, room: Readiness { mover: None, memory: free_memory() } }
                    }
                    Err((_, why)) => MoveRecord::Refused { id, why: self.nobody(&why) },
                },
                (None, None) => MoveRecord::Refused { id, why: self.nobody("nothing to start is known") },
            };
            return self.tell_mover(from, record);
        }
        if self.moves.coming.len() >= MOVES_MAX {
            let why = "too many services move at this moment".to_owned();
            return self.tell_mover(from, MoveRecord::Refused { id, why });
        }
        let mut coming = Coming { ask, program: None, taken: false, until: clock::now() + START_NS };
        if standby.is_none() {
            match self.start_target(from, id, &coming.ask) {
                Ok(program) => coming.program = Some(program),
                Err(why) => {
                    let why = self.nobody(&why);
                    return self.tell_mover(from, MoveRecord::Refused { id, why });
                }
            }
        }
        self.moves.coming.insert((from, id), coming);
        self.move_take(from, id);
    }

    fn nobody(&self, why: &str) -> String {
        format!("nobody stands by for it on node {}, and none is started: {why}", self.config.node)
    }

    fn start_target(&mut self, from: u16, id: u64, ask: &Prepare) -> Result<u32, String> {
        let Some((program, folder)) = ask.start.clone() else {
            return Err("what to start is not known; name it behind --".to_owned());
        };
        let order = RunOrder { dc: ask.dc, endpoint: ask.slot, program, folder, detach: true };
        self.run_program(Asker { node: from, id }, &order).map(|(number, _)| number).map_err(|(_, why)| why)
    }

    /// Tells somebody who stands by to take it, if there is one by now.
    fn move_take(&mut self, from: u16, id: u64) {
        let Some(c) = self.moves.coming.get_mut(&(from, id)).filter(|c| !c.taken) else { return };
        let (dc, slot) = (c.ask.dc, c.ask.slot);
        let Some(w) = self.node.standby(dc, slot) else { return };
        c.taken = true;
        c.until = u64::MAX;
        let answer = MoverAnswer::Take { id, from, peer: c.ask.peer };
        let room = Readiness { mover: Some((w.mover.raw(), w.versions)), memory: free_memory() };
        self.feed(Event::MoverOrder { dc, slot, answer });
        self.tell_mover(from, MoveRecord::Ready { id, room });
    }

    /// A program stands by for a service.
    pub(crate) fn move_standby(&mut self, dc: u16, slot: i32) {
        let wanted = |c: &super::target::Coming| !c.taken && (c.ask.dc, c.ask.slot) == (dc, slot);
        let found = self.moves.coming.iter().find(|(_, c)| wanted(c)).map(|(key, _)| *key);
        if let Some((from, id)) = found {
            self.move_take(from, id);
        }
    }

    /// The source's daemon says how it ended.
    pub(super) fn move_over(&mut self, from: u16, id: u64, moved: bool) {
        let Some(c) = self.moves.coming.remove(&(from, id)) else { return };
        if let Some(program) = c.program.filter(|_| !moved) {
            self.end_program(program);
        }
    }

    /// A program of this daemon has ended: if a move waits for it, that is not to be.
    pub(crate) fn move_program_over(&mut self, program: u32, code: i32) {
        let waits = |c: &Coming| !c.taken && c.program == Some(program);
        let found = self.moves.coming.iter().find(|(_, c)| waits(c)).map(|(key, _)| *key);
        let Some((from, id)) = found else { return };
        self.moves.coming.remove(&(from, id));
        let why = format!("the program started on node {} ended with {code}; see dvs logs", self.config.node);
        self.tell_mover(from, MoveRecord::Refused { id, why });
    }

    pub(super) fn coming_expire(&mut self, now: u64) {
        let due = self.moves.coming.iter().filter(|(_, c)| c.until <= now);
        for (from, id) in due.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.move_over(from, id, false);
            let seconds = START_NS / 1_000_000_000;
            let why =
                format!("the program started on node {} did not stand by in {seconds} s", self.config.node);
            self.tell_mover(from, MoveRecord::Refused { id, why });
        }
    }
}

/// Memory that programs could still have, bytes.
fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).map_or(u64::MAX, |kib| kib << 10)
}
