//! Numbers go up by one, over restarts of the replica.

use dvs::{DcId, Endpoint, NodeId};
use dvs_replica::Client;
use dvs_tickets::{SERVICE, replica};

const DC: DcId = DcId(0);

#[test]
fn no_number_is_handed_out_twice_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let process = dvs::alone();
    let client = Client::new(process.bind(DC, Endpoint::NONE).unwrap(), SERVICE);
    let mut expected = 0_u64;
    for _ in 0..3 {
        let replica = replica(&process, DC, &[NodeId(0)], folder.path()).unwrap();
        let stopper = replica.stopper();
        let serving = std::thread::spawn(move || replica.serve());
        for _ in 0..5 {
            expected += 1;
            assert_eq!(client.call(b"").unwrap(), expected.to_le_bytes());
        }
        assert_eq!(client.query(b"last").unwrap(), expected.to_le_bytes());
        stopper.stop();
        serving.join().unwrap().unwrap();
    }
}
