//! What would hinder a move, as far as the replicated state and the two nodes know. Asked by `--check`, and
//! again before a move begins.

use dvs_abi::{DcId, NodeId};
use dvs_control::service::Place;
use dvs_control::state::State;

/// What the target says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes of memory that are free there.
    pub memory: u64,
    /// Versions of the server's state that it can take over, from and to.
    pub versions: (u32, u32),
}

/// What the source says about the instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Bytes of its state.
    pub state: u64,
    /// The version of its state.
    pub version: u32,
}

/// What would hinder the service at `slot` of `dc` from moving to `to`; empty if nothing would. Each is a
/// sentence that says what to do about it.
pub fn hindrances(
    state: &State,
    (dc, slot): (DcId, i32),
    to: NodeId,
    load: Option<Load>,
    room: Option<Room>,
) -> Vec<String> {
    let mut found = Vec::new();
    let service = state.container(dc).and_then(|c| c.services.get(&slot));
    let Some(service) = service else {
        return vec![format!("no service is declared at slot {slot} of container {}", dc.0)];
    };
    let name = &service.spec.name;
    match service.place {
        Place::Vacant => found.push(format!("'{name}' is nowhere: start it on {to} instead")),
        Place::At(at) if at == to => found.push(format!("'{name}' is on {to} already")),
        Place::Moving { to, .. } => {
            found.push(format!("'{name}' is moving to {to}: wait until that is over"))
        }
        Place::At(_) => {}
    }
    if !service.spec.allows(to) {
        found.push(format!("'{name}' may not be on {to}: declare it anew with that node among its nodes"));
    }
    match state.member(to) {
        None => found.push(format!("{to} is no node of this system")),
        Some(m) if m.incarnation().is_none() => found.push(format!("{to} is not up")),
        Some(m) if m.draining => found.push(format!("{to} is being drained: end that, or take another node")),
        Some(_) => {}
    }
    if let (Some(load), Some(room)) = (load, room) {
        if room.memory < load.state {
            let (has, needs) = (room.memory >> 20, load.state.div_ceil(1 << 20));
            found.push(format!("{to} has {has} MiB of memory free, the state of '{name}' has {needs}"));
        }
        let (least, most) = room.versions;
        if !(least..=most).contains(&load.version) {
            let version = load.version;
            found
                .push(format!("{to} takes over states of version {least} to {most}, '{name}' has {version}"));
        }
    }
    found
}
