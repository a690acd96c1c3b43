//! The calls over the library under test, for any home its endpoints can wait in.

use crate::calls::{Binding, Calls, DcSpec, Move};
use crate::word::Range;
use dvs_abi::{
    Access, Code, DcId, Endpoint, Error, Grant, Level, Message, NodeId, Privileges, Result, Timeout,
};
use dvs_ipc::control::{BindKind, DcInfo, DvsInfo, NodeInfo, ProcInfo, WirePrivileges};
use dvs_ipc::wait::Wait;
use dvs_ipc::{DcPlan, Lend, Port, Process, System};
use std::sync::{Arc, Mutex};

/// Which endpoint an actor holds at present, for whoever cancels its calls.
pub type Held = Arc<Mutex<Option<(DcId, Endpoint)>>>;

/// An actor's calls: at most one port, and a way to make further homes.
pub struct Ported<W: Wait, F: Fn() -> W> {
    process: Process,
    make: F,
    home: W,
    port: Option<Port<W>>,
    held: Held,
}

impl<W: Wait, F: Fn() -> W> Ported<W, F> {
    /// Calls of `process` that wait in homes `make` gives.
    pub fn new(process: Process, make: F, held: Held) -> Self {
        Ported { process, home: make(), make, port: None, held }
    }

    fn port(&self) -> Result<&Port<W>> {
        self.port.as_ref().ok_or(Error::early(Code::NOTBIND))
    }

    fn system(&self) -> System<'_, &W> {
        match &self.port {
            Some(port) => port.system(),
            None => self.process.system_in(&self.home),
        }
    }

    fn dc(&self) -> DcId {
        self.port.as_ref().map_or(DcId(crate::world::DC), Port::dc)
    }

    fn hold(&mut self, port: Option<Port<W>>) -> Endpoint {
        let now = port.as_ref().map(|p| (p.dc(), p.endpoint()));
        *self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
        self.port = port;
        now.map_or(Endpoint::NONE, |(_, e)| e)
    }
}

/// Cuts the ranges out of the memory as slices that can be lent.
fn lends<'m>(memory: &'m mut [u8], ranges: &[Range]) -> Result<Vec<Lend<'m>>> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|i| ranges[*i].offset);
    let mut cut: Vec<Option<Lend<'m>>> = ranges.iter().map(|_| None).collect();
    let (mut rest, mut at) = (memory, 0u64);
    for i in order {
        let r = ranges[i];
        let skip = r.offset.checked_sub(at).ok_or(Code::INVAL)? as usize;
        if skip > rest.len() || r.length as usize > rest.len() - skip {
            return Err(Code::INVAL.into());
        }
        let (_, tail) = rest.split_at_mut(skip);
        let (mine, tail) = tail.split_at_mut(r.length as usize);
        cut[i] = Some(match r.access {
            Access::Read => Lend::Read(mine),
            Access::Write | Access::ReadWrite => Lend::Write(mine),
        });
        (rest, at) = (tail, r.offset + r.length);
    }
    Ok(cut.into_iter().flatten().collect())
}

impl<W: Wait, F: Fn() -> W> Calls for Ported<W, F> {
    fn bind(&mut self, how: &Binding) -> Result<Endpoint> {
        let (dc, ep) = (DcId(how.dc), how.endpoint);
        let node = NodeId(how.node);
        match how.kind {
            BindKind::Remote => return self.system().bind_remote(dc, &how.name, ep, node),
            BindKind::Backup => return self.system().bind_standby(dc, how.pid, ep, node),
            kind if how.pid != 0 => return self.system().bind_process(kind, dc, how.pid, ep),
            _ if self.port.is_some() => return Err(Error::early(Code::SLOTUSED)),
            _ => {}
        }
        let port = match how.kind {
            BindKind::Own => self.process.bind_in((self.make)(), dc, ep)?,
            kind => self.process.bind_as((self.make)(), kind, dc, ep, node)?,
        };
        Ok(self.hold(Some(port)))
    }

    fn unbind(&mut self, dc: u16, endpoint: Endpoint, t: Timeout) -> Result<()> {
        let own = self.endpoint();
        if endpoint != Endpoint::SELF && (endpoint != own || own == Endpoint::NONE) {
            return self.system().unbind(DcId(dc), endpoint, t);
        }
        self.port()?;
        self.hold(None);
        Ok(())
    }

    fn endpoint(&self) -> Endpoint {
        self.port.as_ref().map_or(Endpoint::NONE, Port::endpoint)
    }

    fn send(&mut self, dst: Endpoint, m: &mut Message, t: Timeout) -> Result<()> {
        self.port()?.send(dst, m, t)
    }

    fn receive(&mut self, src: Endpoint, m: &mut Message, t: Timeout) -> Result<()> {
        self.port()?.receive(src, m, t)
    }

    fn sendrec(
        &mut self,
        dst: Endpoint,
        m: &mut Message,
        memory: &mut [u8],
        ranges: &[Range],
        t: Timeout,
    ) -> Result<()> {
        if ranges.is_empty() {
            return self.port()?.sendrec(dst, m, t);
        }
        self.port()?.sendrec_with(dst, m, &mut lends(memory, ranges)?, t)
    }

    fn rcvrqst(&mut self, m: &mut Message, t: Timeout) -> Result<()> {
        self.port()?.rcvrqst(m, t)
    }

    fn reply(&mut self, dst: Endpoint, m: &mut Message, t: Timeout) -> Result<()> {
        self.port()?.reply(dst, m, t)
    }

    fn relay(&mut self, client: Endpoint, dst: Endpoint, m: &mut Message) -> Result<()> {
        self.port()?.relay(client, dst, m)
    }

    fn notify(&mut self, src: Endpoint, dst: Endpoint, value: Option<u32>) -> Result<()> {
        match (src, value) {
            (Endpoint::SELF, None) => self.port()?.notify(dst),
            (src, None) => self.port()?.notify_from(src, dst),
            (src, Some(value)) => {
                let bit = 1u64.checked_shl(value).ok_or(Error::early(Code::RANGE))?;
                self.port()?.notify_value(src, dst, bit)
            }
        }
    }

    fn hardware_notify(&mut self, dc: u16, dst: Endpoint) -> Result<()> {
        self.system().notify_hardware(DcId(dc), dst)
    }

    fn grants_of(&mut self, client: Endpoint) -> Vec<Grant> {
        self.port.as_ref().map_or_else(Vec::new, |p| p.grants_of(client))
    }

    fn copy_in(&mut self, src: Endpoint, address: u64, into: &mut [u8]) -> Result<()> {
        self.port()?.copy_in(src, address, into)
    }

    fn copy_out(&mut self, dst: Endpoint, address: u64, from: &[u8]) -> Result<()> {
        self.port()?.copy_out(dst, address, from)
    }

    fn vcopy(&mut self, src: Endpoint, from: u64, dst: Endpoint, to: u64, bytes: u64) -> Result<()> {
        self.port()?.vcopy((src, from), (dst, to), bytes)
    }

    fn wait4bind(&mut self, endpoint: Endpoint, t: Timeout) -> Result<Endpoint> {
        match endpoint {
            Endpoint::SELF if self.port.is_some() => Ok(self.endpoint()),
            Endpoint::SELF => {
                let port = self.process.wait_bound((self.make)(), t)?;
                Ok(self.hold(Some(port)))
            }
            e => self.system().wait_bind(self.dc(), e, t),
        }
    }

    fn wait4unbind(&mut self, endpoint: Endpoint, t: Timeout) -> Result<()> {
        self.system().wait_unbind(self.dc(), endpoint, t)
    }

    fn getep(&mut self, pid: u32) -> Result<Endpoint> {
        self.system().get_ep(self.dc(), pid)
    }

    fn wakeup(&mut self, dc: u16, endpoint: Endpoint) -> Result<()> {
        self.system().wakeup(DcId(dc), endpoint)
    }

    fn proc_info(&mut self, dc: u16, slot: i32) -> Result<ProcInfo> {
        self.system().proc_info(DcId(dc), slot)
    }

    fn dc_info(&mut self, dc: u16) -> Result<DcInfo> {
        self.system().dc_info(DcId(dc))
    }

    fn dvs_info(&mut self) -> Result<DvsInfo> {
        self.system().dvs_info()
    }

    fn node_info(&mut self, node: i32) -> Result<NodeInfo> {
        self.system().node_info(u16::try_from(node).ok().map(NodeId))
    }

    fn get_priv(&mut self, dc: u16, endpoint: Endpoint) -> Result<Privileges> {
        self.system().privileges(DcId(dc), endpoint)
    }

    fn set_priv(&mut self, dc: u16, endpoint: Endpoint, level: i32, p: Privileges) -> Result<()> {
        match Level::from_i32(level) {
            Some(level) => self.system().set_privileges(DcId(dc), endpoint, Privileges { level, ..p }),
            None => {
                let wrong = WirePrivileges { level, ..p.into() };
                self.system().set_privileges_raw(DcId(dc), endpoint, wrong)
            }
        }
    }

    fn dc_init(&mut self, spec: &DcSpec) -> Result<()> {
        self.system().dc_init(&DcPlan {
            dc: DcId(spec.dc),
            name: spec.name.clone(),
            procs: spec.procs,
            sysprocs: spec.sysprocs,
            warn: spec.warn,
            warn_type: spec.warn_type,
            nodes: spec.nodes.iter().map(|n| NodeId(*n)).collect(),
        })
    }

    fn dc_end(&mut self, dc: u16) -> Result<()> {
        self.system().dc_end(DcId(dc))
    }

    fn add_node(&mut self, dc: u16, node: u16) -> Result<()> {
        self.system().add_node(DcId(dc), NodeId(node))
    }

    fn del_node(&mut self, dc: u16, node: u16) -> Result<()> {
        self.system().del_node(DcId(dc), NodeId(node))
    }

    fn migrate(&mut self, dc: u16, endpoint: Endpoint, step: Move) -> Result<()> {
        let dc = DcId(dc);
        match step {
            Move::Start => self.system().migrate_start(dc, endpoint),
            Move::Rollback => self.system().migrate_rollback(dc, endpoint),
            Move::Commit { node, pid } => {
                self.system().migrate_commit(dc, endpoint, NodeId(node), pid)?;
                if pid == 0 && self.port.is_none() && node == self.process.node().0 {
                    let port = self.process.wait_bound((self.make)(), Timeout::Forever)?;
                    self.hold(Some(port));
                }
                Ok(())
            }
        }
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn exit(&mut self, code: i32) {
        self.process.exit_code(code);
        self.hold(None);
    }
}
