//! Who may ask for what concerns others: containers, nodes, rights, moves, bindings of other processes.
//!
//! The reference system wants a capability of whoever manages it, and keeps a set of calls with every
//! endpoint (facts §1.8). Here both are asked of the *process*, whatever number of sessions it opened:
//!
//! ```text
//!  nothing bound in it ──── operator (root, or the daemon's user) ──► yes      else PRIVILEGES
//!  something bound in it ── one of its endpoints has the call ──────► yes      else BADCALL
//!  a slot of the servers is bound by operators only                            else PRIVILEGES
//! ```
//!
//! A user process has none of these calls unless it was given them, so it cannot give itself more. What a
//! process asks about itself, and what only reads the tables, is free.

use super::Node;
use super::event::{PROXY, SessionId};
use super::session::Session;
use crate::control::{BindKind, Request};
use dvs_abi::{Call, CallSet, Code, Endpoint, Error};

impl Node {
    /// Whether session `s` may ask for this.
    ///
    /// # Errors
    /// `PRIVILEGES` when its user may not manage the system, `BADCALL` when none of its endpoints may.
    pub(crate) fn authorize(&self, s: SessionId, request: &Request) -> Result<(), Error> {
        let Some(session) = self.sessions.get(&s).filter(|_| s != PROXY) else { return Ok(()) };
        if let Request::Bind { dc, endpoint, .. } = request
            && !session.operator
            && self.is_server_slot(*dc, Endpoint::from_raw(*endpoint))
        {
            return Err(Code::PRIVILEGES.into());
        }
        let Some(call) = self.managing(session, request) else { return Ok(()) };
        match self.calls_of(s, session) {
            None if session.operator => Ok(()),
            None => Err(Code::PRIVILEGES.into()),
            Some(calls) if calls.has(call) => Ok(()),
            Some(_) => Err(Code::BADCALL.into()),
        }
    }

    /// The call that must be allowed; `None` when nobody else is concerned.
    fn managing(&self, session: &Session, request: &Request) -> Option<Call> {
        match request {
            Request::DcInit { .. } => Some(Call::DcInit),
            Request::DcEnd { .. } => Some(Call::DcEnd),
            Request::AddNode { .. } => Some(Call::AddNode),
            Request::DelNode { .. } => Some(Call::DelNode),
            Request::SetPriv { .. } => Some(Call::SetPriv),
            Request::MigrateStart { .. }
            | Request::MigrateRollback { .. }
            | Request::MigrateCommit { .. } => Some(Call::Migrate),
            Request::Declare { .. } => Some(Call::Bind),
            Request::Wakeup { .. } => Some(Call::Wakeup),
            Request::HardwareNotify { .. } => Some(Call::Notify),
            Request::Notice { source, from, .. } if source != from => Some(Call::Notify),
            Request::Bind { kind, pid, .. } => {
                let other = *pid != 0 && *pid != session.pid && *kind != BindKind::Own;
                (other || matches!(kind, BindKind::Remote | BindKind::Backup)).then_some(Call::Bind)
            }
            Request::Unbind { dc, endpoint, .. } => {
                let own = session.endpoints_in(*dc).any(|e| e.raw() == *endpoint);
                (!own).then_some(Call::Bind)
            }
            _ => None,
        }
    }

    /// The calls the endpoints of a process have together; `None` when it has no endpoint.
    fn calls_of(&self, s: SessionId, session: &Session) -> Option<CallSet> {
        let same = |n: SessionId, x: &Session| n == s || (session.pid != 0 && x.pid == session.pid);
        let bound = self.sessions.iter().filter(|(n, x)| same(**n, x)).flat_map(|(_, x)| &x.endpoints);
        bound.fold(None, |all, (dc, endpoint)| {
            let d = self.dcs.get(dc).and_then(|c| c.bound(endpoint.slot()));
            let calls = d.map_or(0, |d| d.privileges.calls.0);
            Some(CallSet(all.map_or(0, |a: CallSet| a.0) | calls))
        })
    }

    fn is_server_slot(&self, dc: u16, endpoint: Endpoint) -> bool {
        endpoint != Endpoint::NONE && self.dcs.get(&dc).is_some_and(|c| c.is_system(endpoint.slot()))
    }
}
