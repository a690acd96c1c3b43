//! An actor: performs acts one after the other over its [`Calls`] and says what it saw.

use crate::act::Act;
use crate::calls::{Binding, Calls, DcSpec, Move};
use crate::seen::Seen;
use crate::word::{At, Payload, hex};
use dvs_abi::{CallSet, Code, Endpoint, Error, Level, Message, Privileges, Result, Timeout};
use std::collections::BTreeMap;

/// Memory of an actor: room for two ranges of 1 MiB at odd offsets.
pub const MEMORY_BYTES: usize = (4 << 20) + 8192;

/// One actor.
pub struct Actor<'c> {
    calls: Box<dyn Calls + 'c>,
    memory: Vec<u8>,
    /// The last request of each client, for `relay`.
    held: BTreeMap<Endpoint, Message>,
}

fn message(p: &Payload) -> Result<Message> {
    let mut m = Message::new(p.mtype);
    m.set_bytes(&p.bytes).map_err(|_| Error::early(Code::MSGSIZE))?;
    Ok(m)
}

/// Byte `i` of the pattern of `seed`: never periodic in a power of two, so that a shifted copy shows.
pub const fn pattern(seed: u64, i: u64) -> u8 {
    let x = (seed ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ x >> 29) as u8 ^ (i % 251) as u8
}

/// FNV-1a of bytes: enough to see a copy that went wrong, and twelve lines in any language.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ *b as u64).wrapping_mul(0x0100_0000_01b3))
}

/// The hash of the pattern of `seed`.
pub fn pattern_hash(seed: u64, len: u64) -> u64 {
    hash(&(0..len).map(|i| pattern(seed, i)).collect::<Vec<_>>())
}

impl<'c> Actor<'c> {
    /// An actor over `calls`.
    pub fn new(calls: Box<dyn Calls + 'c>) -> Self {
        Actor { calls, memory: vec![0; MEMORY_BYTES], held: BTreeMap::new() }
    }

    /// Performs one act; `None` after `Exit`.
    pub fn perform(&mut self, act: &Act) -> Option<Seen> {
        if let Act::Exit { code } = act {
            self.calls.exit(*code);
            return None;
        }
        Some(self.step(act).unwrap_or_else(Seen::failed))
    }

    fn step(&mut self, act: &Act) -> Result<Seen> {
        match act {
            Act::Send { dst, m, t } => {
                let mut m = message(m)?;
                self.calls.send(*dst, &mut m, *t)?;
                Ok(Seen::done().with("src", m.source()))
            }
            Act::Receive { src, t } => self.incoming(|calls, m| calls.receive(*src, m, *t)),
            Act::Rcvrqst { t } => self.incoming(|calls, m| calls.rcvrqst(m, *t)),
            Act::Sendrec { dst, m, lends, t } => {
                let mut m = message(m)?;
                self.calls.sendrec(*dst, &mut m, &mut self.memory, lends, *t)?;
                Ok(Seen::message(&m))
            }
            Act::Reply { dst, m, t } => {
                let mut m = message(m)?;
                self.held.remove(dst);
                Ok(Seen::from_result(self.calls.reply(*dst, &mut m, *t)))
            }
            Act::Relay { client, dst } => {
                let mut m = self.held.remove(client).ok_or(Error::early(Code::NOMSG))?;
                Ok(Seen::from_result(self.calls.relay(*client, *dst, &mut m)))
            }
            Act::Notify { src, dst, value } => Ok(Seen::from_result(self.calls.notify(*src, *dst, *value))),
            Act::HardwareNotify { dc, dst } => Ok(Seen::from_result(self.calls.hardware_notify(*dc, *dst))),
            Act::Serve { count, send } => self.serve(*count, *send),
            Act::Call { dst, count, t } => self.call(*dst, *count, *t),
            Act::Post { dst, count, t } => self.post(*dst, *count, *t),
            Act::Drain { count, t } => self.drain(*count, *t),
            Act::Ring { next, count, start } => self.ring(*next, *count, *start),
            Act::Fill { .. }
            | Act::Hash { .. }
            | Act::CopyIn { .. }
            | Act::CopyOut { .. }
            | Act::Vcopy { .. }
            | Act::Grants { .. } => self.copy(act),
            _ => self.manage(act),
        }
    }

    fn incoming(
        &mut self,
        call: impl FnOnce(&mut (dyn Calls + 'c), &mut Message) -> Result<()>,
    ) -> Result<Seen> {
        let mut m = Message::default();
        call(&mut *self.calls, &mut m)?;
        if m.kind() == Some(dvs_abi::Kind::Request) {
            self.held.insert(m.source(), m);
        }
        Ok(Seen::message(&m))
    }

    fn serve(&mut self, count: u64, send: bool) -> Result<Seen> {
        let mut clients = BTreeMap::<i32, u64>::new();
        for _ in 0..count {
            let mut m = Message::default();
            if send {
                self.calls.receive(Endpoint::ANY, &mut m, Timeout::Forever)?;
            } else {
                self.calls.rcvrqst(&mut m, Timeout::Forever)?;
            }
            let client = m.source();
            *clients.entry(client.raw()).or_default() += 1;
            let mut answer = Message::new(m.mtype());
            answer.set_word(0, m.word(0).wrapping_add(1));
            if send {
                self.calls.send(client, &mut answer, Timeout::Forever)?;
            } else {
                self.calls.reply(client, &mut answer, Timeout::Forever)?;
            }
        }
        Ok(Seen::done().with("n", count).with("clients", clients.len() as u32))
    }

    fn call(&mut self, dst: Endpoint, count: u64, t: Timeout) -> Result<Seen> {
        for i in 0..count {
            let mut m = Message::new(7);
            m.set_word(0, i);
            self.calls.sendrec(dst, &mut m, &mut [], &[], t)?;
            if (m.source(), m.word(0)) != (dst, i + 1) {
                return Err(Error::new(Code::IO, dvs_abi::Effect::Yes).at(m.source()));
            }
        }
        Ok(Seen::done().with("n", count))
    }

    fn post(&mut self, dst: Endpoint, count: u64, t: Timeout) -> Result<Seen> {
        for i in 0..count {
            let mut m = Message::new(3);
            m.set_word(0, i);
            self.calls.send(dst, &mut m, t)?;
        }
        Ok(Seen::done().with("n", count))
    }

    /// The order in which sources were served comes back as well (at most 4096 of them).
    fn drain(&mut self, count: u64, t: Timeout) -> Result<Seen> {
        let mut next = BTreeMap::<i32, u64>::new();
        let mut order = Vec::new();
        for _ in 0..count {
            let mut m = Message::default();
            self.calls.receive(Endpoint::ANY, &mut m, t)?;
            let expected = next.entry(m.source().raw()).or_default();
            if m.word(0) != *expected {
                return Err(Error::new(Code::IO, dvs_abi::Effect::Yes).at(m.source()));
            }
            *expected += 1;
            if order.len() < 4096 {
                order.push(m.source());
            }
        }
        Ok(Seen::done().with("n", count).with("order", order))
    }

    fn ring(&mut self, next: Endpoint, count: u64, start: bool) -> Result<Seen> {
        let mut m = Message::new(9);
        if start {
            m.set_word(0, 1);
            self.calls.send(next, &mut m, Timeout::Forever)?;
        }
        for i in 0..count {
            self.calls.receive(Endpoint::ANY, &mut m, Timeout::Forever)?;
            let hops = m.word(0);
            if start && i + 1 == count {
                return Ok(Seen::done().with("hops", hops));
            }
            let mut token = Message::new(9);
            token.set_word(0, hops + 1);
            self.calls.send(next, &mut token, Timeout::Forever)?;
        }
        Ok(Seen::done().with("hops", m.word(0)))
    }

    fn slice(&mut self, at: u64, len: u64) -> Result<&mut [u8]> {
        let end = at.checked_add(len).filter(|e| *e <= MEMORY_BYTES as u64).ok_or(Code::INVAL)?;
        Ok(&mut self.memory[at as usize..end as usize])
    }

    /// The address a script means, of `party`'s memory.
    fn address(&mut self, party: Endpoint, at: At) -> Result<u64> {
        Ok(match at {
            At::Address(a) => a,
            At::Own(offset) => self.memory.as_ptr() as u64 + offset,
            At::Grant(n, offset) => {
                let grants = self.calls.grants_of(party);
                let grant = grants.get(n as usize).ok_or(Error::early(Code::FAULT).at(party))?;
                grant.address.wrapping_add(offset)
            }
        })
    }

    fn copy(&mut self, act: &Act) -> Result<Seen> {
        match act {
            Act::Fill { at, len, seed } => {
                let memory = self.slice(*at, *len)?;
                memory.iter_mut().enumerate().for_each(|(i, b)| *b = pattern(*seed, i as u64));
                Ok(Seen::done())
            }
            Act::Hash { at, len } => {
                let h = hash(self.slice(*at, *len)?);
                Ok(Seen::done().with("hash", h))
            }
            Act::CopyIn { src, from, to, len } => {
                let address = self.address(*src, *from)?;
                let (to, end) = (*to as usize, (to + len) as usize);
                let into = self.memory.get_mut(to..end).ok_or(Code::INVAL)?;
                Ok(Seen::from_result(self.calls.copy_in(*src, address, into)))
            }
            Act::CopyOut { dst, to, from, len } => {
                let address = self.address(*dst, *to)?;
                let (from, end) = (*from as usize, (from + len) as usize);
                let bytes = self.memory.get(from..end).ok_or(Code::INVAL)?;
                Ok(Seen::from_result(self.calls.copy_out(*dst, address, bytes)))
            }
            // Own memory is named by a slice, not by an address (DEVIATIONS.md, 99).
            Act::Vcopy { src, from, dst: Endpoint::SELF, to: At::Own(to), len } => {
                self.copy(&Act::CopyIn { src: *src, from: *from, to: *to, len: *len })
            }
            Act::Vcopy { src: Endpoint::SELF, from: At::Own(from), dst, to, len } => {
                self.copy(&Act::CopyOut { dst: *dst, to: *to, from: *from, len: *len })
            }
            Act::Vcopy { src, from, dst, to, len } => {
                let (from, to) = (self.address(*src, *from)?, self.address(*dst, *to)?);
                Ok(Seen::from_result(self.calls.vcopy(*src, from, *dst, to, *len)))
            }
            Act::Grants { client } => {
                let grants = self.calls.grants_of(*client);
                let lengths: Vec<u64> = grants.iter().map(|g| g.length).collect();
                let access: Vec<u32> = grants.iter().map(|g| g.access as u32).collect();
                Ok(Seen::done().with("lengths", lengths).with("access", access))
            }
            _ => Err(Code::NOSYS.into()),
        }
    }

    fn manage(&mut self, act: &Act) -> Result<Seen> {
        let calls = &mut self.calls;
        let done = |r: Result<()>| Ok(Seen::from_result(r));
        match act {
            Act::Bind { kind, dc, endpoint, pid, node, name } => {
                let how = Binding {
                    kind: *kind,
                    dc: *dc,
                    endpoint: *endpoint,
                    pid: *pid,
                    node: *node,
                    name: name.clone(),
                };
                Ok(Seen::done().with("endpoint", calls.bind(&how)?))
            }
            Act::Unbind { dc, endpoint, t } => done(calls.unbind(*dc, *endpoint, *t)),
            Act::Wait4bind { endpoint, t } => {
                Ok(Seen::done().with("endpoint", calls.wait4bind(*endpoint, *t)?))
            }
            Act::Wait4unbind { endpoint, t } => done(calls.wait4unbind(*endpoint, *t)),
            Act::Getep { pid } => Ok(Seen::done().with("endpoint", calls.getep(*pid)?)),
            Act::Wakeup { dc, endpoint } => done(calls.wakeup(*dc, *endpoint)),
            Act::GetPriv { dc, endpoint } => {
                let p = calls.get_priv(*dc, *endpoint)?;
                Ok(Seen::done()
                    .with("id", p.id)
                    .with("warn", p.warn)
                    .with("level", p.level as i32)
                    .with("ipc_to", p.ipc_to)
                    .with("calls", p.calls.0))
            }
            Act::SetPriv { dc, endpoint, warn, level, ipc_to, calls: set } => {
                let privileges = Privileges {
                    id: 0,
                    warn: *warn,
                    level: Level::User,
                    ipc_to: *ipc_to,
                    calls: CallSet(*set),
                };
                done(calls.set_priv(*dc, *endpoint, *level, privileges))
            }
            Act::DcInit { dc, name, procs, sysprocs, warn, warn_type, nodes } => {
                let spec = DcSpec {
                    dc: *dc,
                    name: name.clone(),
                    procs: *procs,
                    sysprocs: *sysprocs,
                    warn: *warn,
                    warn_type: *warn_type,
                    nodes: nodes.clone(),
                };
                done(calls.dc_init(&spec))
            }
            Act::DcEnd { dc } => done(calls.dc_end(*dc)),
            Act::AddNode { dc, node } => done(calls.add_node(*dc, *node)),
            Act::DelNode { dc, node } => done(calls.del_node(*dc, *node)),
            Act::MigrateStart { dc, endpoint } => done(calls.migrate(*dc, *endpoint, Move::Start)),
            Act::MigrateRollback { dc, endpoint } => done(calls.migrate(*dc, *endpoint, Move::Rollback)),
            Act::MigrateCommit { dc, endpoint, node, pid } => {
                done(calls.migrate(*dc, *endpoint, Move::Commit { node: *node, pid: *pid }))
            }
            _ => self.info(act),
        }
    }

    fn info(&mut self, act: &Act) -> Result<Seen> {
        let calls = &mut self.calls;
        match act {
            Act::Whoami {} => Ok(Seen::done().with("pid", calls.pid()).with("endpoint", calls.endpoint())),
            Act::ProcInfo { dc, slot } => {
                let i = calls.proc_info(*dc, *slot)?;
                Ok(Seen::done()
                    .with("slot", i.slot)
                    .with("endpoint", i.endpoint)
                    .with("rts", i.rts_flags)
                    .with("misc", i.misc_flags)
                    .with("pid", i.pid)
                    .with("node", i.node)
                    .with("getfrom", i.getfrom)
                    .with("sendto", i.sendto)
                    .with("lclsent", i.sent_local)
                    .with("rmtsent", i.sent_remote)
                    .with("lclcopy", i.copies_local)
                    .with("rmtcopy", i.copies_remote)
                    .with("name", i.name))
            }
            Act::DcInfo { dc } => {
                let i = calls.dc_info(*dc)?;
                Ok(Seen::done()
                    .with("dc", i.dc)
                    .with("flags", i.flags)
                    .with("procs", i.procs)
                    .with("tasks", i.tasks)
                    .with("sysprocs", i.sysprocs)
                    .with("nodes", i.nodes)
                    .with("warn", i.warn)
                    .with("name", i.name))
            }
            Act::DvsInfo {} => {
                let i = calls.dvs_info()?;
                Ok(Seen::done()
                    .with("node", i.node)
                    .with("nodes", i.nodes)
                    .with("dcs", i.dcs)
                    .with("procs", i.procs)
                    .with("tasks", i.tasks)
                    .with("sysprocs", i.sysprocs)
                    .with("copy", i.copy_bytes))
            }
            Act::NodeInfo { node } => {
                let i = calls.node_info(*node)?;
                Ok(Seen::done()
                    .with("node", i.node)
                    .with("flags", i.flags)
                    .with("dcs", i.dcs)
                    .with("name", i.name)
                    .with("sent", i.sent)
                    .with("received", i.received))
            }
            _ => Err(Code::NOSYS.into()),
        }
    }
}

/// One line of the protocol: performs it and gives the answer's line; `None` after `exit`.
pub fn perform_line(actor: &mut Actor<'_>, line: &str) -> Option<String> {
    match line.parse::<Act>() {
        Ok(act) => actor.perform(&act).map(|seen| seen.to_string()),
        Err(why) => {
            // A line that is no act is the suite's own mistake; say it in a form the script will print.
            Some(Seen::failed(Code::INVAL.into()).to_string() + &format!(" why={}", hex(why.as_bytes())))
        }
    }
}
