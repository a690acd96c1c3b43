//! A key/value store that can be held back: as on a processor or a disk that is slow, or stands still.

use dvs_kv::Store;
use dvs_replica::active::Server;
use dvs_replica::call::Caller;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often one that stands still looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

/// The file that says how the replica with this store is held back: so many µs for each request, or `still`
/// until it is gone.
pub fn hold_of(store: &Path) -> PathBuf {
    store.with_extension("hold")
}

/// The store.
pub struct Held {
    store: Store,
    hold: PathBuf,
}

impl Held {
    /// An empty one.
    pub fn new(hold: &Path) -> Held {
        Held { store: Store::default(), hold: hold.to_owned() }
    }

    fn wait(&self) {
        while let Ok(text) = std::fs::read_to_string(&self.hold) {
            match text.trim().parse() {
                Ok(micros) => return std::thread::sleep(Duration::from_micros(micros)),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }
}

impl Server for Held {
    fn request(&mut self, caller: &Caller, request: &[u8]) -> Vec<u8> {
        self.wait();
        self.store.request(caller, request)
    }

    fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.store.query(request)
    }

    fn snapshot(&self) -> Vec<u8> {
        self.store.snapshot()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.store.restore(snapshot)
    }
}
