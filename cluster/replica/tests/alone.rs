//! Replicas of a group of one, in one process: what does not need a second node.

use dvs_abi::{DcId, Endpoint, NodeId, Timeout};
use dvs_ipc::Process;
use dvs_replica::call::Caller;
use dvs_replica::passive::{Plan as Change, Server};
use dvs_replica::service::Service;
use dvs_replica::{Active, CallError, Client, Passive, Plan, Replica, Seats, active};
use std::path::Path;
use std::time::Duration;

const DC: DcId = DcId(0);
const SERVICE: Endpoint = Endpoint::new(0, 3);

/// Adds what it is told, and answers the sum; a request longer than a number answers its length.
#[derive(Default)]
struct Sum(u64);

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(bytes.len() as u64, u64::from_le_bytes)
}

impl active::Server for Sum {
    fn request(&mut self, _: &Caller, request: &[u8]) -> Vec<u8> {
        self.0 += number(request);
        self.0.to_le_bytes().to_vec()
    }
    fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        (request.len() < 9).then(|| vec![7; number(request) as usize])
    }
    fn snapshot(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
    fn restore(&mut self, s: &[u8]) -> Result<(), String> {
        self.0 = u64::from_le_bytes(s.try_into().map_err(|_| "eight bytes are a sum")?);
        Ok(())
    }
}

impl Server for Sum {
    fn plan(&self, _: &Caller, request: &[u8]) -> Change {
        let answer = (self.0 + number(request)).to_le_bytes().to_vec();
        Change { change: (number(request) > 0).then(|| answer.clone()), answer }
    }
    fn change(&mut self, change: &[u8]) {
        self.0 = number(change);
    }
    fn snapshot(&self) -> Vec<u8> {
        active::Server::snapshot(self)
    }
    fn restore(&mut self, s: &[u8]) -> Result<(), String> {
        active::Server::restore(self, s)
    }
}

/// Serves while `work` runs; gives how many entries the log has then.
fn serving<M: Service>(process: &Process, store: &Path, machine: M, work: impl FnOnce()) -> u64 {
    let seats = Seats::new(DC, SERVICE, &[NodeId(0)]).unwrap();
    let plan = Plan::new(seats, store.to_owned());
    let replica = Replica::start(process, &plan, machine).unwrap();
    let stopper = replica.stopper();
    std::thread::scope(|s| {
        let serving = s.spawn(|| replica.serve());
        work();
        stopper.stop();
        serving.join().unwrap().unwrap();
        replica.node().unwrap().status().last
    })
}

fn client(process: &Process) -> Client<dvs::ThreadWait> {
    let port = process.bind(DC, Endpoint::NONE).unwrap();
    Client::new(port, SERVICE).with_timeout(Timeout::After(Duration::from_secs(60)))
}

fn add_from_many(process: &Process, clients: u64, calls: u64) {
    std::thread::scope(|s| {
        for _ in 0..clients {
            let client = client(process);
            s.spawn(move || (0..calls).for_each(|_| drop(client.call(&1_u64.to_le_bytes()).unwrap())));
        }
    });
}

#[test]
fn calls_of_many_clients_go_into_the_log_together() {
    let (process, folder) = (dvs::alone(), tempfile::tempdir().unwrap());
    let store = folder.path().join("a.log");
    let entries = serving(&process, &store, Active::new(Sum::default()), || {
        add_from_many(&process, 64, 50);
        assert_eq!(client(&process).call(&0_u64.to_le_bytes()).unwrap(), 3200_u64.to_le_bytes());
    });
    assert!(entries < 1600, "{entries} entries for 3200 calls");
    // Another start, on what is on the disk.
    serving(&process, &store, Active::new(Sum::default()), || {
        assert_eq!(client(&process).call(&1_u64.to_le_bytes()).unwrap(), 3201_u64.to_le_bytes());
    });
}

#[test]
fn a_passive_server_does_what_it_planned_and_nothing_twice() {
    let (process, folder) = (dvs::alone(), tempfile::tempdir().unwrap());
    serving(&process, &folder.path().join("p.log"), Passive::new(Sum::default()), || {
        add_from_many(&process, 8, 20);
        assert_eq!(client(&process).query(&0_u64.to_le_bytes()).unwrap(), 160_u64.to_le_bytes());
    });
}

#[test]
fn large_requests_and_answers_are_carried_and_larger_ones_refused() {
    let (process, folder) = (dvs::alone(), tempfile::tempdir().unwrap());
    serving(&process, &folder.path().join("l.log"), Active::new(Sum::default()), || {
        let client = client(&process);
        let mut sum = 0;
        for bytes in [9, 160, 161, 31 << 10, (31 << 10) + 1, 100_000, 1 << 20] {
            sum += bytes as u64;
            assert_eq!(client.call(&vec![1; bytes]).unwrap(), sum.to_le_bytes(), "{bytes}");
        }
        for bytes in [0, 176, 177, 36 << 10, (36 << 10) + 1, 1 << 20] {
            assert_eq!(client.query(&(bytes as u64).to_le_bytes()).unwrap(), vec![7; bytes]);
        }
        let too_large = client.call(&vec![1; 2 << 20]);
        assert!(matches!(too_large, Err(CallError::TooLarge(_))), "{too_large:?}");
        assert_eq!(client.query(&(2_u64 << 20).to_le_bytes()), Err(CallError::AnswerTooLarge));
        assert_eq!(client.query(&[1; 100]), Err(CallError::Malformed), "it is no query");
    });
}

#[test]
fn without_a_replica_a_call_ends_with_the_truth() {
    let process = dvs::alone();
    let client = client(&process).with_timeout(Timeout::After(Duration::from_millis(50)));
    assert!(matches!(client.call(b"x"), Err(CallError::Nobody(_))));
}
