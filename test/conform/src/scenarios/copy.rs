//! vcopy and grants (facts §7.6, and §7.7 for the far ones): the same scripts wherever the parties are.

use crate::act::Act;
use crate::actor::pattern_hash;
use crate::say::{any, call, ep, fill, hash, lend, msg, readable, reply, send, vcopy, writable};
use crate::word::{At, Range};
use crate::world::{Pending, Player, Site, World};
use dvs_abi::{Code, Endpoint, Fault};

const MIB: u64 = 1 << 20;

fn pair(w: &mut World) -> (Player, Player) {
    (w.bound("server", Site::A, 10), w.bound("client", Site::B, 11))
}

/// `c` calls `s`, which takes the request, so that its grants are open.
fn lent(s: &Player, c: &Player, ranges: &[Range]) -> Pending {
    let called = c.start(lend(s.ep(), msg(7, b"copy"), ranges));
    s.run(any()).from(c.ep(), 7);
    called
}

fn done(s: &Player, c: &Player, called: Pending) {
    s.run(reply(c.ep(), msg(8, b""))).ok();
    called.wait().from(s.ep(), 8);
}

#[track_caller]
fn holds(p: &Player, at: u64, len: u64, seed: u64) {
    assert_eq!(p.run(hash(at, len)).ok().fact::<u64>("hash"), pattern_hash(seed, len), "{len} at {at}");
}

/// 91: from the server into the client that called it.
pub fn server_to_client(w: &mut World) {
    let (s, c) = pair(w);
    s.run(fill(0, 5_000, 1)).ok();
    let called = lent(&s, &c, &[writable(100, 5_000)]);
    s.run(Act::CopyOut { dst: c.ep(), to: At::Grant(0, 0), from: 0, len: 5_000 }).ok();
    done(&s, &c, called);
    holds(&c, 100, 5_000, 1);
}

/// 92: from the client into the server.
pub fn client_to_server(w: &mut World) {
    let (s, c) = pair(w);
    c.run(fill(7, 5_000, 2)).ok();
    let called = lent(&s, &c, &[readable(7, 5_000)]);
    s.run(Act::CopyIn { src: c.ep(), from: At::Grant(0, 0), to: 3, len: 5_000 }).ok();
    done(&s, &c, called);
    holds(&s, 3, 5_000, 2);
}

/// 93, 106: between two clients, ordered by the server both wait for.
pub fn third_party(w: &mut World) {
    let (s, c) = pair(w);
    let d = w.bound("second", Site::C, 12);
    c.run(fill(0, 300_000, 3)).ok();
    let one = lent(&s, &c, &[readable(0, 300_000)]);
    let two = lent(&s, &d, &[writable(1, 300_000)]);
    s.run(vcopy(c.ep(), At::Grant(0, 0), d.ep(), At::Grant(0, 0), 300_000)).ok();
    done(&s, &c, one);
    done(&s, &d, two);
    holds(&d, 1, 300_000, 3);
}

/// 94: the other party does not wait for the requester.
pub fn party_not_blocked(w: &mut World) {
    let (s, c) = pair(w);
    let address = At::Address(0x10_0000);
    s.run(Act::CopyIn { src: c.ep(), from: address, to: 0, len: 16 }).err_in(&[Code::PROCSTS, Code::FAULT]);
    s.run(Act::CopyOut { dst: c.ep(), to: address, from: 0, len: 16 }).err_in(&[Code::PROCSTS, Code::FAULT]);
    s.run(Act::CopyIn { src: ep(20), from: address, to: 0, len: 16 }).err_in(&[
        Code::SRCDIED,
        Code::PROCSTS,
        Code::FAULT,
    ]);
}

/// 95: between an endpoint and itself, and from nobody.
pub fn wrong_parties(w: &mut World) {
    let (s, c) = pair(w);
    let called = lent(&s, &c, &[Range { access: dvs_abi::Access::ReadWrite, offset: 0, length: 100 }]);
    let start = At::Grant(0, 0);
    s.run(vcopy(c.ep(), start, c.ep(), At::Grant(0, 50), 10)).err(Code::ENDPOINT);
    let at = At::Address(0);
    for nobody in [Endpoint::ANY, Endpoint::NONE] {
        s.run(vcopy(nobody, at, c.ep(), start, 10)).err(Code::ENDPOINT);
        s.run(vcopy(c.ep(), start, nobody, at, 10)).err(Code::ENDPOINT);
    }
    s.run(vcopy(Endpoint::HARDWARE, at, c.ep(), start, 10)).err_in(&[Code::BADDEST, Code::ENDPOINT]);
    s.run(vcopy(ep(16_000), at, c.ep(), start, 10)).err(Code::RANGE);
    done(&s, &c, called);
}

/// 96: more bytes than one copy may have.
pub fn too_many_bytes(w: &mut World) {
    let (s, c) = pair(w);
    let called = lent(&s, &c, &[readable(0, 100)]);
    for far in [dvs_abi::limits::COPY_BYTES_MAX + 1, u64::MAX] {
        s.run(vcopy(c.ep(), At::Grant(0, 0), ep(12), At::Address(0), far)).err(Code::RANGE);
    }
    done(&s, &c, called);
}

/// 97, 107: every size, at odd addresses, in both directions, byte by byte.
pub fn every_size(w: &mut World) {
    let (s, c) = pair(w);
    for (i, len) in [0, 1, 4_095, 4_096, 4_097, 65_536, 262_144, 524_288, MIB].into_iter().enumerate() {
        let (there, back) = (i as u64 * 2 + 1, i as u64 * 2 + 2);
        c.run(fill(13, len, there)).ok();
        s.run(fill(5, len, back)).ok();
        let called = lent(&s, &c, &[readable(13, len.max(1)), writable(2 * MIB + 3, len.max(1))]);
        s.run(Act::CopyIn { src: c.ep(), from: At::Grant(0, 0), to: 2 * MIB + 1, len }).ok();
        s.run(Act::CopyOut { dst: c.ep(), to: At::Grant(1, 0), from: 5, len }).ok();
        done(&s, &c, called);
        holds(&s, 2 * MIB + 1, len, there);
        holds(&c, 2 * MIB + 3, len, back);
    }
}

/// 98: outside the grant is out of reach: before, behind, across its end, wrapping, and against its access.
pub fn outside_the_grant(w: &mut World) {
    let (s, c) = pair(w);
    c.run(fill(0, 8_192, 4)).ok();
    let called = lent(&s, &c, &[readable(4_096, 1_000), writable(8_192, 100)]);
    let at = |n, offset, len| Act::CopyIn { src: c.ep(), from: At::Grant(n, offset), to: 0, len };
    for act in [at(0, 1_000, 1), at(0, 999, 2), at(0, u64::MAX, 1), at(0, 0, 1_001)] {
        s.run(act).err_of(Code::FAULT, Fault::Caller, dvs_abi::Effect::No);
    }
    s.run(Act::CopyOut { dst: c.ep(), to: At::Grant(0, 0), from: 0, len: 10 }).err(Code::FAULT);
    s.run(Act::CopyIn { src: c.ep(), from: At::Address(0), to: 0, len: 8 }).err(Code::FAULT);
    s.run(Act::CopyIn { src: c.ep(), from: At::Address(u64::MAX - 4), to: 0, len: 8 }).err(Code::FAULT);
    s.run(at(0, 0, 1_000)).ok();
    done(&s, &c, called);
    s.run(Act::CopyIn { src: c.ep(), from: At::Address(4_096), to: 0, len: 8 })
        .err_in(&[Code::FAULT, Code::PROCSTS]);
}

/// 99: SELF as source and as destination.
pub fn self_as_party(w: &mut World) {
    let (s, c) = pair(w);
    s.run(fill(0, 10_000, 5)).ok();
    c.run(fill(0, 10_000, 6)).ok();
    let called = lent(&s, &c, &[readable(0, 10_000), writable(20_000, 10_000)]);
    s.run(vcopy(Endpoint::SELF, At::Own(0), c.ep(), At::Grant(1, 0), 10_000)).ok();
    s.run(vcopy(c.ep(), At::Grant(0, 0), Endpoint::SELF, At::Own(50_000), 10_000)).ok();
    done(&s, &c, called);
    holds(&c, 20_000, 10_000, 5);
    holds(&s, 50_000, 10_000, 6);
}

/// A grant ends with its call.
pub fn grant_ends_with_the_call(w: &mut World) {
    let (s, c) = pair(w);
    let called = lent(&s, &c, &[readable(0, 100), writable(200, 50)]);
    let grants = s.run(Act::Grants { client: c.ep() }).ok();
    assert_eq!(grants.fact::<Vec<u64>>("lengths"), [100, 50]);
    assert_eq!(grants.fact::<Vec<u32>>("access"), [1, 3]);
    done(&s, &c, called);
    assert!(s.run(Act::Grants { client: c.ep() }).ok().fact::<Vec<u64>>("lengths").is_empty());
    let called = c.start(call(s.ep(), msg(9, b"without")));
    s.run(any()).from(c.ep(), 9);
    assert!(s.run(Act::Grants { client: c.ep() }).ok().fact::<Vec<u64>>("lengths").is_empty());
    s.run(Act::CopyIn { src: c.ep(), from: At::Address(0x1000), to: 0, len: 8 }).err(Code::FAULT);
    s.run(send(c.ep(), msg(8, b""))).ok();
    called.wait().from(s.ep(), 8);
}

/// More grants than a call can have.
pub fn too_many_grants(w: &mut World) {
    let (s, c) = pair(w);
    let ranges: Vec<Range> = (0..5).map(|i| readable(i * 100, 50)).collect();
    c.run(lend(s.ep(), msg(7, b""), &ranges)).err_in(&[Code::TOOBIG, Code::INVAL, Code::RANGE]);
    s.run(crate::say::poll()).err(Code::AGAIN);
}

/// The client gives up in the middle of being copied from: the copy fails or was whole, nobody hangs.
pub fn client_leaves(w: &mut World) {
    let (s, c) = pair(w);
    let ranges = vec![readable(0, MIB)];
    let called = c.start(Act::Sendrec { dst: s.ep(), m: msg(7, b""), lends: ranges, t: crate::say::ms(100) });
    s.run(any()).from(c.ep(), 7);
    called.wait().err(Code::TIMEDOUT);
    s.run(Act::CopyIn { src: c.ep(), from: At::Address(0x1000), to: 0, len: 100 })
        .err_in(&[Code::FAULT, Code::PROCSTS]);
}
