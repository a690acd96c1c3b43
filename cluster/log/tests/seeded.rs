//! Members on virtual time, with disks in memory, from one seed: equal seeds give equal runs, and hours pass
//! in moments.

mod sky;

use dvs_log::Timing;
use sky::{LONG, Sky, Weather, on_virtual_time};
use std::time::Duration;
use tokio::time::sleep;

const WEATHER: Weather = Weather { lost: 20, doubled: 20, late: 5, way: (200, 5000), ghosts: false };

/// One run: three members, commands, the leader crashes and comes back, an hour passes.
fn run(seed: u64) -> Vec<String> {
    on_virtual_time(seed, async {
        let sky = Sky::of(3, seed, Timing::default(), WEATHER).await;
        let at = |n: u16| sky.member(n).unwrap().node;
        let mut done = Vec::new();
        for n in 0..30u32 {
            // A question that was lost ends as unknown.
            if at(n as u16 % 3).propose(n.to_le_bytes().to_vec(), LONG).await.is_ok() {
                done.push(n);
            }
        }
        let leader = at(0).leader().unwrap().0;
        sky.crash(leader, 0).await;
        let other = (leader + 1) % 3;
        at(other).wait(|s| s.leader.is_some_and(|l| l.0 != leader), LONG).await.unwrap();
        if at(other).propose(vec![100, 0, 0, 0], LONG).await.is_ok() {
            done.push(100);
        }
        sky.start(leader).await;
        sleep(Duration::from_secs(3600)).await;
        at(leader).read_barrier(LONG).await.unwrap();
        assert!(done.len() > 20 && at(leader).read(|d| done.iter().all(|n| d.0.contains(n))));
        for n in 0..3 {
            at(n).shutdown().await;
        }
        sky.trace.lock().unwrap().clone()
    })
}

#[test]
fn equal_seeds_give_equal_runs() {
    for seed in [1, 2] {
        let (first, second) = (run(seed), run(seed));
        assert!(first.len() > 10_000);
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs.map(|i| (i, &first[i], &second[i])), None);
        assert_eq!(first.len(), second.len());
    }
    assert_ne!(run(1).len(), run(3).len());
}
