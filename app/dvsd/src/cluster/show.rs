//! How the system is, as this node sees it: for `dvs status` and `dvs nodes`.

use super::identity::hex;
use crate::admin::{ClusterStatus, NodeRow, ServiceRow};
use crate::daemon::Daemon;
use dvs_abi::DcId;
use dvs_control::member::Standing;
use dvs_control::service::{Place, Service};
use dvs_linux::clock;
use dvs_log::Role;
use dvs_radar::Serving;

impl Daemon {
    pub(crate) fn plane_status(&self) -> ClusterStatus {
        let (plane, now) = (&self.plane, clock::now());
        let group = plane.group.status();
        let voters: Vec<u16> = group.voters().map(|n| n.0).collect();
        let alone = plane.state.members().count() == 1;
        let rules = plane.state.rules();
        ClusterStatus {
            system: hex(&rules.system.to_be_bytes()),
            begun: plane.incarnation.is_some(),
            incarnation: plane.incarnation.map_or(0, |e| e.0),
            applied: plane.state.last().0,
            leader: group.leader.map(|n| n.0),
            term: group.term,
            spare: voters.len().saturating_sub(1) as u32 / 2,
            voters,
            lease: plane.incarnation.is_some() && (alone || plane.radar.holds_lease(now)),
            lease_ms: rules.lease_ns / 1_000_000,
            suspected: plane.leases.suspected(now).iter().map(|n| n.0).collect(),
        }
    }

    pub(crate) fn service_rows(&self) -> Vec<ServiceRow> {
        let now = clock::now();
        let all = self.plane.state.containers().flat_map(|(dc, c)| c.services.iter().map(move |s| (dc, s)));
        let row = |(dc, (slot, s)): (DcId, (&i32, &Service))| {
            let leaves = self.move_phase(dc.0, *slot);
            let (at, mut to) = match s.place {
                Place::Vacant => (None, None),
                Place::At(node) => (Some(node.0), None),
                Place::Moving { from, to, .. } => (Some(from.0), Some(to.0)),
            };
            to = to.or(leaves.as_ref().map(|(to, _)| *to));
            let held = matches!(s.place, Place::Moving { .. }).then(|| "callers are held".to_owned());
            let phase = leaves.map(|(_, phase)| phase).or(held);
            let here = match self.plane.radar.serving((dc, *slot), now) {
                Serving::Full => "serves",
                Serving::Reads => "reads",
                Serving::Stopped => "stopped",
            };
            let in_step = s.instances.iter().filter(|(_, i)| i.in_step);
            ServiceRow {
                dc: dc.0,
                slot: *slot,
                spec: s.spec.clone(),
                at,
                to,
                phase,
                epoch: s.epoch.0,
                instances: in_step.map(|(n, _)| n.0).collect(),
                here: here.into(),
            }
        };
        all.map(row).collect()
    }

    pub(crate) fn node_rows(&self) -> Vec<NodeRow> {
        let plane = &self.plane;
        let group = plane.group.status();
        let rows = plane.state.members().map(|(n, m)| {
            let role = match group.members.iter().find(|(g, _)| *g == n) {
                Some(_) if group.leader == Some(n) => "leader",
                Some((_, Role::Voter)) => "voter",
                Some((_, Role::Learner)) => "learner",
                None => "-",
            };
            let standing = match m.standing {
                Standing::Joined => "joined",
                Standing::Up(_) => "up",
                Standing::Down(_) => "down",
            };
            NodeRow {
                node: n.0,
                name: m.card.name.clone(),
                address: m.card.address.clone(),
                standing: standing.into(),
                incarnation: m.last_incarnation().0,
                role: role.into(),
                reached: n == plane.me() || plane.links.is_up(n),
                draining: m.draining,
                witness: m.card.witness,
                fingerprint: hex(&m.card.key),
            }
        });
        rows.collect()
    }
}
