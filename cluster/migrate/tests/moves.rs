//! A move from node 0 to node 1 while anything goes wrong: links are cut, either side crashes in any phase,
//! the log is slow, an operator cancels. Node 2 watches.

use dvs_abi::{DcId, Endpoint, NodeId};
use dvs_control::change::Change;
use dvs_control::command::{Command, Entry, Reply};
use dvs_control::container::DcConfig;
use dvs_control::epoch::Epoch;
use dvs_control::member::NodeCard;
use dvs_control::service::{Kind, PartitionRule, Place, ServiceSpec};
use dvs_control::state::{Answer, State};
use dvs_migrate::Note;
use dvs_migrate::preflight::{Load, Room, hindrances};
use dvs_migrate::source::{self, Ending, Plan, Source};
use dvs_migrate::target::{self, Target};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::collections::{BTreeMap, VecDeque};

const DC: DcId = DcId(0);
const SLOT: i32 = 5;
const MS: u64 = 1_000_000;
const SOURCE: usize = 0;
const TARGET: usize = 1;
const WATCHER: usize = 2;
/// How long callers may be held.
const HOLD: u64 = 400 * MS;

/// A node: how far it follows the log, and what it has of the move.
#[derive(Default)]
struct Node {
    alive: bool,
    incarnation: Epoch,
    numbers: u64,
    follows: usize,
    /// Its command under way, repeated until it is answered, and those behind it.
    commands: VecDeque<Command>,
    /// What was written to its instance and acknowledged, or taken over.
    instance: Option<u64>,
    source: Option<Source>,
    target: Option<Target>,
    /// Where it believes the service to be, and since when.
    place: Option<(NodeId, Epoch)>,
}

struct World {
    rng: TestRng,
    now: u64,
    state: State,
    log: Vec<Vec<Change>>,
    answers: BTreeMap<(usize, Epoch, u64), Answer>,
    /// On their way into the log: when they are due.
    proposals: Vec<(u64, Entry)>,
    nodes: [Node; 3],
    /// Notes on their way, in order, with the state they carry.
    to_target: VecDeque<(Note, u64)>,
    to_source: VecDeque<Note>,
    /// Writes that were acknowledged.
    written: u64,
    /// The instance that had them all was lost with its node.
    lost: bool,
    faults: bool,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let card = |n: u16| NodeCard {
            name: format!("n{n}"),
            address: String::new(),
            key: [n as u8; 32],
            witness: false,
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
        let mut w = World {
            rng,
            now: MS,
            state: State::found(card(0)),
            log: Vec::new(),
            answers: BTreeMap::new(),
            proposals: Vec::new(),
            nodes: Default::default(),
            to_target: VecDeque::new(),
            to_source: VecDeque::new(),
            written: 0,
            lost: false,
            faults: true,
            trace: Vec::new(),
        };
        w.begin(0);
        w.at_once(0, Command::Invite { token: [1; 32], until: u64::MAX, uses: 9 });
        for n in [1, 2] {
            w.at_once(0, Command::Admit { token: [1; 32], card: card(n) });
            w.begin(n as usize);
        }
        let spec = DcConfig {
            name: "c".into(),
            tasks: 35,
            procs: 100,
            sysprocs: 64,
            warn: Endpoint::NONE.raw(),
            warn_type: 0,
            nodes: 0b111,
            born: 0,
        };
        w.at_once(0, Command::Create { dc: Some(DC), spec });
        let rule = PartitionRule::Stop;
        let spec = ServiceSpec { name: "s".into(), kind: Kind::Single, nodes: 0b111, rule };
        w.at_once(0, Command::Declare { dc: DC, slot: SLOT, spec });
        w.nodes[SOURCE].instance = Some(0);
        w.at_once(0, Command::Offer { dc: DC, slot: SLOT, in_step: true });
        let all = w.log.len();
        w.nodes.iter_mut().for_each(|n| n.follows = all);
        let epoch = w.state.container(DC).unwrap().services[&SLOT].epoch;
        w.nodes.iter_mut().for_each(|n| n.place = Some((NodeId(0), epoch)));
        w
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }

    fn apply(&mut self, entry: &Entry) -> Answer {
        let mut changes = Vec::new();
        let place = Epoch(self.log.len() as u64 + 1);
        let answer = self.state.apply(place, entry, &mut changes);
        self.trace.push(format!("{} log {place} {:?} {answer:?} {changes:?}", self.now / MS, entry.command));
        self.log.push(changes);
        self.state.validate().unwrap();
        answer
    }

    fn begin(&mut self, n: usize) {
        let from = NodeId(n as u16);
        let incarnation = self.state.member(from).map(|m| m.last_incarnation()).unwrap_or_default();
        let command = Command::Begin { address: String::new(), nonce: self.log.len() as u64 };
        let begun = self.apply(&Entry { from, incarnation, number: 0, at: self.now, command });
        let Ok(Reply::Begun(incarnation)) = begun else { panic!("{begun:?}") };
        let follows = self.log.len();
        let at = |s: &State| s.container(DC).and_then(|c| c.services.get(&SLOT)).map(|s| (s.at(), s.epoch));
        let place = at(&self.state).and_then(|(node, epoch)| node.map(|n| (n, epoch)));
        self.nodes[n] = Node { alive: true, incarnation, follows, place, ..Node::default() };
    }

    fn at_once(&mut self, n: usize, command: Command) {
        self.nodes[n].numbers += 1;
        let node = &self.nodes[n];
        let (from, incarnation, number) = (NodeId(n as u16), node.incarnation, node.numbers);
        self.apply(&Entry { from, incarnation, number, at: self.now, command }).unwrap();
    }

    fn crash(&mut self, n: usize) {
        self.trace.push(format!("{} node {n} crashes", self.now / MS));
        let node = &mut self.nodes[n];
        // Who has all of what was written, and serves or is about to, takes it along.
        self.lost |= node.instance == Some(self.written);
        *node = Node { follows: node.follows, incarnation: node.incarnation, ..Node::default() };
        self.cut();
    }

    fn cut(&mut self) {
        self.to_target.clear();
        self.to_source.clear();
        self.source_hears(source::Event::Cut);
        self.target_hears(target::Event::Cut);
    }

    /// The commands of a node: one at a time, again and again until it is answered.
    fn propose(&mut self, n: usize) {
        let node = &self.nodes[n];
        let Some(command) = node.commands.front().cloned().filter(|_| node.alive) else { return };
        let (incarnation, number) = (node.incarnation, node.numbers + 1);
        let entry = Entry { from: NodeId(n as u16), incarnation, number, at: self.now, command };
        let due = self.now + MS * (1 + self.below(30));
        self.proposals.push((due, entry));
    }

    fn log_turns(&mut self) {
        let mut due: Vec<_> = self.proposals.extract_if(.., |(at, _)| *at <= self.now).collect();
        due.sort_by_key(|(at, _)| *at);
        for (_, mut entry) in due {
            if self.faults && self.chance(15) {
                continue;
            }
            entry.at = entry.at.max(self.now.saturating_sub(50 * MS));
            let answer = self.apply(&entry);
            self.answers.insert((entry.from.0 as usize, entry.incarnation, entry.number), answer);
        }
    }

    /// A node hears answers and some of what is new in the log.
    fn follow(&mut self, n: usize) {
        let (incarnation, number) = (self.nodes[n].incarnation, self.nodes[n].numbers + 1);
        if self.nodes[n].commands.front().is_some()
            && let Some(answer) = self.answers.remove(&(n, incarnation, number))
        {
            self.nodes[n].numbers = number;
            let command = self.nodes[n].commands.pop_front().unwrap();
            match (command, answer) {
                (Command::Move { .. }, Ok(Reply::Begun(e))) => self.source_hears(source::Event::Begun(e)),
                (Command::Move { .. }, Err(e)) => self.source_hears(source::Event::NotBegun(e.text)),
                (Command::Arrive { .. }, Err(_)) => self.target_hears(target::Event::NotOffered),
                _ => {}
            }
        }
        while self.nodes[n].follows < self.log.len() && !(self.faults && self.chance(40)) {
            let changes = self.log[self.nodes[n].follows].clone();
            self.nodes[n].follows += 1;
            for change in changes {
                self.change(n, &change);
            }
        }
    }

    fn change(&mut self, n: usize, change: &Change) {
        match *change {
            Change::Placed { node, epoch, .. } => {
                self.nodes[n].place = Some((node, epoch));
                match n {
                    SOURCE => self.source_hears(source::Event::PlacedAt(node, epoch)),
                    TARGET => self.target_hears(target::Event::PlacedAt(node, epoch)),
                    _ => {}
                }
                // Whoever is named and has nothing says so.
                let node_n = &mut self.nodes[n];
                if node == NodeId(n as u16) && node_n.alive && node_n.instance.is_none() {
                    node_n.commands.push_back(Command::Retire { dc: DC, slot: SLOT });
                }
            }
            Change::Held { epoch, .. } => {
                self.nodes[n].place = None;
                let place = self.state.container(DC).unwrap().services[&SLOT].place;
                if n == SOURCE && place == Place::Vacant {
                    self.source_hears(source::Event::Vacant(epoch));
                }
            }
            _ => {}
        }
    }

    fn source_hears(&mut self, event: source::Event) {
        let Some(mut s) = self.nodes[SOURCE].source.take() else { return };
        let mut out = Vec::new();
        self.trace.push(format!("{} source {:?} hears {event:?}", self.now / MS, s.phase()));
        s.step(event, self.now, &mut out);
        for order in out {
            match order {
                source::Order::Tell(note) => {
                    let has = self.nodes[SOURCE].instance.unwrap_or(0);
                    self.to_target.push_back((note, has));
                }
                source::Order::Collect => {
                    let bytes = self.below(1000);
                    let mut more = Vec::new();
                    s.step(source::Event::Changed(bytes), self.now, &mut more);
                    let has = self.nodes[SOURCE].instance.unwrap_or(0);
                    for order in more {
                        if let source::Order::Tell(note) = order {
                            self.to_target.push_back((note, has));
                        }
                    }
                }
                source::Order::Propose(command) => {
                    // Repeated by the node until it is answered: once is enough.
                    if !self.nodes[SOURCE].commands.contains(&command) {
                        let same = |c: &Command| {
                            matches!((c, &command), (Command::Move { .. }, Command::Move { .. }))
                        };
                        if !self.nodes[SOURCE].commands.iter().any(same) {
                            self.nodes[SOURCE].commands.push_back(command);
                        }
                    }
                }
                source::Order::Serve => {}
                source::Order::End => self.nodes[SOURCE].instance = None,
            }
        }
        self.nodes[SOURCE].source = Some(s);
    }

    fn target_hears(&mut self, event: target::Event) {
        let Some(mut t) = self.nodes[TARGET].target.take() else { return };
        let mut out = Vec::new();
        self.trace.push(format!("{} target {:?} hears {event:?}", self.now / MS, t.phase()));
        t.step(event, self.now, &mut out);
        for order in out {
            match order {
                target::Order::Tell(note) => self.to_source.push_back(note),
                target::Order::Propose(command) => {
                    if !self.nodes[TARGET].commands.contains(&command) {
                        self.nodes[TARGET].commands.push_back(command);
                    }
                }
                target::Order::End => self.nodes[TARGET].instance = None,
                target::Order::Start | target::Order::Take { .. } | target::Order::Serve => {}
            }
        }
        self.nodes[TARGET].target = Some(t);
    }

    fn deliver(&mut self) {
        if let Some((note, has)) = self.to_target.pop_front()
            && self.nodes[TARGET].alive
        {
            if note == Note::Prepare {
                let since = self.state.container(DC).unwrap().services[&SLOT].epoch;
                let mut out = Vec::new();
                self.nodes[TARGET].target = Some(Target::begin(NodeId(1), (DC, SLOT), since, &mut out));
                self.nodes[TARGET].instance = Some(0);
                let fails = self.faults && self.chance(5);
                let started = if fails { Err("no room".to_owned()) } else { Ok(()) };
                return self.target_hears(target::Event::Started(started));
            }
            let filling = matches!(
                self.nodes[TARGET].target.as_ref().map(Target::phase),
                Some(target::Phase::Filling(_))
            );
            if filling && matches!(note, Note::State { .. }) {
                self.nodes[TARGET].instance = Some(has);
            }
            self.target_hears(target::Event::Note(note));
        }
        if let Some(note) = self.to_source.pop_front() {
            self.source_hears(source::Event::Note(note));
        }
    }

    /// Whether the instance of a node takes requests.
    fn serves(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        node.alive
            && node.instance.is_some()
            && match n {
                SOURCE => node.source.as_ref().is_none_or(Source::serves),
                TARGET => node.target.as_ref().is_some_and(|t| t.phase() == target::Phase::Serves),
                _ => false,
            }
    }

    /// A client of the watcher writes, and is answered if the instance it is sent to serves.
    fn write(&mut self) {
        let Some((node, _)) = self.nodes[WATCHER].place else { return };
        let n = usize::from(node.0);
        if self.serves(n) {
            let has = self.nodes[n].instance.unwrap();
            assert!(self.lost || has == self.written, "node {n} has {has} of {} writes", self.written);
            self.written = has + 1;
            self.nodes[n].instance = Some(has + 1);
        }
    }

    fn step(&mut self) {
        self.now += 5 * MS;
        if self.faults {
            if self.chance(1) {
                self.cut();
            }
            if self.chance(1) {
                self.source_hears(source::Event::Cancel);
            }
            let n = self.below(2) as usize;
            if self.below(300) == 0 && self.nodes[n].alive {
                self.crash(n);
            }
        }
        for n in 0..3 {
            let dead = !self.nodes[n].alive;
            if dead && (!self.faults || self.chance(2)) {
                self.begin(n);
                self.trace.push(format!("{} node {n} begins", self.now / MS));
            } else if dead && self.chance(3) {
                let incarnation = self.nodes[n].incarnation;
                let lost = Command::Lost { node: NodeId(n as u16), incarnation };
                if !self.nodes[WATCHER].commands.contains(&lost) {
                    self.nodes[WATCHER].commands.push_back(lost);
                }
            }
            if self.nodes[n].alive {
                if self.chance(30) {
                    self.propose(n);
                }
                self.follow(n);
            }
        }
        self.log_turns();
        if !(self.faults && self.chance(30)) {
            self.deliver();
        }
        self.write();
        self.source_hears(source::Event::Tick);
        self.target_hears(target::Event::Tick);
        let serving = (0..3).filter(|n| self.serves(*n)).count();
        assert!(serving <= 1, "{serving} instances serve");
    }

    fn start(&mut self) {
        let plan = Plan {
            dc: DC,
            slot: SLOT,
            from: NodeId(0),
            to: NodeId(1),
            begin_by: self.now + 2_000 * MS,
            hold_max: HOLD,
            small: 300,
            rounds_max: 4,
        };
        let mut out = Vec::new();
        let source = Source::begin(plan, &mut out);
        assert_eq!(out, [source::Order::Tell(Note::Prepare)]);
        self.to_target.push_back((Note::Prepare, 0));
        self.nodes[SOURCE].source = Some(source);
    }

    fn ended(&self) -> Option<&Ending> {
        match self.nodes[SOURCE].source.as_ref()?.phase() {
            source::Phase::Ended(ending) => Some(ending),
            _ => None,
        }
    }
}

#[test]
fn without_faults_it_moves_and_callers_wait_shortly() {
    let mut w = World::new(1);
    w.faults = false;
    w.start();
    let mut held = 0;
    for _ in 0..400 {
        w.step();
        held += u64::from(w.nodes[SOURCE].source.as_ref().is_some_and(|s| !s.serves()) && !w.serves(TARGET));
    }
    assert_eq!(w.ended(), Some(&Ending::Moved), "{:#?}", w.trace);
    assert!(w.serves(TARGET) && w.nodes[SOURCE].instance.is_none());
    assert!(w.written > 300 && held * 5 * MS < HOLD, "{} written, held {held} steps", w.written);
}

#[test]
fn whoever_fails_whenever_one_instance_follows_and_no_write_is_lost() {
    let (mut moved, mut stayed, mut crashed) = (0, 0, 0);
    for seed in 0..1_000 {
        let mut w = World::new(seed);
        w.start();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..200).for_each(|_| w.step());
            w.faults = false;
            (0..400).for_each(|_| w.step());
        }));
        let at_end = w.state.container(DC).unwrap().services[&SLOT].place;
        let serving = (0..3).find(|n| w.serves(*n));
        let fine = match at_end {
            Place::At(n) => serving == Some(usize::from(n.0)),
            Place::Vacant => serving.is_none() && w.lost,
            Place::Moving { .. } => false,
        };
        let over = w.nodes[SOURCE].source.is_none() || w.ended().is_some();
        if done.is_err() || !fine || !over {
            println!("{}", w.trace.join("\n"));
            panic!("seed {seed}: {at_end:?}, {serving:?} serves, lost: {}, over: {over}", w.lost);
        }
        match w.ended() {
            Some(Ending::Moved) => moved += 1,
            Some(Ending::Stayed(_)) => stayed += 1,
            _ => crashed += 1,
        }
    }
    println!("{moved} moved, {stayed} stayed, {crashed} ended with their node");
    assert!(moved > 100 && stayed > 100 && crashed > 50, "{moved} {stayed} {crashed}");
}

#[test]
fn what_would_hinder_it_is_said_before() {
    let mut w = World::new(1);
    let to = NodeId(1);
    let load = Load { state: 3 << 20, version: 2 };
    let room = Room { memory: 64 << 20, versions: (1, 2) };
    let ask = |w: &World, to, load, room| hindrances(&w.state, (DC, SLOT), to, Some(load), Some(room));
    assert_eq!(ask(&w, to, load, room), Vec::<String>::new());
    w.at_once(0, Command::Drain { node: to, on: true });
    let found = ask(&w, to, Load { state: 65 << 20, version: 3 }, room);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("drained") && found[1].contains("65") && found[2].contains("1 to 2"));
    assert!(ask(&w, NodeId(0), load, room)[0].contains("already"));
    assert_eq!(ask(&w, NodeId(9), load, room).len(), 2);
    assert_eq!(hindrances(&w.state, (DC, 7), to, None, None).len(), 1);
}

/// The news that the move was undone overtook the answer that it had begun.
#[test]
fn a_move_that_was_undone_before_its_begin_was_heard_is_over() {
    let plan = Plan {
        dc: DC,
        slot: SLOT,
        from: NodeId(0),
        to: NodeId(1),
        begin_by: 100,
        hold_max: HOLD,
        small: 300,
        rounds_max: 1,
    };
    let mut out = Vec::new();
    let mut s = Source::begin(plan, &mut out);
    for event in [
        source::Event::Note(Note::Ready),
        source::Event::Changed(1),
        source::Event::Note(Note::Has { round: 1 }),
        source::Event::PlacedAt(NodeId(0), Epoch(12)),
        source::Event::Begun(Epoch(11)),
    ] {
        s.step(event, 1, &mut out);
    }
    assert!(matches!(s.phase(), source::Phase::Ended(Ending::Stayed(_))), "{s:?}");
    assert!(s.serves() && out.ends_with(&[source::Order::Tell(Note::Forget), source::Order::Serve]));
}
