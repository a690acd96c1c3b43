//! Rights (facts §1.8), and what is asked of an endpoint from outside its own calls.

use super::Node;
use super::dispatch::{DONE, Outcome};
use super::event::{Command, CopySide, PROXY, SessionId};
use super::record::Record;
use crate::control::{Answer, CopyPart, Event as Told, WirePrivileges, board};
use dvs_abi::{Call, Code, Endpoint, Error};

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
                if old.calls.has(Call::Relay) && !new.calls.has(Call::Relay) {
                    // Callers ask once a lane whether this one may relay.
                    close.push((*link, *number, Code::MIGRATE));
                }
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
        if self.dc(dc)?.find(endpoint)?.is_remote() {
            return Err(Error::early(Code::RMTPROC).at(endpoint));
        }
        self.deliver_notice(dc, Endpoint::HARDWARE, endpoint, 0, self.now)
    }

    /// A notification by `from`, bound in session `s`, in the name of `source`: `ends` = source, from,
    /// target.
    pub(crate) fn notice(
        &mut self,
        s: SessionId,
        dc: u16,
        ends: [Endpoint; 3],
        value: u64,
        timestamp: u64,
    ) -> Result<Outcome, Error> {
        let [source, from, endpoint] = ends;
        if !self.sessions.get(&s).is_some_and(|x| x.endpoints.contains(&(dc, from))) {
            return Err(Code::NOTBIND.into());
        }
        let c = self.dc(dc)?;
        let caller = c.find(from)?;
        if endpoint.slot() == Endpoint::HARDWARE.slot() {
            return Err(Error::early(Code::BADDEST).at(endpoint));
        }
        if !endpoint.in_table(c.config.tasks, c.config.procs) {
            return Err(Error::early(Code::RANGE).at(endpoint));
        }
        if !caller.privileges.may_call(endpoint.slot() + c.config.tasks) {
            return Err(Error::early(Code::TRAPDENIED).at(endpoint));
        }
        c.find(source).map_err(|code| {
            let code = if code == Code::DSTDIED { Code::SRCDIED } else { code };
            Error::early(code).at(source)
        })?;
        self.deliver_notice(dc, source, endpoint, value, timestamp)
    }

    /// Brings a notification to its session or node.
    pub(crate) fn deliver_notice(
        &mut self,
        dc: u16,
        source: Endpoint,
        endpoint: Endpoint,
        value: u64,
        timestamp: u64,
    ) -> Result<Outcome, Error> {
        let c = self.dc(dc)?;
        let d = c.find(endpoint).map_err(|code| Error::early(code).at(endpoint))?;
        let code = if !c.is_system(endpoint.slot()) {
            Some(Code::TRAPDENIED)
        } else if d.moving || (d.service && d.is_remote() && d.node == self.config.me) {
            Some(Code::MIGRATE)
        } else if d.is_remote() && !self.peers.get(&d.node.0).is_some_and(|p| p.up) {
            Some(Code::NOTCONN)
        } else {
            None
        };
        if let Some(code) = code {
            return Err(Error::early(code).at(endpoint));
        }
        let (source, endpoint) = (source.raw(), d.endpoint.raw());
        if d.is_remote() {
            let record = Record::Notice { dc, source, endpoint, value };
            self.out.push(Command::Control { node: d.node.0, record });
            return Ok(DONE);
        }
        let session = d.session.ok_or(Code::PROCSTS)?;
        self.tell(session, Told::Notice { dc, source, endpoint, value, timestamp });
        Ok(DONE)
    }

    /// Finds one side of a copy that session `s` asks for: its own memory, or that of a caller of an endpoint
    /// of it. Whether the range was lent is checked by who copies, against the lane.
    pub(crate) fn copy_side(&self, s: SessionId, part: CopyPart) -> Result<CopySide, Error> {
        let session = self.sessions.get(&s).ok_or(Code::NOTBIND)?;
        let (link, lane, seq, address) = match part {
            CopyPart::Own { address } => return Ok(CopySide::Own { pid: session.pid, address }),
            CopyPart::Client { link, lane, seq, address } => (link, lane, seq, address),
        };
        let key = *session.links.get(&link).ok_or(Code::SRCDIED)?;
        let link = self.links.get(&key).ok_or(Code::SRCDIED)?;
        let caller = 1 - link.side_of(s);
        let open = link.lane(lane).filter(|l| l.open).ok_or(Code::SRCDIED)?;
        if open.caller as usize != caller {
            return Err(Code::PROCSTS.into());
        }
        if link.sides[caller] == PROXY {
            return Ok(CopySide::There { number: link.numbers[caller], lane, seq, address });
        }
        let pid = self.sessions.get(&link.sides[caller]).ok_or(Code::SRCDIED)?.pid;
        Ok(CopySide::Here { pid, link: key, lane, seq, address })
    }
}

/// Queries of a slot say `BADPROC` where messages say `RANGE`.
fn slot_code(code: Code) -> Code {
    if code == Code::RANGE { Code::BADPROC } else { code }
}
