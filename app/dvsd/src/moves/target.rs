//! Moves of services to this node: somebody has to be here who takes them over.

use super::{MoveRecord, Prepare, Readiness};
use crate::admin::RunOrder;
use crate::daemon::Daemon;
use crate::programs::Asker;
use dvs_abi::limits::MOVES_MAX;
use dvs_kern::mover::MoverAnswer;
use dvs_kern::node::event::Event;
use dvs_linux::clock;

/// How long one who stands by has to say so anew, before another one is started.
const LOOK_NS: u64 = 200_000_000;
/// How long a program that was started has until it stands by.
const START_NS: u64 = 10_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Somebody may stand by.
    Looking,
    /// This program was started.
    Started(u32),
    /// Somebody was told to take it: one that was started, or not.
    Taken(Option<u32>),
}

/// One that is prepared.
pub(crate) struct Coming {
    ask: Prepare,
    stage: Stage,
    pub(super) until: u64,
}

impl Daemon {
    /// A service wants to come here.
    pub(super) fn move_prepare(&mut self, from: u16, id: u64, ask: Prepare) {
        if self.moves.coming.len() >= MOVES_MAX {
            let why = "too many services move at this moment".to_owned();
            return self.tell_mover(from, MoveRecord::Refused { id, why });
        }
        let coming = Coming { ask, stage: Stage::Looking, until: clock::now() + LOOK_NS };
        self.moves.coming.insert((from, id), coming);
        self.move_take(from, id);
    }

    /// Nobody stands by: somebody is started.
    fn move_start(&mut self, from: u16, id: u64) {
        let Some(ask) = self.moves.coming.get(&(from, id)).map(|c| c.ask.clone()) else { return };
        let done = match (&ask.start, ask.check) {
            (None, _) => Err("what to start is not known; name it behind --".to_owned()),
            (Some(_), true) => self.may_run(from).map(|()| None).map_err(|(_, why)| why),
            (Some(start), false) => self.start_target(from, id, &ask, start).map(Some),
        };
        match done {
            Ok(None) => {
                self.moves.coming.remove(&(from, id));
                let room = Readiness { mover: None, memory: free_memory() };
                self.tell_mover(from, MoveRecord::Ready { id, room });
            }
            Ok(Some(program)) => {
                if let Some(c) = self.moves.coming.get_mut(&(from, id)) {
                    (c.stage, c.until) = (Stage::Started(program), clock::now() + START_NS);
                }
            }
            Err(why) => {
                self.moves.coming.remove(&(from, id));
                let why = self.nobody(&why);
                self.tell_mover(from, MoveRecord::Refused { id, why });
            }
        }
    }

    fn nobody(&self, why: &str) -> String {
        format!("nobody stands by for it on node {}, and none is started: {why}", self.config.node)
    }

    fn start_target(
        &mut self,
        from: u16,
        id: u64,
        ask: &Prepare,
        (program, folder): &(Vec<String>, Option<String>),
    ) -> Result<u32, String> {
        let (program, folder) = (program.clone(), folder.clone());
        let order = RunOrder { dc: ask.dc, endpoint: ask.slot, program, folder, detach: true };
        self.run_program(Asker { node: from, id }, &order).map(|(number, _)| number).map_err(|(_, why)| why)
    }

    /// Tells somebody who stands by to take it, if there is one by now.
    fn move_take(&mut self, from: u16, id: u64) {
        let Some(c) = self.moves.coming.get_mut(&(from, id)) else { return };
        let (dc, slot) = (c.ask.dc, c.ask.slot);
        let Some(w) = self.node.standby(dc, slot) else { return };
        let room = Readiness { mover: Some((w.mover.raw(), w.versions)), memory: free_memory() };
        let program = match c.stage {
            Stage::Looking => None,
            Stage::Started(program) => Some(program),
            Stage::Taken(_) => return,
        };
        (c.stage, c.until) = (Stage::Taken(program), u64::MAX);
        let (answer, check) = (MoverAnswer::Take { id, from, peer: c.ask.peer }, c.ask.check);
        if check {
            self.moves.coming.remove(&(from, id));
        } else {
            self.feed(Event::MoverOrder { dc, slot, answer });
        }
        self.tell_mover(from, MoveRecord::Ready { id, room });
    }

    /// A program stands by for a service.
    pub(crate) fn move_standby(&mut self, dc: u16, slot: i32) {
        let open = |c: &Coming| !matches!(c.stage, Stage::Taken(_));
        let wanted = |c: &Coming| open(c) && (c.ask.dc, c.ask.slot) == (dc, slot);
        let found = self.moves.coming.iter().find(|(_, c)| wanted(c)).map(|(key, _)| *key);
        if let Some((from, id)) = found {
            self.move_take(from, id);
        }
    }

    /// The source's daemon says how it ended.
    pub(super) fn move_over(&mut self, from: u16, id: u64, moved: bool) {
        let Some(c) = self.moves.coming.remove(&(from, id)) else { return };
        if let (Stage::Started(program) | Stage::Taken(Some(program)), false) = (c.stage, moved) {
            self.end_program(program);
        }
    }

    /// A program of this daemon has ended: if a move waits for it, that is not to be.
    pub(crate) fn move_program_over(&mut self, program: u32, code: i32) {
        let waits = |c: &Coming| c.stage == Stage::Started(program);
        let found = self.moves.coming.iter().find(|(_, c)| waits(c)).map(|(key, _)| *key);
        let Some((from, id)) = found else { return };
        self.moves.coming.remove(&(from, id));
        let why = format!("the program started on node {} ended with {code}; see dvs logs", self.config.node);
        self.tell_mover(from, MoveRecord::Refused { id, why });
    }

    pub(super) fn coming_expire(&mut self, now: u64) {
        let due = self.moves.coming.iter().filter(|(_, c)| c.until <= now);
        for (from, id) in due.map(|(key, _)| *key).collect::<Vec<_>>() {
            if self.moves.coming.get(&(from, id)).is_some_and(|c| c.stage == Stage::Looking) {
                self.move_start(from, id);
                continue;
            }
            self.move_over(from, id, false);
            let (seconds, node) = (START_NS / 1_000_000_000, &self.config.node);
            let why = format!("the program started on node {node} did not stand by in {seconds} s");
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
