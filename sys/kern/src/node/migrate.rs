//! Moving an endpoint: hold traffic, then let it go on at the old place or at a new one (facts §5).
//!
//! ```text
//!            start                 rollback
//!  settled ─────────► moving ─────────────────► settled, same place
//!                        │ commit(node)
//!                        ├── old node:  the session hears Moved, the entry becomes remote
//!                        ├── new node:  the standby is promoted, or the caller's process takes the slot
//!                        └── any other: the entry points to the new node
//! ```
//!
//! Each step is told to every node, so it is enough to ask one; repeating it on the others (as programs for
//! the reference system do) is no error. While moving, opening a lane waits. Lanes to the old place are
//! closed with MIGRATE at the commit: what had not been consumed goes again by a new lane, what had been ends
//! with "unknown" at its caller.

use super::Node;
use super::dispatch::{DONE, Outcome};
use super::event::SessionId;
use super::record::{MoveStep, Record};
use crate::control::{BindKind, Event as Told, board};
use dvs_abi::{Code, Endpoint, Error, NodeId};

impl Node {
    pub(crate) fn migrate_start(&mut self, dc: u16, endpoint: Endpoint) -> Result<Outcome, Error> {
        let endpoint = self.movable(dc, endpoint)?;
        let owes = |w: &super::Waiting| w.dc == dc && w.peer == endpoint.raw() && w.state == board::AWAITING;
        if self.boards.values().any(owes) {
            return Err(Error::early(Code::PROCSTS).at(endpoint));
        }
        self.start(dc, endpoint);
        self.broadcast(Record::Migrate { dc, endpoint: endpoint.raw(), step: MoveStep::Start });
        Ok(DONE)
    }

    pub(crate) fn migrate_rollback(&mut self, dc: u16, endpoint: Endpoint) -> Result<Outcome, Error> {
        let endpoint = self.movable(dc, endpoint)?;
        if !self.is_moving(dc, endpoint) {
            return Err(Error::early(Code::MIGRATE).at(endpoint));
        }
        self.rollback(dc, endpoint);
        self.broadcast(Record::Migrate { dc, endpoint: endpoint.raw(), step: MoveStep::Rollback });
        Ok(DONE)
    }

    pub(crate) fn migrate_commit(
        &mut self,
        s: SessionId,
        dc: u16,
        endpoint: Endpoint,
        node: u16,
        pid: u32,
    ) -> Result<Outcome, Error> {
        let endpoint = self.movable(dc, endpoint)?;
        if !self.config.knows(node) {
            return Err(Code::NOPROXY.into());
        }
        let c = self.dc(dc)?;
        let d = c.find(endpoint)?;
        if !d.moving {
            let done = d.moved && d.node.0 == node;
            return if done { Ok(DONE) } else { Err(Error::early(Code::PROCSTS).at(endpoint)) };
        }
        if !c.config.runs_on(node) {
            return Err(Code::DCNODE.into());
        }
        if node == self.config.me.0 && d.is_remote() {
            self.take_over(dc, endpoint, Some(s), pid)?;
        } else {
            self.point_to(dc, endpoint, node, false);
        }
        let step = MoveStep::Commit { node, pid: if node == self.config.me.0 { 0 } else { pid } };
        self.broadcast(Record::Migrate { dc, endpoint: endpoint.raw(), step });
        Ok(DONE)
    }

    /// A step that another node took.
    pub(crate) fn migrate_record(&mut self, dc: u16, endpoint: Endpoint, step: MoveStep) {
        let Ok(endpoint) = self.movable(dc, endpoint) else { return };
        match step {
            MoveStep::Start => self.start(dc, endpoint),
            MoveStep::Rollback => self.rollback(dc, endpoint),
            MoveStep::Commit { node, pid } if node == self.config.me.0 => {
                let Some(d) = self.dcs.get(&dc).and_then(|c| c.bound(endpoint.slot())) else { return };
                // Without a standby the process that takes over commits here itself; until then callers wait.
                if d.is_local() {
                    self.rollback(dc, endpoint);
                } else if d.kind == BindKind::Backup || pid != 0 {
                    let _ = self.take_over(dc, endpoint, None, pid);
                }
            }
            MoveStep::Commit { node, .. } => self.point_to(dc, endpoint, node, true),
        }
    }

    fn movable(&self, dc: u16, endpoint: Endpoint) -> Result<Endpoint, Error> {
        if self.service_of(dc, endpoint.slot()).is_some() {
            // It is moved by all nodes together.
            return Err(Error::early(Code::PROCSTS).at(endpoint));
        }
        let found = self.dc(dc)?.find(endpoint).map(|d| d.endpoint);
        found.map_err(|c| match c {
            Code::DSTDIED | Code::NOTCONN => Error::early(Code::NOTBIND).at(endpoint),
            other => other.into(),
        })
    }

    fn is_moving(&self, dc: u16, endpoint: Endpoint) -> bool {
        self.dcs.get(&dc).and_then(|c| c.bound(endpoint.slot())).is_some_and(|d| d.moving)
    }

    fn start(&mut self, dc: u16, endpoint: Endpoint) {
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) else { return };
        let told = !d.moving && d.is_local();
        d.moving = true;
        d.moved = false;
        let holder = d.session.filter(|_| told);
        if let Some(s) = holder {
            self.tell(s, Told::Freeze { dc, endpoint: endpoint.raw() });
        }
    }

    fn rollback(&mut self, dc: u16, endpoint: Endpoint) {
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) else { return };
        if !std::mem::take(&mut d.moving) {
            return;
        }
        if d.dead {
            return self.end(dc, endpoint.slot(), super::bind::End::Unbound);
        }
        let holder = d.session.filter(|_| d.is_local());
        if let Some(s) = holder {
            self.tell(s, Told::Thaw { dc, endpoint: endpoint.raw() });
        }
        self.reconsider(dc, endpoint.slot());
        self.release_notices(dc, endpoint.slot());
    }

    fn close_lanes_of(&mut self, dc: u16, endpoint: Endpoint) {
        let lanes = self.dcs.get(&dc).and_then(|c| c.bound(endpoint.slot())).map(|d| d.lanes.clone());
        for (link, lane) in lanes.unwrap_or_default() {
            self.retire_lane(link, lane, Code::MIGRATE);
        }
    }

    /// The endpoint goes on at `node`, which is not this one (or is this one and it never left).
    pub(crate) fn point_to(&mut self, dc: u16, endpoint: Endpoint, node: u16, told: bool) {
        let me = self.config.me.0;
        let Some(d) = self.dcs.get(&dc).and_then(|c| c.bound(endpoint.slot())) else { return };
        if node == me {
            return self.rollback(dc, endpoint);
        }
        let leaves = d.is_local();
        let session = d.session.filter(|_| leaves);
        if let Some(s) = session {
            self.note_left(s, (dc, endpoint));
            self.tell(s, Told::Moved { dc, endpoint: endpoint.raw() });
        }
        self.close_lanes_of(dc, endpoint);
        if let Some(s) = session.and_then(|s| self.sessions.get_mut(&s)) {
            s.endpoints.remove(&(dc, endpoint));
        }
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) else { return };
        if leaves {
            d.kind = BindKind::Remote;
            d.instances &= !(1 << me);
            d.session = None;
            d.claimed = false;
            let pid = std::mem::take(&mut d.pid);
            self.bound_here -= usize::from(pid != 0);
        }
        d.node = NodeId(node);
        d.moving = false;
        d.dead = false;
        d.moved = told;
        self.reconsider(dc, endpoint.slot());
        self.release_notices(dc, endpoint.slot());
    }

    /// The endpoint goes on here: in its standby, or in the process named (0 = the caller's).
    fn take_over(
        &mut self,
        dc: u16,
        endpoint: Endpoint,
        by: Option<SessionId>,
        pid: u32,
    ) -> Result<(), Error> {
        let d = self.dc(dc)?.find(endpoint)?;
        let standby = d.kind == BindKind::Backup;
        let (session, pid) = if standby {
            if pid != 0 && pid != d.pid {
                return Err(Code::BADPID.into());
            }
            (d.session, d.pid)
        } else {
            let found = match (pid, by) {
                (0, by) => by,
                _ => self.sessions.iter().find(|(_, s)| s.pid == pid).map(|(n, _)| *n),
            };
            let pid = found.and_then(|s| self.sessions.get(&s)).map_or(0, |s| s.pid);
            if pid == 0 || pid == self.config.pid {
                return Err(Code::BADPROC.into());
            }
            (found, pid)
        };
        self.close_lanes_of(dc, endpoint);
        let me = self.config.me;
        if let Some(d) = self.dc_mut(dc)?.bound_mut(endpoint.slot()) {
            d.kind = BindKind::Local;
            d.instances = 0;
            d.node = me;
            d.pid = pid;
            d.session = session;
            d.claimed = standby && d.own;
            d.moving = false;
            d.dead = false;
            d.moved = false;
            d.asked = false;
        }
        self.bound_here += usize::from(!standby);
        if let Some(s) = session {
            if let Some(holder) = self.sessions.get_mut(&s) {
                holder.endpoints.insert((dc, endpoint));
            }
            self.offer(s);
        }
        self.publish(dc, endpoint.slot());
        self.reconsider(dc, endpoint.slot());
        self.release_notices(dc, endpoint.slot());
        Ok(())
    }
}
