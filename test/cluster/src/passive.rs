//! A passive service as helper processes: one counts, the other keeps in step, and a table of duplicates has
//! every call done once.
//!
//! ```text
//!   callers ──► instance that serves ── change, named by its call ──► seat of the other ── kept there
//!                     ▲                                                     │
//!                     └───────────────── kept ◄─────────────────────────────┘  then kept here, and answered
//! ```
//! A change is kept once by its call's name, whoever brings it: so it does no harm when, for a moment, one
//! brings what the other, who serves by now, has done itself.

use crate::node::Node;
use crate::roles::{attach, bind, say, told_to_end};
use crate::{DC, WATCHDOG};
use dvs::{Endpoint, Message, Port, Rule, ServiceKind, ServicePlan, Timeout};
use dvs_control::service::Kind;
use dvs_linux::clock;
use dvsd::admin::{AdminAnswer, AdminRequest};
use dvsd::client::AdminClient;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The service.
pub const SERVICE: Endpoint = Endpoint::new(0, 24);
/// "Keep this change".
const KEEP: i32 = 42;

/// Where the instance of a node takes changes.
fn seat(node: u16) -> Endpoint {
    Endpoint::new(0, SERVICE.slot() + 1 + i32::from(node))
}

/// A call: its caller, the binding of that, its number.
type Name = (i32, u64, u64);

/// How often each caller was counted, and what each call was answered.
#[derive(Debug, Default)]
struct Ledger {
    counts: BTreeMap<i32, u64>,
    done: BTreeMap<Name, u64>,
}

impl Ledger {
    fn keep(&mut self, name: Name) -> u64 {
        if let Some(answer) = self.done.get(&name) {
            return *answer;
        }
        let count = self.counts.entry(name.0).or_default();
        *count += 1;
        self.done.insert(name, *count);
        *count
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `ledger SOCKET OTHER`: declares the service if nobody has, and is its instance at this node; the other one
/// is at node `OTHER`.
///
/// # Panics
/// When it cannot.
pub fn serve(socket: &Path, other: u16) {
    told_to_end(true);
    let process = attach(socket, "ledger");
    let (name, kind) = ("ledger".into(), ServiceKind::Passive);
    let plan = ServicePlan { name, kind, rule: Rule::Stop, nodes: Vec::new() };
    process.system().declare(DC, SERVICE.slot(), &plan).expect("a service can be declared");
    let ledger = Arc::<Mutex<Ledger>>::default();
    let (follows, me) = (ledger.clone(), process.node().0);
    let own = bind(&process, seat(me));
    std::thread::spawn(move || follow(&own, &follows));
    let teller = bind(&process, Endpoint::NONE);
    let port = bind(&process, SERVICE);
    say("ready");
    let mut m = Message::default();
    while port.receive(Endpoint::ANY, &mut m, Timeout::Forever).is_ok() {
        let of = if m.mtype() == crate::moves::LOOK { m.word(0) as i32 } else { m.source().raw() };
        let mut count = lock(&ledger).counts.get(&of).copied().unwrap_or(0);
        if m.mtype() == crate::moves::COUNT {
            let name = (of, m.binding(), m.call());
            if !tell(&teller, seat(other), name) {
                // It is not in step, so this is not answered: it is sent again to whoever serves.
                continue;
            }
            count = lock(&ledger).keep(name);
        }
        let caller = m.source();
        m = Message::new(m.mtype());
        m.set_word(0, count);
        m.set_word(2, u64::from(me));
        // The caller may have been sent elsewhere.
        let _ = port.reply(caller, &mut m, Timeout::Forever);
    }
}

fn tell(teller: &Port, to: Endpoint, name: Name) -> bool {
    let mut m = Message::new(KEEP);
    m.set_word(0, name.0 as u32 as u64);
    m.set_word(1, name.1);
    m.set_word(2, name.2);
    teller.sendrec(to, &mut m, WATCHDOG).is_ok()
}

/// Keeps what the other one brings.
fn follow(own: &Port, ledger: &Mutex<Ledger>) {
    let mut m = Message::default();
    while own.receive(Endpoint::ANY, &mut m, Timeout::Forever).is_ok() {
        lock(ledger).keep((m.word(0) as i32, m.word(1), m.word(2)));
        let _ = own.reply(m.source(), &mut m, Timeout::Forever);
    }
}

/// Has callers of a passive service go to its instance on a node; why not, if not.
///
/// # Errors
/// What the daemon says.
pub fn switch(asked: &Node, slot: i32, to: usize) -> Result<(), String> {
    let order = AdminRequest::Switch { dc: DC.0, slot, to: to as u16, check: false };
    let asked = AdminClient::connect(&asked.admin_socket()).and_then(|mut a| a.all(&order));
    let refused = |part| match part {
        AdminAnswer::Refused { why, .. } => Some(why),
        _ => None,
    };
    asked.map_err(|e| e.to_string())?.into_iter().find_map(refused).map_or(Ok(()), Err)
}

/// Waits until a node knows that these nodes have an instance of a passive service in step.
///
/// # Panics
/// When they have not in the watchdog's time.
pub fn wait_in_step(node: &Node, slot: i32, nodes: &[u16]) {
    let end = clock::now() + crate::WATCHDOG_NS;
    let there = |r: &dvsd::admin::ServiceRow| r.spec.kind == Kind::Passive && r.instances == nodes;
    while !crate::moves::row_of(node, slot).is_some_and(|r| there(&r)) {
        assert!(clock::now() < end, "{nodes:?} are not in step");
        std::thread::yield_now();
    }
}
