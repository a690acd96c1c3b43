//! Machines crash with what was not synced, are started and cut off at random under load: what was
//! acknowledged is there, once; what was refused is not; what is unknown is there at most once; and all have
//! the same.

mod world;

use dvs_abi::Effect;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use world::{LONG, World};

const MEMBERS: u16 = 3;
const ROUNDS: usize = 12;

/// A fixed sequence of lots.
struct Lots(u64);

impl Lots {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Proposes until told to stop, at whichever member runs; notes what it was told.
fn client(world: &Mutex<World>, number: u64, stop: &AtomicBool) -> Vec<(String, Option<Effect>)> {
    let mut told = Vec::new();
    let mut lots = Lots(number + 1);
    while !stop.load(Ordering::SeqCst) {
        let node = lots.draw(u64::from(MEMBERS)) as u16;
        let Some((group, gone)) = world.lock().unwrap().find_watched(node) else { continue };
        let text = format!("{number}.{}", told.len());
        let result = group.propose(text.clone().into_bytes(), Duration::from_millis(700));
        // A machine that crashed tells nobody anything.
        let heard = if gone.is_set() { Some(Effect::Unknown) } else { result.err().map(|e| e.effect()) };
        told.push((text, heard));
    }
    told
}

/// Kills or cuts off one member, waits until the others have done more, and takes it back.
fn round(world: &Mutex<World>, lots: &mut Lots) {
    let victim = lots.draw(u64::from(MEMBERS)) as u16;
    let other = (victim + 1 + lots.draw(2) as u16) % MEMBERS;
    let kill = lots.draw(3) > 0;
    let before = {
        let mut world = world.lock().unwrap();
        if kill {
            world.kill(victim)
        } else {
            world.cut(victim, true)
        };
        world.at(other).status().applied
    };
    let group = world.lock().unwrap().find(other).unwrap();
    group.wait(move |s| s.applied > before + 20, LONG).expect("two of three go on");
    drop(group);
    let mut world = world.lock().unwrap();
    if kill {
        world.start(victim)
    } else {
        world.cut(victim, false)
    };
}

#[test]
fn acknowledged_is_never_lost_and_nothing_is_done_twice() {
    let mut first = World::on_ram(MEMBERS);
    first.timing.snapshot_after = 300;
    first.timing.kept = 100;
    let world = Mutex::new(first);
    let (stop, mut lots) = (AtomicBool::new(false), Lots(0x5eed));
    let told: Vec<(String, Option<Effect>)> = std::thread::scope(|s| {
        let clients: Vec<_> = (0..4)
            .map(|n| {
                s.spawn({
                    let (world, stop) = (&world, &stop);
                    move || client(world, n, stop)
                })
            })
            .collect();
        for _ in 0..ROUNDS {
            round(&world, &mut lots);
        }
        stop.store(true, Ordering::SeqCst);
        clients.into_iter().flat_map(|c| c.join().unwrap()).collect()
    });
    let world = world.into_inner().unwrap();
    let diary = world.diary(0);
    for node in 1..MEMBERS {
        assert_eq!(world.diary(node), diary);
    }
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    diary.iter().for_each(|c| *times.entry(c).or_default() += 1);
    let mut counts = [0; 3];
    for (text, effect) in &told {
        let done = times.get(text.as_str()).copied().unwrap_or(0);
        match effect {
            None => assert_eq!(done, 1, "{text} was acknowledged"),
            Some(Effect::No) => assert_eq!(done, 0, "{text} was refused"),
            Some(_) => assert!(done <= 1, "{text} was unknown"),
        }
        counts[effect.map_or(0, |e| if e == Effect::No { 1 } else { 2 })] += 1;
    }
    println!("{} acknowledged, {} refused, {} unknown", counts[0], counts[1], counts[2]);
    assert!(counts[0] > 100);
}
