//! Every waiting sender is served before any is served twice; one sender's messages stay in order.

use crate::act::Act;
use crate::say::{any, msg, notify, send};
use crate::world::{Player, Site, World};
use dvs_abi::Timeout;

/// The order of one sender's numbered messages, from every site at once.
pub fn order_is_kept(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let senders: Vec<Player> = [Site::A, Site::B, Site::C]
        .into_iter()
        .enumerate()
        .map(|(i, site)| w.bound("sender", site, 11 + i as i32))
        .collect();
    let draining = s.start(Act::Drain { count: 900, t: Timeout::Forever });
    let posts: Vec<_> =
        senders.iter().map(|p| p.start(Act::Post { dst: s.ep(), count: 300, t: Timeout::Forever })).collect();
    posts.into_iter().for_each(|p| {
        p.wait().ok();
    });
    draining.wait().ok();
}

/// With every sender in the queue, each is served once before one is served again: one that was served comes
/// back at once, and still waits for the others.
pub fn nobody_twice(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let senders: Vec<Player> =
        (0..4).map(|i| w.bound("sender", [Site::A, Site::B, Site::C][i as usize % 3], 11 + i)).collect();
    if !w.exact() {
        return nobody_is_forgotten(&s, &senders);
    }
    let sends = |p: &Player| {
        let sent = p.start(send(s.ep(), msg(1, b"")));
        p.sending();
        sent
    };
    let mut pending: Vec<_> = senders.iter().map(|p| Some(sends(p))).collect();
    for round in 0..5 {
        let mut served = [0; 4];
        for _ in 0..4 {
            let i = (s.run(any()).got().source.slot() - 11) as usize;
            served[i] += 1;
            if let Some(sent) = pending[i].take() {
                sent.wait().ok();
            }
            pending[i] = Some(sends(&senders[i]));
        }
        assert_eq!(served, [1; 4], "round {round}");
    }
    for _ in 0..4 {
        s.run(any()).got();
    }
    pending.into_iter().flatten().for_each(|p| {
        p.wait().ok();
    });
}

/// Where a message may be on its way, and so is not in the queue yet, only the sum can be known.
fn nobody_is_forgotten(s: &Player, senders: &[Player]) {
    let posts: Vec<_> =
        senders.iter().map(|p| p.start(Act::Post { dst: s.ep(), count: 5, t: Timeout::Forever })).collect();
    let mut counts = [0; 4];
    for _ in 0..20 {
        counts[(s.run(any()).got().source.slot() - 11) as usize] += 1;
    }
    assert_eq!(counts, [5; 4]);
    posts.into_iter().for_each(|p| {
        p.wait().ok();
    });
}

/// A sender that floods does not keep another one waiting for more than one turn.
pub fn flood_does_not_starve(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let loud = w.bound("loud", Site::A, 11);
    let quiet = w.bound("quiet", Site::B, 12);
    let posting = loud.start(Act::Post { dst: s.ep(), count: 50, t: Timeout::Forever });
    let sent = quiet.start(send(s.ep(), msg(1, b"")));
    loud.sending();
    quiet.sending();
    // Over nodes the quiet one waits here when its message has come; one that left the same node after it
    // has.
    let turns = if w.nodes() == 1 {
        2
    } else {
        let (later, here) = (w.bound("later", Site::B, 13), w.bound("here", Site::A, 14));
        let told = later.start(send(here.ep(), msg(1, b"")));
        here.run(any()).from(later.ep(), 1);
        told.wait().ok();
        // The two may have left in one batch and be delivered in any order.
        10
    };
    let mut louds = 0;
    loop {
        let got = s.run(any()).got().source;
        if got == quiet.ep() {
            break;
        }
        louds += 1;
        assert!(louds < turns, "{louds} of the loud one before the quiet one");
    }
    sent.wait().ok();
    for _ in louds..50 {
        s.run(any()).from(loud.ep(), 3);
    }
    posting.wait().ok();
}

/// Notifications come first, but messages are not starved by them: one notification a source at a time.
pub fn notifications_do_not_starve(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let n = w.bound("notifier", Site::A, 9);
    let c = w.bound("client", Site::B, 12);
    let sent = c.start(send(s.ep(), msg(1, b"")));
    c.sending();
    for _ in 0..100 {
        n.run(notify(s.ep())).ok();
    }
    s.run(any()).from(n.ep(), 0x1009);
    s.run(any()).from(c.ep(), 1);
    sent.wait().ok();
}
