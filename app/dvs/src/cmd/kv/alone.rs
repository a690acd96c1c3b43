//! `dvs kv serve --alone`: a single server in memory that can move, in the foreground.

use super::Place;
use crate::cmd::Context;
use crate::cmd::nodes::order;
use crate::cmd::service::services;
use crate::fail::{Done, Fail};
use crate::node::DC_VARIABLE;
use crate::output::say;
use dvs::{DcId, Process};
use dvs_control::service::{Kind, PartitionRule, ServiceSpec};
use dvs_kv::Alone;
use dvs_migrate::{Ended, Host, Manner, News};
use dvsd::admin::AdminRequest;

/// Serves until it has moved away, or is ended.
pub fn run(context: &Context, place: &Place, stay: bool) -> Done<()> {
    let (process, dc) = attach(context, place)?;
    let service = place.endpoint;
    let news = move |news| match news {
        News::Serves => say(&format!("kv serves at endpoint {service}, in memory")),
        News::StandsBy(own) => say(&format!("kv is served elsewhere; stands by for it at {own}")),
        News::Leaves(node) => say(&format!("begins to move to {node}")),
        News::Stays => say("stays"),
        News::Moved(node) => say(&format!("has moved to {node}")),
    };
    let manner = Manner { stays: stay, ..Manner::default() };
    let ended = Host::new(&process, dc, service).manner(manner).news(&news).run(Alone::default());
    match ended.map_err(Fail::from)? {
        Ended::Moved(_) | Ended::Asked => Ok(()),
        Ended::Elsewhere => Err(Fail::new("the service is not here any more: this node was taken for lost")),
    }
}

/// The process in its container, where the service is declared from then on. One that `dvs run` or a move has
/// started finds all that there.
fn attach(context: &Context, place: &Place) -> Done<(Process, DcId)> {
    const NAME: &str = "dvs-kv-alone";
    if let Some(dc) = std::env::var(DC_VARIABLE).ok().and_then(|n| n.parse().ok()) {
        return Ok((dvs::attach(NAME)?, DcId(dc)));
    }
    let dc = place.dc(context)?;
    let slot = place.endpoint.slot();
    let declared = services(context)?.into_iter().find(|s| (s.dc, s.slot) == (dc.dc, slot));
    match declared.map(|s| s.spec.kind) {
        Some(Kind::Single) => {}
        Some(kind) => {
            let kind = format!("{kind:?}").to_lowercase();
            return Err(Fail::usage(format!("the service at {slot} of {} is of kind {kind}", dc.name))
                .next("take another --endpoint, or declare it anew with --kind single"));
        }
        None => {
            let (name, nodes, rule) = ("kv".to_owned(), dc.nodes, PartitionRule::Stop);
            let spec = Some(ServiceSpec { name, kind: Kind::Single, nodes, rule });
            order(context, &AdminRequest::Service { dc: dc.dc, slot, spec })?;
        }
    }
    Ok((dvs::attach_to(&context.node.session_socket(), NAME)?, DcId(dc.dc)))
}
