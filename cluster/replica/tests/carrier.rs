//! Two seats in one process: letters arrive, strangers are not listened to, a replica that comes back is
//! followed.

use dvs_abi::{Code, DcId, Endpoint, NodeId, Timeout};
use dvs_ipc::Process;
use dvs_replica::carrier::Carrier;
use dvs_replica::letter::Letter;
use dvs_replica::list::List;
use dvs_replica::seats::seat_of;
use dvs_replica::wire;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

const DC: DcId = DcId(0);
const LONG: Duration = Duration::from_secs(60);

const SERVICE: Endpoint = Endpoint::new(0, 3);

fn list() -> List {
    List::founding(&[NodeId(0), NodeId(1)])
}

/// A seat with its threads; ends with the value.
struct Seat {
    carrier: Arc<Carrier>,
    letters: mpsc::Receiver<(NodeId, Letter)>,
    threads: Vec<JoinHandle<()>>,
}

impl Seat {
    fn take(process: &Process, me: usize) -> Seat {
        let (carrier, other) = (Carrier::new(process, (DC, SERVICE), list(), me), 1 - me);
        let (tell, letters) = mpsc::channel();
        let port = process.bind(DC, seat_of(SERVICE, me)).unwrap();
        let sender = process.bind(DC, Endpoint::NONE).unwrap();
        let (c, d) = (carrier.clone(), carrier.clone());
        let inbox = move |from, all: Vec<Letter>| all.into_iter().for_each(|l| drop(tell.send((from, l))));
        let listen = move || assert_eq!(c.run_seat(&port, &inbox, &|_| None).code, Code::SHUTDOWN);
        let send = move || drop(d.run_sender(other, &sender));
        let threads = vec![std::thread::spawn(listen), std::thread::spawn(send)];
        Seat { carrier, letters, threads }
    }

    /// Sends until one arrives: the other side may not be there, or not know yet who sends.
    fn reaches(&self, to: u16, other: &Seat, letter: &Letter) {
        for _ in 0..600 {
            self.carrier.send(NodeId(to), letter.clone());
            if let Ok((from, got)) = other.letters.recv_timeout(LONG / 600) {
                assert_eq!((from, &got), (NodeId(1 - to), letter));
                return;
            }
        }
        panic!("{letter:?} does not arrive");
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.carrier.close();
        self.threads.drain(..).for_each(|t| t.join().unwrap());
    }
}

#[test]
fn letters_arrive_whole_and_a_seat_that_comes_back_is_followed() {
    let process = dvs::alone();
    let first = Seat::take(&process, 0);
    for n in 0..3_u8 {
        let second = Seat::take(&process, 1);
        first.reaches(1, &second, &Letter::Fresh(5, 1));
        second.reaches(0, &first, &Letter::Log(vec![n; 60_000]));
        first.reaches(1, &second, &Letter::Log(vec![n; 100]));
        drop(second);
        while first.letters.try_recv().is_ok() {}
    }
}

#[test]
fn what_a_stranger_says_in_the_name_of_a_replica_is_not_taken() {
    let process = dvs::alone();
    let (first, second) = (Seat::take(&process, 0), Seat::take(&process, 1));
    second.reaches(0, &first, &Letter::Fresh(5, 1));
    let stranger = process.bind(DC, Endpoint::NONE).unwrap();
    let mut parcel = Vec::new();
    Letter::Welcome(5).pack(&mut parcel);
    for seat in 0..4 {
        let mut m = wire::encode_parcel(seat, NodeId(seat as u16), NodeId(0), &parcel);
        stranger.sendrec(seat_of(SERVICE, 0), &mut m, Timeout::After(LONG)).unwrap();
        assert!(!wire::decode_receipt(&m).is_some_and(|r| r.taken), "claims seat {seat}");
    }
    second.reaches(0, &first, &Letter::Log(vec![1]));
    assert!(first.letters.try_iter().all(|(_, l)| l != Letter::Welcome(5)));
}
