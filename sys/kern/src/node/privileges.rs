//! Rights (facts §1.8), and what is asked of an endpoint from outside its own calls.

use super::Node;
use super::dispatch::{DONE, Outcome};
use crate::control::{Answer, Event as Told, WirePrivileges, board};
use dvs_abi::{Code, Endpoint, Error};

impl Node {
    pub(crate) fn get_priv(&self, dc: u16, endpoint: Endpoint) -> Result<Outcome, Error> {
        let d = self.dc(dc)?.find(endpoint).map_err(slot_code)?;
        Ok(Outcome::Answer(Answer::Privileges(d.privileges.into())))
    }

    /// Changes rights. Lanes to targets that are forbidden now are closed for good; when the set of calls
    /// changed, lanes are opened anew, so that callees hear of it.
    pub(crate) fn set_priv(
        &mut self,
        dc: u16,
        endpoint: Endpoint,
        wanted: WirePrivileges,
    ) -> Result<Outcome, Error> {
        let c = self.dc(dc)?;
        let d = c.find(endpoint).map_err(slot_code)?;
        let wanted = wanted.privileges().ok_or(Code::BADVALUE)?;
        let warn = wanted.warn;
        let system = warn.in_table(c.config.tasks, c.config.procs) && c.is_system(warn.slot());
        if warn != Endpoint::NONE && !system {
            return Err(Code::BADPROC.into());
        }
        if d.is_remote() {
            return Err(Error::early(Code::RMTPROC).at(d.endpoint));
        }
        let (endpoint, session, old) = (d.endpoint, d.session, d.privileges);
        let mut new = wanted;
        new.id = old.id;
        let tasks = c.config.tasks;
        let mut close = Vec::new();
        for (link, number) in &d.lanes {
            let Some(lane) = self.links.get(link).and_then(|l| l.lane(*number)) else { continue };
            let target = Endpoint::from_raw(lane.to);
            if lane.from != endpoint.raw() {
                continue;
            }
            if c.is_system(target.slot()) && !new.may_call(target.slot() + tasks) {
                close.push((*link, *number, Code::TRAPDENIED));
            } else if new.calls != old.calls {
                close.push((*link, *number, Code::MIGRATE));
            }
        }
        if let Some(d) = self.dc_mut(dc)?.bound_mut(endpoint.slot()) {
            d.privileges = new;
        }
        if let Some(s) = session {
            let privileges = new.into();
            self.tell(s, Told::Privileges { dc, endpoint: endpoint.raw(), privileges });
        }
        for (link, lane, code) in close {
            self.close_lane(link, lane, code);
        }
        if new.calls != old.calls {
            self.publish(dc, endpoint.slot());
        }
        Ok(DONE)
    }

    /// Releases an endpoint blocked in receive(ANY); one that is not is marked by its library and the caller
    /// is told `PROCRUN` (facts §2.5.6).
    pub(crate) fn wakeup(&mut self, dc: u16, endpoint: Endpoint) -> Result<Outcome, Error> {
        let d = self.dc(dc)?.find(endpoint)?;
        if d.moving {
            return Err(Error::early(Code::MIGRATE).at(endpoint));
        }
        if d.is_remote() {
            return Err(Error::early(Code::RMTPROC).at(endpoint));
        }
        let (endpoint, session) = (d.endpoint, d.session.ok_or(Code::PROCRUN)?);
        self.tell(session, Told::Wakeup { dc, endpoint: endpoint.raw() });
        let waiting = self.boards.get(&(dc, endpoint.raw()));
        match waiting {
            Some(w) if w.state == board::RECEIVING && w.peer == Endpoint::ANY.raw() => Ok(DONE),
            _ => Err(Error::early(Code::PROCRUN).at(endpoint)),
        }
    }

    /// A notification from hardware, that is from a process that need not be bound (facts §2.10).
    pub(crate) fn hardware_notify(&mut self, dc: u16, endpoint: Endpoint) -> Result<Outcome, Error> {
        let c = self.dc(dc)?;
        let d = c.find(endpoint)?;
        let code = if !c.is_system(endpoint.slot()) {
            Some(Code::TRAPDENIED)
        } else if d.is_remote() {
            Some(Code::RMTPROC)
        } else if d.moving {
            Some(Code::MIGRATE)
        } else {
            None
        };
        if let Some(code) = code {
            return Err(Error::early(code).at(endpoint));
        }
        let (endpoint, session) = (d.endpoint.raw(), d.session.ok_or(Code::PROCSTS)?);
        let source = Endpoint::HARDWARE.raw();
        let timestamp = self.now;
        self.tell(session, Told::Notice { dc, source, endpoint, value: 0, timestamp });
        Ok(DONE)
    }
}

/// Queries of a slot say `BADPROC` where messages say `RANGE`.
fn slot_code(code: Code) -> Code {
    if code == Code::RANGE { Code::BADPROC } else { code }
}
