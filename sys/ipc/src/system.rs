//! Calls about the system rather than to an endpoint: binding others, waiting for bindings, rights,
//! containers, moves. Each is one question to the node's daemon; see `docs/reference/calls` for every call.

use crate::control::{
    Answer, BindKind, DcInfo, DvsInfo, NodeInfo, ProcInfo, Request, Rule, ServiceKind, WirePrivileges,
};
use crate::outside::{ask, bind_by};
use crate::port::Port;
use crate::process::Process;
use crate::wait::{ThreadWait, Wait};
use dvs_abi::{Code, DcId, Deadline, Endpoint, Error, NodeId, Privileges, Result, Timeout};

/// The system as one caller sees it: its questions block in the caller's home.
pub struct System<'a, W: Wait> {
    process: &'a Process,
    home: W,
    /// The caller's endpoint; `NONE` when it asks unbound.
    caller: Endpoint,
}

/// A container to be made.
#[derive(Clone, Debug)]
pub struct DcPlan {
    /// Its number.
    pub dc: DcId,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Slots from zero up.
    pub procs: i32,
    /// Tasks and servers together.
    pub sysprocs: i32,
    /// Who is told when a bound process ends; `NONE` for nobody.
    pub warn: Endpoint,
    /// Type of that message.
    pub warn_type: i32,
    /// Nodes it may run on besides this one.
    pub nodes: Vec<NodeId>,
}

/// A service to be declared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePlan {
    /// Its name, at most 15 bytes, one of its container.
    pub name: String,
    /// How many instances it has.
    pub kind: ServiceKind,
    /// What an instance does that is cut off.
    pub rule: Rule,
    /// Where its instances may be; nobody for all nodes of the container.
    pub nodes: Vec<NodeId>,
}

impl DcPlan {
    /// A container with the usual limits on this node.
    pub fn new(dc: DcId, name: &str) -> Self {
        DcPlan {
            dc,
            name: name.to_string(),
            procs: dvs_abi::limits::PROCS_DEFAULT,
            sysprocs: dvs_abi::limits::SYSPROCS_DEFAULT,
            warn: Endpoint::NONE,
            warn_type: 0,
            nodes: Vec::new(),
        }
    }
}

impl Process {
    /// The system, for a caller that is not bound; blocks the calling thread.
    pub fn system(&self) -> System<'_, ThreadWait> {
        System { process: self, home: ThreadWait::new(self.shared().host()), caller: Endpoint::NONE }
    }

    /// The system, for a caller that is not bound and waits in `home`.
    pub fn system_in<W: Wait>(&self, home: W) -> System<'_, W> {
        System { process: self, home, caller: Endpoint::NONE }
    }

    /// Waits until somebody binds this process (a parent by [`System::bind_process`]) and takes the endpoint.
    ///
    /// # Errors
    /// `TIMEDOUT`, `DVSINIT`.
    pub fn wait_bound<W: Wait>(&self, home: W, timeout: Timeout) -> Result<Port<W>> {
        let now = self.shared().host().now();
        let until = Deadline::after(now, timeout);
        let request = |board| Request::WaitBind {
            dc: u16::MAX, // any container
            endpoint: Endpoint::SELF.raw(),
            remaining: until.remaining(now),
            board,
        };
        // The daemon knows when the time is over, and whether there is something at once.
        bind_by(self, home, request, Deadline::NEVER)
    }

    /// Binds an endpoint of this process in a special way: as backup of a primary on `node`, as replica, in
    /// user mode.
    ///
    /// # Errors
    /// As [`Process::bind_in`]; `BADNODEID`; a backup cannot make calls until it is promoted: they fail with
    /// `RMTPROC`.
    pub fn bind_as<W: Wait>(
        &self,
        home: W,
        kind: BindKind,
        dc: DcId,
        endpoint: Endpoint,
        node: NodeId,
    ) -> Result<Port<W>> {
        let request = |board| Request::Bind {
            kind,
            dc: dc.0,
            endpoint: endpoint.raw(),
            pid: 0,
            node: node.0,
            name: String::new(),
            board,
        };
        bind_by(self, home, request, Deadline::NEVER)
    }

    /// Ends the session in order; the exit notice (if the container wants one) carries `code`.
    pub fn exit_code(&self, code: i32) {
        if let Some(o) = self.shared().outside() {
            o.tell(Request::Exit { code });
        }
    }
}

impl<W: Wait> Port<W> {
    /// The system as this endpoint sees it.
    pub fn system(&self) -> System<'_, &W> {
        System { process: self.process(), home: self.home(), caller: self.endpoint() }
    }
}

impl<W: Wait> System<'_, W> {
    fn ask(&self, request: Request) -> Result<Answer> {
        ask(self.process, &self.home, request, Deadline::NEVER)
    }

    fn done(&self, request: Request) -> Result<()> {
        self.ask(request).map(|_| ())
    }

    fn until(&self, timeout: Timeout) -> (Deadline, u64) {
        let now = self.process.shared().host().now();
        let until = Deadline::after(now, timeout);
        // Without time the daemon answers at once; the answer itself must be waited for.
        (if timeout == Timeout::Now { Deadline::NEVER } else { until }, until.remaining(now))
    }

    /// Binds another process of this node.
    ///
    /// # Errors
    /// `BADPID`, `SLOTUSED`, `RANGE`, `BADDCID`, `DCNOTRUN`, `NODCNODE`.
    pub fn bind_process(&self, kind: BindKind, dc: DcId, pid: u32, endpoint: Endpoint) -> Result<Endpoint> {
        self.bind(kind, dc, pid, endpoint, NodeId(0), "")
    }

    /// Registers an endpoint of another node.
    ///
    /// # Errors
    /// `BADNODEID`, `NODCNODE`, `NOPROXY`, `SLOTUSED`, `NAMESIZE`.
    pub fn bind_remote(&self, dc: DcId, name: &str, endpoint: Endpoint, node: NodeId) -> Result<Endpoint> {
        self.bind(BindKind::Remote, dc, 0, endpoint, node, name)
    }

    /// Makes a process of this node (pid 0: the caller's) the standby of a primary on `node`. It takes the
    /// endpoint with [`Process::wait_bound`], which returns when the standby has been promoted.
    ///
    /// # Errors
    /// `BADNODEID`, `NODCNODE`, `SLOTUSED`, `BADPID`.
    pub fn bind_standby(&self, dc: DcId, pid: u32, endpoint: Endpoint, node: NodeId) -> Result<Endpoint> {
        self.bind(BindKind::Backup, dc, pid, endpoint, node, "")
    }

    fn bind(
        &self,
        kind: BindKind,
        dc: DcId,
        pid: u32,
        endpoint: Endpoint,
        node: NodeId,
        name: &str,
    ) -> Result<Endpoint> {
        let request = Request::Bind {
            kind,
            dc: dc.0,
            endpoint: endpoint.raw(),
            pid,
            node: node.0,
            name: name.to_string(),
            board: u32::MAX,
        };
        match self.ask(request)? {
            Answer::Bound { endpoint, .. } => Ok(Endpoint::from_raw(endpoint)),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// Ends the binding of another endpoint: a process is asked to end, and the call waits until it did.
    ///
    /// # Errors
    /// `NOTBIND`, `ENDPOINT`, `ONCOPY`, `MIGRATE`, `TIMEDOUT`, `AGAIN` when the caller is not bound and
    /// cannot wait.
    pub fn unbind(&self, dc: DcId, endpoint: Endpoint, timeout: Timeout) -> Result<()> {
        let (until, remaining) = self.until(timeout);
        let request = Request::Unbind { dc: dc.0, endpoint: endpoint.raw(), remaining };
        ask(self.process, &self.home, request, until).map(|_| ())
    }

    /// Waits until `endpoint` is bound on any node of the container.
    ///
    /// # Errors
    /// `TIMEDOUT`, `ENDPOINT` for the caller itself or another generation, `RANGE`, `NOTBIND` for an unbound
    /// caller.
    pub fn wait_bind(&self, dc: DcId, endpoint: Endpoint, timeout: Timeout) -> Result<Endpoint> {
        if endpoint == self.caller {
            return Err(Error::early(Code::ENDPOINT).at(endpoint));
        }
        let (until, remaining) = self.until(timeout);
        let request = Request::WaitBind { dc: dc.0, endpoint: endpoint.raw(), remaining, board: u32::MAX };
        match ask(self.process, &self.home, request, until)? {
            Answer::Bound { endpoint, .. } | Answer::Endpoint { endpoint } => {
                Ok(Endpoint::from_raw(endpoint))
            }
            _ => Ok(endpoint),
        }
    }

    /// Declares a slot a service, unless somebody has: then nothing changes. From then on whoever binds the
    /// slot is an instance. `nodes`: where its instances may be; none: on all of the container.
    ///
    /// # Errors
    /// `SLOTUSED`: it is a service of another kind. `BADRANGE`: no slot of the servers, or a bad name.
    /// `RSCBUSY`: another service has that name. `NODCNODE`, `PRIVILEGES`, `BADCALL`; without a majority of
    /// the nodes `TIMEDOUT`.
    pub fn declare(&self, dc: DcId, slot: i32, service: &ServicePlan) -> Result<()> {
        let nodes = service.nodes.iter().fold(0, |all, n| all | 1u32.checked_shl(n.0.into()).unwrap_or(0));
        let ServicePlan { name, kind, rule, .. } = service.clone();
        self.done(Request::Declare { dc: dc.0, slot, name, kind, rule, nodes })
    }

    /// Waits until `endpoint` is free or another generation's.
    ///
    /// # Errors
    /// As [`System::wait_bind`].
    pub fn wait_unbind(&self, dc: DcId, endpoint: Endpoint, timeout: Timeout) -> Result<()> {
        if endpoint == self.caller {
            return Err(Error::early(Code::ENDPOINT).at(endpoint));
        }
        let (until, remaining) = self.until(timeout);
        let request = Request::WaitUnbind { dc: dc.0, endpoint: endpoint.raw(), remaining };
        ask(self.process, &self.home, request, until).map(|_| ())
    }

    /// The endpoint bound for a process of this node.
    ///
    /// # Errors
    /// `NOTBIND`, `BADPID`.
    pub fn get_ep(&self, dc: DcId, pid: u32) -> Result<Endpoint> {
        match self.ask(Request::GetEp { dc: dc.0, pid })? {
            Answer::Endpoint { endpoint } => Ok(Endpoint::from_raw(endpoint)),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// Releases an endpoint of this node blocked in receive(ANY).
    ///
    /// # Errors
    /// `PROCRUN` when it was not blocked (the wake-up is remembered), `BADPROC` (itself), `DSTDIED`,
    /// `RMTPROC`, `MIGRATE`, `RANGE`.
    pub fn wakeup(&self, dc: DcId, endpoint: Endpoint) -> Result<()> {
        if endpoint == self.caller {
            return Err(Error::early(Code::BADPROC).at(endpoint));
        }
        if self.process.is_alone() {
            return self.process.own_wakeup(dc, endpoint);
        }
        let mut core = self.process.shared().lock();
        if let Some(ix) = core.table.find(dc, endpoint) {
            let c = &mut *core;
            let done = c.table.wakeup(ix, &mut c.out);
            core.release();
            return done.map_err(|c| Error::new(c, dvs_abi::Effect::Yes).at(endpoint));
        }
        drop(core);
        self.done(Request::Wakeup { dc: dc.0, endpoint: endpoint.raw() })
    }

    /// Everything about a slot, free ones included.
    ///
    /// # Errors
    /// `BADPROC` (no such slot), `BADDCID`, `DCNOTRUN`.
    pub fn proc_info(&self, dc: DcId, slot: i32) -> Result<ProcInfo> {
        if self.process.is_alone() {
            return self.process.own_info(dc, slot);
        }
        match self.ask(Request::ProcInfo { dc: dc.0, slot })? {
            Answer::Proc(p) => Ok(p),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// Everything about a container, also one that does not run.
    ///
    /// # Errors
    /// `BADDCID`.
    pub fn dc_info(&self, dc: DcId) -> Result<DcInfo> {
        match self.ask(Request::DcInfo { dc: dc.0 })? {
            Answer::Dc(d) => Ok(d),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// The system's limits and this node.
    ///
    /// # Errors
    /// `DVSINIT`.
    pub fn dvs_info(&self) -> Result<DvsInfo> {
        match self.ask(Request::DvsInfo)? {
            Answer::Dvs(d) => Ok(d),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// A node; `None` for this one.
    ///
    /// # Errors
    /// `BADNODEID`.
    pub fn node_info(&self, node: Option<NodeId>) -> Result<NodeInfo> {
        match self.ask(Request::NodeInfo { node: node.map_or(-1, |n| i32::from(n.0)) })? {
            Answer::Node(n) => Ok(n),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// Rights of an endpoint.
    ///
    /// # Errors
    /// `BADPROC`, `DSTDIED`, `BADDCID`, `DCNOTRUN`.
    pub fn privileges(&self, dc: DcId, endpoint: Endpoint) -> Result<Privileges> {
        if self.process.is_alone() {
            return self.process.own_privileges(dc, endpoint);
        }
        match self.ask(Request::GetPriv { dc: dc.0, endpoint: endpoint.raw() })? {
            Answer::Privileges(p) => p.privileges().ok_or(Error::early(Code::BADREQUEST)),
            _ => Err(Error::early(Code::BADREQUEST)),
        }
    }

    /// Changes warn, level, targets and calls of an endpoint's rights.
    ///
    /// # Errors
    /// As [`System::privileges`]; `BADVALUE` for a level, `BADPROC` for a warn endpoint there is not.
    pub fn set_privileges(&self, dc: DcId, endpoint: Endpoint, privileges: Privileges) -> Result<()> {
        if self.process.is_alone() {
            return self.process.set_own_privileges(dc, endpoint, privileges);
        }
        self.set_privileges_raw(dc, endpoint, privileges.into())
    }

    /// The same with numbers that may be wrong, as ported programs pass them.
    ///
    /// # Errors
    /// As [`System::set_privileges`].
    pub fn set_privileges_raw(&self, dc: DcId, endpoint: Endpoint, privileges: WirePrivileges) -> Result<()> {
        self.done(Request::SetPriv { dc: dc.0, endpoint: endpoint.raw(), privileges })
    }

    /// Stops traffic to an endpoint before it is moved.
    ///
    /// # Errors
    /// `NOTBIND`, `ENDPOINT`, `PROCSTS` while it serves a request, `ONCOPY`.
    pub fn migrate_start(&self, dc: DcId, endpoint: Endpoint) -> Result<()> {
        self.done(Request::MigrateStart { dc: dc.0, endpoint: endpoint.raw() })
    }

    /// Undoes [`System::migrate_start`].
    ///
    /// # Errors
    /// `MIGRATE` when no move was begun.
    pub fn migrate_rollback(&self, dc: DcId, endpoint: Endpoint) -> Result<()> {
        self.done(Request::MigrateRollback { dc: dc.0, endpoint: endpoint.raw() })
    }

    /// Ends a move: the endpoint now lives on `node`, there as process `pid` (0: the caller, or the bound
    /// standby).
    ///
    /// # Errors
    /// `PROCSTS` when no move was begun, `NOPROXY`, `DCNODE`, `BADPID`.
    pub fn migrate_commit(&self, dc: DcId, endpoint: Endpoint, node: NodeId, pid: u32) -> Result<()> {
        self.done(Request::MigrateCommit { dc: dc.0, endpoint: endpoint.raw(), node: node.0, pid })
    }

    /// A hardware notification, also by an unbound caller.
    ///
    /// # Errors
    /// `TRAPDENIED`, `DSTDIED`, `RMTPROC`, `MIGRATE`, `OVERRUN`.
    pub fn notify_hardware(&self, dc: DcId, endpoint: Endpoint) -> Result<()> {
        if self.process.is_alone() {
            return self.process.own_hardware_notice(dc, endpoint);
        }
        self.done(Request::HardwareNotify { dc: dc.0, endpoint: endpoint.raw() })
    }

    /// Makes a container.
    ///
    /// # Errors
    /// `BADDCID`, `BADRANGE`, `NAMESIZE`, `RSCBUSY` (name or number in use).
    pub fn dc_init(&self, plan: &DcPlan) -> Result<()> {
        self.done(Request::DcInit {
            dc: plan.dc.0,
            name: plan.name.clone(),
            procs: plan.procs,
            tasks: dvs_abi::limits::TASKS_MAX,
            sysprocs: plan.sysprocs,
            warn: plan.warn.raw(),
            warn_type: plan.warn_type,
            nodes: plan.nodes.iter().map(|n| n.0).collect(),
        })
    }

    /// Ends a container: every bound process is asked to end; returns when its slots are free.
    ///
    /// # Errors
    /// `BADDCID`, `DCNOTRUN`.
    pub fn dc_end(&self, dc: DcId) -> Result<()> {
        self.done(Request::DcEnd { dc: dc.0 })
    }

    /// Lets a container run on a node.
    ///
    /// # Errors
    /// `BADNODEID`, `BADDCID`, `NODEFREE`, `DCNOTRUN`, `DCNODE` (already), `RSCBUSY`.
    pub fn add_node(&self, dc: DcId, node: NodeId) -> Result<()> {
        self.done(Request::AddNode { dc: dc.0, node: node.0 })
    }

    /// Withdraws a container from a node; its endpoints there end.
    ///
    /// # Errors
    /// As [`System::add_node`], `DCNODE` when it is not on it.
    pub fn del_node(&self, dc: DcId, node: NodeId) -> Result<()> {
        self.done(Request::DelNode { dc: dc.0, node: node.0 })
    }
}
