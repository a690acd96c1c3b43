//! A program that stands by for a service, and takes it over: carries out what [`Target`] orders.

use crate::Note;
use crate::host::{Host, News, lock};
use crate::letter::{Letter, Receipt};
use crate::server::HandOver;
use crate::target::{Event, Order, Target};
use dvs_abi::{Code, Endpoint, Error, Message, Result, Timeout};
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use dvs_ipc::Port;
use dvs_ipc::mover::{MoverAnswer, MoverAsk};
use dvs_ipc::wait::ThreadWait;
use std::sync::Mutex;
use std::time::Duration;

/// How long the source may be silent between two letters: it may have to wait for a majority.
const SILENT: Duration = Duration::from_secs(30);
/// How long the source's endpoint has to become known on this node.
const KNOWN: Duration = Duration::from_secs(2);

/// Stands by until the service comes; its port.
pub(crate) fn stand_by<S: HandOver>(host: &Host<'_>, server: &Mutex<S>) -> Result<Port> {
    let port = own_port(host)?;
    host.tell(News::StandsBy(port.endpoint()));
    let mover = port.mover(host.service.slot());
    loop {
        let versions = lock(server).takes();
        let versions = (*versions.start(), *versions.end());
        match mover.ask(MoverAsk::Stand { mover: port.endpoint().raw(), versions }) {
            Ok(MoverAnswer::Take { peer, .. }) => {
                let come = Come { host, server, port: &port, peer: Endpoint::from_raw(peer), version: 0 };
                match come.run() {
                    Ok(service) => return Ok(service),
                    Err(e) if e.code == Code::DVSINIT || e.code == Code::SHUTDOWN => return Err(e),
                    Err(_) => lock(server).reset(),
                }
            }
            Ok(_) => return Err(Error::early(Code::BADREQUEST)),
            Err(e) if e.code == Code::TIMEDOUT => {}
            Err(e) => return Err(e),
        }
    }
}

/// An endpoint that can answer the source: one of the servers' slots that is free, from the last down, each
/// service and node from another one so that they do not meet.
fn own_port(host: &Host<'_>) -> Result<Port> {
    let info = host.process.system().dc_info(host.dc)?;
    let servers = (info.sysprocs - info.tasks).max(1);
    let first = (host.service.slot() + 7 * i32::from(host.process.node().0)).rem_euclid(servers);
    let mut last = Error::early(Code::NOSPC);
    for n in 0..servers {
        let slot = servers - 1 - (first + n) % servers;
        match host.process.bind(host.dc, Endpoint::new(0, slot)) {
            Ok(port) => return Ok(port),
            Err(e) if matches!(e.code, Code::SLOTUSED | Code::BUSY) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// One move to here.
struct Come<'a, S> {
    host: &'a Host<'a>,
    server: &'a Mutex<S>,
    port: &'a Port,
    peer: Endpoint,
    /// Of the state that comes.
    version: u32,
}

impl<S: HandOver> Come<'_, S> {
    /// Takes it over; the port of the service when it is here.
    fn run(mut self) -> Result<Port> {
        let (name, me) = ((self.host.dc, self.host.service.slot()), self.host.process.node());
        let mut orders = Vec::new();
        let mut target = Target::begin(me, name, Epoch::default(), &mut orders);
        lock(self.server).reset();
        let now = self.port.now();
        // What it says then, that it is ready, is the answer to the first letter.
        target.step(Event::Started(Ok(())), now, &mut orders);
        let mut m = Message::default();
        loop {
            let letter = self.next(&mut m)?;
            let event = match letter {
                Some(Letter::Prepare { version }) => {
                    self.version = version;
                    let takes = lock(self.server).takes();
                    let receipt = match takes.contains(&version) {
                        true => Receipt::Ready,
                        false => Receipt::Refused(format!(
                            "it takes over states of version {} to {}, not {version}",
                            takes.start(),
                            takes.end()
                        )),
                    };
                    self.answer(&receipt);
                    continue;
                }
                Some(Letter::Part { round, length, ends, last }) => match self.take(length) {
                    Err(why) => {
                        self.answer(&Receipt::Refused(why));
                        return Err(Error::early(Code::BADVALUE));
                    }
                    Ok(()) if !ends => {
                        self.answer(&Receipt::Has { round });
                        continue;
                    }
                    Ok(()) => Note::State { round, bytes: length as u64, last: last.map(Epoch) },
                },
                Some(Letter::Forget) => {
                    self.answer(&Receipt::Has { round: 0 });
                    Note::Forget
                }
                None => continue,
            };
            orders.clear();
            target.step(Event::Note(event), self.port.now(), &mut orders);
            if let Some(port) = self.carry_out(&mut target, &mut orders)? {
                return Ok(port);
            }
        }
    }

    /// What is to be done after a letter; the service's port, if it has arrived.
    fn carry_out(&self, target: &mut Target, orders: &mut Vec<Order>) -> Result<Option<Port>> {
        for order in std::mem::take(orders) {
            match order {
                Order::Tell(Note::Has { round }) => self.answer(&Receipt::Has { round }),
                Order::Tell(Note::Refused(why)) => self.answer(&Receipt::Refused(why)),
                Order::Propose(Command::Arrive { number, .. }) => {
                    let home = ThreadWait::new(self.host.process.shared().host());
                    let port = self.port.mover(self.host.service.slot()).arrive(home, number.0);
                    let event = match &port {
                        Ok(_) => Event::PlacedAt(self.host.process.node(), Epoch(number.0 + 1)),
                        Err(_) => Event::NotOffered,
                    };
                    target.step(event, self.port.now(), &mut Vec::new());
                    return port.map(Some);
                }
                Order::End => return Err(Error::early(Code::STALE)),
                // The state was taken as it came.
                Order::Take { .. } | Order::Start | Order::Serve | Order::Tell(_) | Order::Propose(_) => {}
            }
        }
        Ok(None)
    }

    /// The next letter of the source.
    fn next(&self, m: &mut Message) -> Result<Option<Letter>> {
        let until = self.port.now().saturating_add(KNOWN.as_nanos() as u64);
        loop {
            match self.port.receive(self.peer, m, Timeout::After(SILENT)) {
                Ok(()) => return Ok(Letter::decode(m)),
                Err(e) if matches!(e.code, Code::WOKENUP | Code::INTR) => {}
                // It was bound a moment before this node was told of the move.
                Err(e) if e.code == Code::SRCDIED && self.version == 0 && self.port.now() < until => {
                    // tidy: nobody tells when a name of another node becomes known
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn answer(&self, receipt: &Receipt) {
        // A source that is gone is found so at the next letter.
        let _ = self.port.reply(self.peer, &mut receipt.encode(), Timeout::Forever);
    }

    fn take(&self, length: usize) -> Result<(), String> {
        let mut part = vec![0; length];
        if length > 0 {
            let grant = self.port.grants_of(self.peer).first().copied();
            let grant = grant.filter(|g| g.length >= length as u64).ok_or("nothing was lent")?;
            self.port.copy_in(self.peer, grant.address, &mut part).map_err(|e| format!("a copy: {e}"))?;
        }
        lock(self.server).take(self.version, &part)
    }
}
