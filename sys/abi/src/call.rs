//! Call numbers, and the set of calls a descriptor may use.

/// A call; its number is also its bit in a [`CallSet`] (facts §2.0, stable).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the calls; each has its chapter in docs/reference/calls.md
pub enum Call {
    DcInit = 1,
    Send = 2,
    Receive = 3,
    Notify = 4,
    Sendrec = 5,
    Rcvrqst = 6,
    Reply = 7,
    DcEnd = 8,
    Bind = 9,
    Unbind = 10,
    GetPriv = 11,
    SetPriv = 12,
    Vcopy = 13,
    GetDcInfo = 14,
    GetProcInfo = 15,
    Relay = 16,
    ProxiesBind = 17,
    ProxiesUnbind = 18,
    GetNodeInfo = 19,
    PutToLocal = 20,
    GetToRemote = 21,
    AddNode = 22,
    DelNode = 23,
    DvsInit = 24,
    DvsEnd = 25,
    GetEp = 26,
    GetDvsInfo = 27,
    ProxyConn = 28,
    Wait4bind = 29,
    Migrate = 30,
    NodeUp = 31,
    NodeDown = 32,
    GetProxyInfo = 33,
    Wakeup = 34,
}

/// A set of calls, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallSet(pub u64);

impl CallSet {
    /// Every call.
    pub const ALL: CallSet = CallSet((1 << 35) - 1);
    /// What a user process has unless given more (facts §1.8).
    pub const USER: CallSet = CallSet(
        1 << Call::Sendrec as u64
            | 1 << Call::Unbind as u64
            | 1 << Call::GetEp as u64
            | 1 << Call::Wait4bind as u64,
    );

    /// Whether `call` is in the set.
    pub const fn has(self, call: Call) -> bool {
        self.0 & 1 << call as u64 != 0
    }

    /// The set with `call`.
    pub const fn with(self, call: Call) -> Self {
        CallSet(self.0 | 1 << call as u64)
    }

    /// The set without `call`.
    pub const fn without(self, call: Call) -> Self {
        CallSet(self.0 & !(1 << call as u64))
    }
}
