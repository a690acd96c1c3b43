//! The grants of one call, in a bounded list.

use dvs_abi::limits::GRANTS_PER_CALL;
use dvs_abi::{Access, Grant};

const NOTHING: Grant = Grant { address: 0, length: 0, access: Access::Read };

/// Up to [`GRANTS_PER_CALL`] grants.
///
/// ```
/// use dvs_abi::{Access, Grant};
/// use dvs_ipc::lane::GrantList;
/// let mut list = GrantList::default();
/// list.push(Grant { address: 64, length: 8, access: Access::Read }).unwrap();
/// assert_eq!(list.as_slice()[0].length, 8);
/// assert!(list.covers(66, 2, Access::Read) && !list.covers(66, 2, Access::Write));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GrantList {
    grants: [Grant; GRANTS_PER_CALL],
    len: usize,
}

impl Default for GrantList {
    fn default() -> Self {
        GrantList { grants: [NOTHING; GRANTS_PER_CALL], len: 0 }
    }
}

impl GrantList {
    /// The grants.
    pub fn as_slice(&self) -> &[Grant] {
        &self.grants[..self.len]
    }

    /// Empties the list.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds one.
    ///
    /// # Errors
    /// Gives the grant back when the list is full.
    pub fn push(&mut self, grant: Grant) -> Result<(), Grant> {
        let place = self.grants.get_mut(self.len).ok_or(grant)?;
        *place = grant;
        self.len += 1;
        Ok(())
    }

    /// Whether one grant covers the whole range with that access.
    pub fn covers(&self, address: u64, length: u64, wanted: Access) -> bool {
        self.as_slice().iter().any(|g| g.covers(address, length, wanted))
    }
}
