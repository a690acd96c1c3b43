//! A storm from a seed, on virtual time: machines crash at any sync, with part of what was not synced
//! written, are cut off in one or both directions, and come back, under load.
//!
//! `LOG_SEEDS=1000` runs a thousand seeds, `LOG_SEED=7` only that one.

mod sky;

use dvs_abi::Effect;
use dvs_log::Timing;
use sky::{FAIR, LONG, PADDING, ROUGH, Sky, Weather, on_virtual_time};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;

const MEMBERS: u16 = 3;
const ROUNDS: u64 = 8;

type Told = Rc<RefCell<Vec<(u32, Option<Effect>)>>>;

/// Proposes until told to stop, at whichever member runs; notes what it was told.
async fn client(sky: Sky, number: u32, told: Told, stop: Rc<Cell<bool>>) {
    let mut count = 0;
    while !stop.get() {
        sleep(Duration::from_millis(sky.lots.draw(20))).await;
        let Some(member) = sky.member(sky.lots.draw(u64::from(MEMBERS)) as u16) else { continue };
        let command = number << 24 | count;
        count += 1;
        let result = member.node.propose(command.to_le_bytes().to_vec(), Duration::from_secs(2)).await;
        // A machine that crashed tells nobody anything.
        let over = member.life.is_over();
        let heard = if over { Some(Effect::Unknown) } else { result.err().map(|e| e.effect()) };
        told.borrow_mut().push((command, heard));
    }
}

/// One thing goes wrong, for a while.
async fn mishap(sky: &Sky) {
    let victim = sky.lots.draw(u64::from(MEMBERS)) as u16;
    let other = (victim + 1 + sky.lots.draw(u64::from(MEMBERS) - 1) as u16) % MEMBERS;
    let while_it_lasts = Duration::from_millis(sky.lots.draw(3000));
    match sky.lots.draw(8) {
        // Only one is down, for long or for a moment.
        0..4 => {
            sky.crash(victim, sky.lots.draw(20)).await;
            sleep(while_it_lasts).await;
            sky.start(victim).await;
        }
        // A majority crashes, or all.
        4 => {
            let third = 3 - victim - other;
            let all = sky.lots.draw(2) == 0;
            tokio::join!(sky.crash(victim, sky.lots.draw(10)), sky.crash(other, sky.lots.draw(10)));
            if all {
                sky.crash(third, 0).await;
                sky.start(third).await;
            }
            sleep(while_it_lasts).await;
            sky.start(victim).await;
            sky.start(other).await;
        }
        // It crashes again as it starts.
        5 => {
            sky.crash(victim, 1).await;
            sky.start(victim).await;
            sky.crash(victim, 1 + sky.lots.draw(3)).await;
            sleep(while_it_lasts).await;
            sky.start(victim).await;
        }
        // It hears and is not heard, or the other way round, or neither.
        _ => {
            let (hears, heard) = (sky.lots.draw(2) == 0, sky.lots.draw(3) == 0);
            for peer in (0..MEMBERS).filter(|n| *n != victim) {
                sky.cut(peer, victim, !hears);
                sky.cut(victim, peer, !heard);
            }
            sleep(while_it_lasts).await;
            sky.heal();
        }
    }
}

/// One seed; how many commands were acknowledged.
fn run(seed: u64, weather: Weather) -> usize {
    let mut timing =
        Timing { heartbeat_ms: 50, election_min_ms: 200, election_max_ms: 400, ..Timing::default() };
    (timing.snapshot_after, timing.kept) = (40, 10);
    // Now and then snapshots are so large that they are written in parts.
    PADDING.set(if seed % 4 == 3 { 600_000 } else { 0 });
    on_virtual_time(seed, async move {
        let sky = Sky::of(MEMBERS, seed, timing, weather).await;
        let (told, stop) = (Told::default(), Rc::new(Cell::new(false)));
        let tasks = tokio::task::LocalSet::new();
        for number in 0..3 {
            tasks.spawn_local(client(sky.clone(), number, told.clone(), stop.clone()));
        }
        tasks
            .run_until(async {
                for _ in 0..ROUNDS {
                    sleep(Duration::from_millis(sky.lots.draw(1500))).await;
                    mishap(&sky).await;
                }
                stop.set(true);
            })
            .await;
        tasks.await;
        sky.heal();
        // What is unknown is decided by then, one way or the other.
        sleep(Duration::from_secs(10)).await;
        judge(&sky, told.take()).await
    })
}

async fn judge(sky: &Sky, told: Vec<(u32, Option<Effect>)>) -> usize {
    let mut diaries = Vec::new();
    for n in 0..MEMBERS {
        let member = sky.member(n).unwrap();
        let status = member.node.status();
        assert!(status.running && status.forgetful.is_empty(), "{n}: {status:?}");
        assert!(status.leader.is_some(), "{n} knows nobody who leads: {status:?}");
        while let Err(error) = member.node.read_barrier(LONG).await {
            assert_eq!(error.effect(), Effect::No, "{error}");
        }
        diaries.push(member.node.read(|d| d.0.clone()));
    }
    assert!(diaries.iter().all(|d| *d == diaries[0]), "all have the same");
    let mut times: BTreeMap<u32, u32> = BTreeMap::new();
    diaries[0].iter().for_each(|c| *times.entry(*c).or_default() += 1);
    for (command, effect) in &told {
        let done = times.get(command).copied().unwrap_or(0);
        match effect {
            None => assert_eq!(done, 1, "{command:x} was acknowledged"),
            Some(Effect::No) => assert_eq!(done, 0, "{command:x} was refused"),
            Some(_) => assert!(done <= 1, "{command:x} was unknown"),
        }
    }
    told.iter().filter(|(_, effect)| effect.is_none()).count()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn acknowledged_outlives_crashes_at_any_sync() {
    if let Some(seed) = number("LOG_SEED") {
        println!("{} acknowledged", run(seed, ROUGH));
        return;
    }
    let mut acknowledged = 0;
    for seed in 0..number("LOG_SEEDS").unwrap_or(40) {
        acknowledged += catch_unwind(|| run(seed, ROUGH)).unwrap_or_else(|_| panic!("LOG_SEED={seed}"));
    }
    println!("{acknowledged} acknowledged");
    assert!(acknowledged > 1000);
}

/// The library lets go of the entries that a snapshot stands for before that is installed.
#[test]
fn a_snapshot_arrives_whole_or_not_at_all() {
    arrives(0, 16);
    // In four parts.
    arrives(900_000, 24);
}

fn arrives(padding: usize, syncs: u64) {
    PADDING.set(padding);
    for syncs in 1..syncs {
        on_virtual_time(syncs, async {
            let timing = Timing { snapshot_after: 20, kept: 2, ..Timing::default() };
            let sky = Sky::of(MEMBERS, syncs, timing, FAIR).await;
            let propose = async |n: u32| {
                let command = n.to_le_bytes().to_vec();
                sky.member(0).unwrap().node.propose(command, LONG).await.unwrap();
            };
            propose(0).await;
            sky.crash(2, 0).await;
            for n in 1..100 {
                propose(n).await;
            }
            sky.start(2).await;
            sky.crash(2, syncs).await;
            sky.start(2).await;
            for n in 0..MEMBERS {
                let node = sky.member(n).unwrap().node;
                node.read_barrier(LONG).await.unwrap();
                assert_eq!(node.read(|d| d.0.clone()), (0..100).collect::<Vec<u32>>(), "{syncs}, {n}");
                assert!(node.status().forgetful.is_empty());
            }
            assert!(sky.member(2).unwrap().node.status().snapshot > 20);
        });
    }
}

/// It is written in parts, entries and votes between them; what was kept before stays until all are there.
#[test]
fn a_snapshot_is_taken_whole_or_not_at_all() {
    PADDING.set(900_000);
    let mut taken = BTreeSet::new();
    for syncs in 1..40 {
        on_virtual_time(syncs, async {
            let timing = Timing { snapshot_after: 1000, kept: 2, ..Timing::default() };
            let sky = Sky::of(MEMBERS, syncs, timing, FAIR).await;
            let propose = async |n: u32| {
                let node = sky.member(0).unwrap().node;
                node.propose(n.to_le_bytes().to_vec(), LONG).await.unwrap();
            };
            for n in 0..10 {
                propose(n).await;
            }
            let member = sky.member(1).unwrap().node;
            member.snapshot().await.unwrap();
            let first = member.wait(|s| s.snapshot >= 10, LONG).await.unwrap().snapshot;
            for n in 10..20 {
                propose(n).await;
            }
            member.snapshot().await.unwrap();
            tokio::join!(sky.crash(1, syncs), async {
                for n in 20..30 {
                    propose(n).await;
                }
            });
            drop(member);
            sky.start(1).await;
            let member = sky.member(1).unwrap().node;
            member.read_barrier(LONG).await.unwrap();
            let kept = member.status().snapshot;
            assert!(kept == first || kept >= first + 10, "{syncs}: {kept} after {first}");
            taken.insert(kept);
            assert_eq!(member.read(|d| d.0.clone()), (0..30).collect::<Vec<u32>>(), "{syncs}");
        });
    }
    assert!(taken.len() > 1, "only {taken:?}");
}

#[test]
fn a_snapshot_whose_last_answer_is_lost_is_not_sent_again() {
    PADDING.set(400_000);
    on_virtual_time(1, async {
        let timing = Timing { snapshot_after: 20, kept: 2, ..Timing::default() };
        let sky = Sky::of(MEMBERS, 1, timing, FAIR).await;
        let first = sky.member(0).unwrap().node;
        sky.crash(2, 0).await;
        for n in 0..60u32 {
            first.propose(n.to_le_bytes().to_vec(), LONG).await.unwrap();
        }
        sky.start(2).await;
        let behind = sky.member(2).unwrap().node;
        behind.wait(|s| s.snapshot > 20, LONG).await.expect("it arrives");
        sky.cut(2, 0, true);
        sleep(Duration::from_secs(5)).await;
        sky.trace.lock().unwrap().clear();
        sky.heal();
        first.propose(60u32.to_le_bytes().to_vec(), LONG).await.unwrap();
        behind.read_barrier(LONG).await.unwrap();
        assert_eq!(behind.read(|d| d.0.len()), 61);
        let trace = sky.trace.lock().unwrap();
        let large = |line: &&String| line.contains(" 0>2 ") && line.split(' ').nth(2).unwrap().len() > 4;
        let pieces = trace.iter().filter(large).count();
        assert!(pieces < 5, "{pieces} pieces of nine");
    });
}

/// Why the storm once failed: its machines went on to acknowledge on a disk that was taken away. Were a real
/// member to acknowledge what it has not synced, this is how it would be found.
#[test]
fn what_is_acknowledged_and_not_kept_is_found() {
    let ghosts = Weather { ghosts: true, ..ROUGH };
    assert!((0..40).any(|seed| catch_unwind(AssertUnwindSafe(|| run(seed, ghosts))).is_err()));
}
