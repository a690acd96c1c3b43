//! A key/value server: `key` asks, `key=value` sets. The page `docs/guide/02-a-server-in-20-lines.md` walks
//! it.

use dvs::{DcId, Endpoint, Message, Timeout};
use std::collections::HashMap;

fn main() -> dvs::Result<()> {
    let process = dvs::attach("kv-server")?;
    let port = process.bind(DcId(0), Endpoint::new(0, 1))?;
    let mut table: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut m = Message::default();
    loop {
        port.rcvrqst(&mut m, Timeout::Forever)?;
        let mut parts = m.bytes().splitn(2, |b| *b == b'=');
        let key = parts.next().unwrap_or_default().to_vec();
        let value = match parts.next() {
            Some(v) => table.insert(key, v.to_vec()),
            None => table.get(&key).cloned(),
        };
        let mut answer = Message::new(i32::from(value.is_some()));
        let _ = answer.set_bytes(&value.unwrap_or_default());
        let _ = port.reply(m.source(), &mut answer, Timeout::Forever);
    }
}
