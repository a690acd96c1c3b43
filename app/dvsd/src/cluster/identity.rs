//! Who this node is, kept over its daemon's ends: which system it belongs to, its number there, and where it
//! may find the others before it has read its log.
//!
//! The file is replaced as a whole, synced before the old one is gone: after a loss of power one of the two
//! is there.

use crate::config::Security;
use dvs_abi::NodeId;
use dvs_control::member::Key;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FILE: &str = "system.toml";
const VERSION: u32 = 1;
/// A file larger than this is none of ours.
const BYTES_MAX: u64 = 1 << 20;

/// A node as it is found.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Its number.
    pub node: u16,
    /// Its name.
    pub name: String,
    /// Where it listens, `host:port`.
    pub address: String,
    /// Its key, 64 hexadecimal digits.
    #[serde(with = "hex_key")]
    pub key: Key,
}

/// Who this node is.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    version: u32,
    /// Tells the system from every other, 32 hexadecimal digits.
    #[serde(with = "hex_system")]
    pub system: u128,
    /// This node's number in it.
    pub node: u16,
    /// Its name.
    pub name: String,
    /// How connections are protected.
    pub security: Security,
    /// Where it listens; a system of one listens nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Where the others find it.
    #[serde(default)]
    pub address: String,
    /// Its key; with plain connections a number it made up.
    #[serde(with = "hex_key")]
    pub key: Key,
    /// It only has a vote.
    #[serde(default)]
    pub witness: bool,
    /// It has founded the system.
    #[serde(default)]
    pub founder: bool,
    /// Its log was made: from then on a missing one is a lost one.
    #[serde(default)]
    pub began: bool,
    /// The others, as last known.
    #[serde(default)]
    pub contacts: Vec<Contact>,
}

impl Identity {
    /// A node that has just founded or joined a system.
    pub fn new(system: u128, node: NodeId, name: &str, security: Security, key: Key) -> Self {
        Identity {
            version: VERSION,
            system,
            node: node.0,
            name: name.into(),
            security,
            listen: None,
            address: String::new(),
            key,
            witness: false,
            founder: false,
            began: false,
            contacts: Vec::new(),
        }
    }

    /// What a folder says; nothing if this node belongs to no system yet.
    ///
    /// # Errors
    /// `InvalidData`, naming the file, when it is damaged or of a later version; of the system.
    pub fn load(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(FILE);
        let bad = |what: String| Error::new(ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        match fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::new(e.kind(), format!("{}: {e}", path.display()))),
            Ok(m) if m.len() > BYTES_MAX => return Err(bad("far too large".into())),
            Ok(_) => {}
        }
        let text = fs::read_to_string(&path).map_err(|e| bad(e.to_string()))?;
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = toml::from_str(&text).map_err(|e| bad(e.message().into()))?;
        if head.version > VERSION {
            return Err(bad(format!("it is of version {}; this program knows {VERSION}", head.version)));
        }
        let identity: Identity = toml::from_str(&text).map_err(|e| bad(e.message().into()))?;
        if usize::from(identity.node) >= dvs_abi::limits::NODES_MAX {
            return Err(bad(format!("node = {} is no node number", identity.node)));
        }
        Ok(Some(identity))
    }

    /// Writes it; on the disk when this returns.
    ///
    /// # Errors
    /// Of the system: no room, no permission.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(Error::other)?;
        let (path, new) = (dir.join(FILE), dir.join("system.toml.new"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()
    }

    /// This node belongs to no system any more: removes what only a member keeps. Its key stays.
    ///
    /// # Errors
    /// Of the system.
    pub fn forget(dir: &Path) -> io::Result<()> {
        // The identity first: without it the rest is nothing.
        for path in [dir.join(FILE), log_file(dir)] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        File::open(dir)?.sync_all()
    }

    /// Its number.
    pub fn id(&self) -> NodeId {
        NodeId(self.node)
    }
}

/// Where a node keeps the log of the control plane.
pub fn log_file(dir: &Path) -> PathBuf {
    dir.join("control.log")
}

mod hex_key {
    use dvs_control::member::Key;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &Key, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&super::hex(key))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Key, D::Error> {
        let text = String::deserialize(d)?;
        super::unhex(&text).ok_or_else(|| D::Error::custom("a key has 64 hexadecimal digits"))
    }
}

mod hex_system {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(system: &u128, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&super::hex(&system.to_be_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u128, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = super::unhex(&text).ok_or_else(|| D::Error::custom("it has 32 hexadecimal digits"))?;
        Ok(u128::from_be_bytes(bytes))
    }
}

/// Small hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{Contact, FILE, Identity};
    use crate::config::Security;
    use dvs_abi::NodeId;

    #[test]
    fn it_comes_back_and_says_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
        let mut identity = Identity::new(77, NodeId(3), "three", Security::Plain, [9; 32]);
        identity.listen = Some("127.0.0.1:1".into());
        identity.contacts.push(Contact { node: 0, name: "o".into(), address: "h:1".into(), key: [1; 32] });
        identity.save(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity));
        let file = dir.path().join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        for (from, to, word) in [
            ("version = 1", "version = 7", "version 7"),
            ("node = 3", "node = 99", "99"),
            ("0909", "zz", "64"),
        ] {
            std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
            let e = Identity::load(dir.path()).unwrap_err().to_string();
            assert!(e.contains(word) && e.contains(FILE), "{e}");
        }
        Identity::forget(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
    }
}
