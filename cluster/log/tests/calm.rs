//! Who leads, on virtual time: nobody is disturbed without need, and a leader that died is replaced soon.

mod sky;

use dvs_abi::Effect;
use dvs_log::Timing;
use sky::{FAIR, LONG, Sky, Weather, on_virtual_time};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SHORT: Duration = Duration::from_millis(300);

fn term(sky: &Sky, node: u16) -> u64 {
    sky.member(node).unwrap().node.status().term
}

async fn leader(sky: &Sky, seen_by: u16, not: Option<u16>) -> u16 {
    let seen = sky.member(seen_by).unwrap().node;
    let other = seen.wait(|s| s.leader.is_some_and(|l| Some(l.0) != not), LONG).await;
    other.expect("somebody leads in the end").leader.unwrap().0
}

/// Proposes for a while, at each member in turn; how many were done.
async fn work(sky: &Sky, count: u32) -> usize {
    let mut done = 0;
    for n in 0..count {
        let node = sky.member((n % 3) as u16).unwrap().node;
        done += usize::from(node.propose(n.to_le_bytes().to_vec(), Duration::from_secs(5)).await.is_ok());
        sleep(Duration::from_millis(sky.lots.draw(200))).await;
    }
    done
}

#[test]
fn a_slow_way_causes_no_election() {
    let slow = Weather { way: (50_000, 10_000), ..FAIR };
    for seed in 0..5 {
        on_virtual_time(seed, async {
            let sky = Sky::of(3, seed, Timing::default(), slow).await;
            let before = term(&sky, 0);
            assert_eq!(work(&sky, 300).await, 300);
            sleep(Duration::from_secs(600)).await;
            assert_eq!((0..3).map(|n| term(&sky, n)).collect::<Vec<_>>(), [before; 3], "seed {seed}");
        });
    }
}

#[test]
fn a_third_of_the_messages_lost_changes_who_leads_seldom() {
    let lossy = Weather { lost: 300, way: (1000, 5000), ..FAIR };
    on_virtual_time(1, async {
        let sky = Sky::of(3, 1, Timing::default(), lossy).await;
        let before = term(&sky, 0);
        work(&sky, 200).await;
        sleep(Duration::from_secs(1000)).await;
        let after = term(&sky, 0);
        assert!(after - before < 20, "{before} to {after}");
    });
}

#[test]
fn who_hears_nobody_disturbs_nobody() {
    on_virtual_time(1, async {
        let sky = Sky::of(3, 1, Timing::default(), FAIR).await;
        let first = leader(&sky, 0, None).await;
        let deaf = (first + 1) % 3;
        let before = term(&sky, first);
        for peer in (0..3).filter(|n| *n != deaf) {
            sky.cut(peer, deaf, true);
        }
        sleep(Duration::from_secs(100)).await;
        sky.heal();
        sleep(Duration::from_secs(10)).await;
        assert_eq!((0..3).map(|n| term(&sky, n)).collect::<Vec<_>>(), [before; 3]);
        assert_eq!(leader(&sky, deaf, None).await, first);
    });
}

#[test]
fn a_leader_that_hears_nobody_is_replaced_though_all_hear_it() {
    for seed in 0..5 {
        on_virtual_time(seed, async {
            let sky = Sky::of(3, seed, Timing::default(), FAIR).await;
            let deaf = leader(&sky, 0, None).await;
            let others: Vec<u16> = (0..3).filter(|n| *n != deaf).collect();
            others.iter().for_each(|n| sky.cut(*n, deaf, true));
            // Not decided: it is sent again and again.
            let node = sky.member(deaf).unwrap().node;
            let asked = node.propose(vec![9; 4], Duration::from_secs(1)).await.unwrap_err();
            assert_eq!(asked.effect(), Effect::Unknown);
            let next = leader(&sky, others[0], Some(deaf)).await;
            let client = sky.member(others[1]).unwrap().node;
            client.propose(vec![0; 4], Duration::from_secs(5)).await.expect("two of three decide");
            sky.heal();
            sleep(Duration::from_secs(5)).await;
            assert_eq!(leader(&sky, deaf, None).await, next, "seed {seed}");
        });
    }
}

#[test]
fn a_leader_whose_followers_were_away_goes_on_when_one_is_back() {
    on_virtual_time(1, async {
        let sky = Sky::of(2, 1, Timing::default(), FAIR).await;
        let first = leader(&sky, 0, None).await;
        let node = sky.member(first).unwrap().node;
        sky.crash(1 - first, 0).await;
        // More than the other one has.
        let asked = node.propose(vec![9; 4], Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(asked.effect(), Effect::Unknown);
        sleep(Duration::from_secs(60)).await;
        sky.start(1 - first).await;
        node.propose(vec![0; 4], Duration::from_secs(5)).await.expect("two of two decide");
    });
}

/// From the leader's crash to the first answer at a client that asks again and again.
fn gap(seed: u64) -> Duration {
    on_virtual_time(seed, async {
        let sky = Sky::of(3, seed, Timing::default(), FAIR).await;
        work(&sky, 3).await;
        let old = leader(&sky, 0, None).await;
        sleep(Duration::from_millis(sky.lots.draw(1000))).await;
        sky.crash(old, 0).await;
        let (start, client) = (Instant::now(), sky.member((old + 1) % 3).unwrap().node);
        while let Err(error) = client.propose(vec![0; 4], SHORT).await {
            assert_ne!(error.effect(), Effect::Yes);
        }
        start.elapsed()
    })
}

#[test]
fn a_leader_that_died_is_replaced_within_a_second() {
    let mut gaps: Vec<Duration> = (0..100).map(gap).collect();
    gaps.sort();
    println!("p50 {:?}, p99 {:?}", gaps[50], gaps[99]);
    // Virtual time: this is the protocol's share, and the same in each run.
    assert!(gaps[50] < Duration::from_millis(700) && gaps[99] < Duration::from_millis(1500));
}

#[test]
fn a_disk_that_was_put_back_is_told_of_and_harms_no_leader() {
    on_virtual_time(1, async {
        let sky = Sky::of(3, 1, Timing::default(), FAIR).await;
        let first = leader(&sky, 0, None).await;
        let victim = (first + 1) % 3;
        let old = sky.image(victim);
        work(&sky, 30).await;
        sky.crash(victim, 0).await;
        sky.put_back(victim, old);
        sky.start(victim).await;
        let node = sky.member(first).unwrap().node;
        node.wait(|s| s.applied >= 30, LONG).await.expect("the leader goes on");
        sleep(Duration::from_secs(10)).await;
        assert_eq!(node.status().forgetful, [dvs_abi::NodeId(victim)]);
        assert_eq!(work(&sky, 30).await, 30);
        let status = node.status();
        assert!(status.running && status.leader == Some(dvs_abi::NodeId(first)), "{status:?}");
    });
}
