//! Every bound of the system, with its reason. Relations between them are checked when this file compiles.
//!
//! Nothing in the system grows without one of these; what is full answers with an error that names the bound.

/// Nodes of one system. One bit a node in a 32-bit map (facts §1.2).
pub const NODES_MAX: usize = 32;
/// Containers of one system.
pub const DCS_MAX: usize = 32;
/// Negative slots: three fixed tasks and one system task a node (facts §1.2).
pub const TASKS_MAX: i32 = 35;
/// Slots from zero up that a container can have; below the smallest reserved endpoint value, 0x6ace.
pub const PROCS_MAX: i32 = 16_384;
/// Slots from zero up that a container has unless it asks for others (facts: 221; ours leaves room).
pub const PROCS_DEFAULT: i32 = 12_288;
/// Tasks and servers together: the "system" prefix of the table (facts §1.2).
pub const SYSPROCS_MAX: i32 = 96;
/// The prefix a container has unless it asks otherwise.
pub const SYSPROCS_DEFAULT: i32 = 64;
/// Distance between two generations of a slot (facts §1.4).
pub const GENERATION_SIZE: i32 = TASKS_MAX + 0x8ace + 1;

/// A message, header included.
pub const MESSAGE_BYTES: usize = 256;
/// The header of a message.
pub const HEADER_BYTES: usize = 64;
/// What a message carries inline; more travels by copy through grants.
pub const INLINE_BYTES: usize = MESSAGE_BYTES - HEADER_BYTES;
/// Ranges of memory one call can lend.
pub const GRANTS_PER_CALL: usize = 4;
/// Bytes of one copy (facts: 1 MiB; ours allows more, it is pipelined and not in kernel memory).
pub const COPY_BYTES_MAX: u64 = 1 << 30;
/// One chunk of a remote copy: large enough to hide a round trip, small enough for the cache.
pub const COPY_CHUNK_BYTES: usize = 256 << 10;
/// Bytes copied while a caller is held in its call; between two such pieces it can leave.
pub const COPY_HOLD_BYTES: u64 = 4 << 20;
/// Name of a node, container or endpoint (facts §1.2: 16 with the terminator).
pub const NAME_BYTES: usize = 15;

/// Sessions (processes) a daemon serves.
pub const SESSIONS_MAX: usize = 1024;
/// Sessions of one process: it needs one, a test with many homes some; the rest of the table is for others.
pub const PROCESS_SESSIONS_MAX: usize = 128;
/// Records a session has not read yet above which the daemon reads no request of it: who asks and does not
/// listen waits.
pub const SESSION_BACKLOG_MAX: usize = 1024;
/// Endpoints of one session.
pub const SESSION_ENDPOINTS_MAX: usize = 16_384;
/// Endpoints of one node over all containers.
pub const NODE_ENDPOINTS_MAX: usize = 32_768;
/// Links (pairs of sessions with shared memory) of one session.
pub const SESSION_LINKS_MAX: usize = 1024;
/// Lanes in one link; a pair that needs more gets a further link.
pub const LINK_LANES_MAX: usize = 64;
/// Lanes of one session; a session that opens endpoints or peers without end stops here.
pub const SESSION_LANES_MAX: usize = 32_768;
/// Records a session has not read yet; one that lets more pile up is dropped. Twice the lanes it may have, as
/// every lane may be opened and closed while it is stopped.
pub const SESSION_QUEUE_MAX: usize = 2 * SESSION_LANES_MAX;
/// Administrators connected at a time.
pub const ADMINS_MAX: usize = 64;
/// Parts of answers an administrator has not read yet; one that lets more pile up is dropped. All rows of all
/// nodes fit.
pub const ADMIN_QUEUE_MAX: usize = 4096;
/// Events a daemon remembers for its log.
pub const LOG_EVENTS_MAX: usize = 1024;
/// Links between one pair of sessions: 10,240 lanes, enough for 10,000 endpoints on either side.
pub const PAIR_LINKS_MAX: usize = 160;
/// Requests of one session that wait at its daemon: one for each endpoint it may have, and some.
pub const SESSION_WAITS_MAX: usize = SESSION_ENDPOINTS_MAX;
/// Endpoints one session may ask to hear the end of.
pub const SESSION_WATCHES_MAX: usize = SESSION_ENDPOINTS_MAX;
/// Ends of processes an endpoint is to be told of and has not received; further ones are not told. One for
/// each endpoint of a node.
pub const WARNINGS_MAX: usize = NODE_ENDPOINTS_MAX;
/// Calls a server may have consumed and not answered; the next receive waits for a reply to go out.
pub const UNANSWERED_MAX: usize = 65_536;

/// One frame between nodes on the message stream: a message, its grants and room for control records.
pub const FRAME_BYTES_MAX: usize = 64 << 10;
/// One frame on the bulk stream: a chunk and its header.
pub const BULK_FRAME_BYTES_MAX: usize = COPY_CHUNK_BYTES + 4096;
/// Frames that may be in flight to a peer node before it has confirmed any (credit of the message stream).
pub const CREDIT_FRAMES: u32 = 4096;
/// Bytes that may be in flight to a peer node on the bulk stream.
pub const CREDIT_BULK_BYTES: u64 = 8 << 20;
/// Frames that wait for credit to a node: an answer a call of theirs, a cancellation a call of ours, and
/// control records.
pub const ROUTE_HELD_MAX: usize = 4 * SESSION_LANES_MAX;
/// Control records among these, in bytes (a record counts [`RECORD_COST`] more than its length). A node for
/// which more waits takes too little of what it is sent: the session with it ends.
pub const ROUTE_HELD_BYTES: usize = 32 << 20;
/// Pairs of a caller elsewhere and a callee here that a daemon remembers: as many as its proxy has lanes.
pub const ROUTE_PAIRS_MAX: usize = SESSION_LINKS_MAX * LINK_LANES_MAX;
/// Calls of one pair that wait for the lane: those whose caller left, and the one it is in.
pub const ROUTE_QUEUE_MAX: usize = 8;
/// Copies between nodes that are under way at a daemon, ordered here or there: one for each endpoint.
pub const ROUTE_COPIES_MAX: usize = SESSION_ENDPOINTS_MAX;
/// Copies into the memory of one call that its server has had announced and that have not begun: as many as a
/// server starts at a time. A further one takes the place of the oldest.
pub const CALL_WRITERS_MAX: usize = 16;
/// Control records of one peer node that the daemon has not taken, in bytes (a record counts
/// [`RECORD_COST`] more than its length); then nothing more is read from that node until it has. A
/// burst of the largest ones, and some milliseconds of work.
pub const PEER_BACKLOG_BYTES: usize = 4 << 20;
/// What the daemon takes from its proxy before it looks at its own sessions again.
pub const PROXY_TURN_MAX: usize = 1024;
/// One control record (session or administration socket).
pub const CONTROL_BYTES_MAX: usize = 64 << 10;

/// Commands of a node that wait for the log at a time: containers, slots, administrators and machines at the
/// door together.
pub const DECISIONS_MAX: usize = 4096;
/// What a node says of its endpoints before the log says here that it is up: a little more than all it can
/// have bound.
pub const EARLY_RECORDS_MAX: usize = 16 << 10;
/// Tokens to join that are neither used nor over.
pub const TOKENS_MAX: usize = 64;
/// Callers whose last answer a replicated server keeps,
pub const REPLICA_CALLERS_MAX: usize = 16_384;
/// and bytes of these answers; beyond, those that called longest ago are forgotten.
pub const REPLICA_KEPT_BYTES_MAX: usize = 64 << 20;
/// Replicas of one service: as many as a log has voters. Each has a slot of its own behind the service's.
pub const REPLICA_SEATS_MAX: usize = LOG_VOTERS_MAX;
/// One request of a replicated server, in parts of at most a command of the log: a value of a mebibyte, its
/// key and the envelope.
pub const REPLICA_REQUEST_BYTES_MAX: usize = (1 << 20) + (8 << 10);
/// One answer of a replicated server that comes from no log but from its state.
pub const REPLICA_ANSWER_BYTES_MAX: usize = (1 << 20) + (8 << 10);
/// Bytes of a large request in one entry of the log: with its envelope it is a command.
pub const REPLICA_PART_BYTES: usize = 31 << 10;
/// Parts of requests that are not complete, in bytes, over all callers; beyond, those that were begun longest
/// ago are dropped and have to be sent anew.
pub const REPLICA_PARTS_BYTES_MAX: usize = 32 << 20;
/// Callers a replica has taken up and not answered; further ones are told that it is full.
pub const REPLICA_WAITING_MAX: usize = 4096;
/// Bytes of their requests; as above.
pub const REPLICA_WAITING_BYTES_MAX: usize = 64 << 20;
/// A replica that is more entries behind what it knows to be decided, for [`REPLICA_BEHIND_NS`], sends its
/// callers elsewhere: a tenth of a second of the most that a group does.
pub const REPLICA_BEHIND_ENTRIES: u64 = 1000;
/// For so long: longer than a burst, a snapshot or a slow sync takes, and about as long as callers wait when
/// a leader dies. Of one whose member stands still, since when it does.
pub const REPLICA_BEHIND_NS: u64 = 500_000_000;
/// It takes callers again when it is no more entries behind than this,
pub const REPLICA_NEAR_ENTRIES: u64 = 100;
/// for so long: what it comes and goes by are two decisions of all nodes.
pub const REPLICA_NEAR_NS: u64 = 1_000_000_000;
/// A leader that was heard so long ago is heard: ten of its signs of life. Who hears none keeps its callers.
pub const REPLICA_HEARD_NS: u64 = 1_000_000_000;
/// Letters of a replica to another one that wait, in bytes: some snapshots' pieces, and all that a group
/// says in a second; then the oldest are lost, as on a network.
pub const REPLICA_OUTBOX_BYTES_MAX: usize = 8 << 20;
/// Letters carried by one call between replicas, in bytes: one chunk of a copy.
pub const REPLICA_PARCEL_BYTES_MAX: usize = COPY_CHUNK_BYTES;
/// Key/value service: bytes of a key,
pub const KV_KEY_BYTES_MAX: usize = 1 << 10;
/// and of a value.
pub const KV_VALUE_BYTES_MAX: usize = 1 << 20;
/// Key/value service: keys and values together; they are in memory, and twice during a snapshot.
pub const KV_STORE_BYTES_MAX: usize = 256 << 20;
/// Key/value service: pairs in one page of a list.
pub const KV_PAGE_MAX: u32 = 4096;
/// Addresses in a token.
pub const TOKEN_ADDRESSES_MAX: usize = 4;
/// What a machine that wants to join says, or is answered: the list of all nodes with four addresses each,
/// and some. With its head it fits [`FRAME_BYTES_MAX`].
pub const KNOCK_BYTES_MAX: usize = 60 << 10;
/// Machines that knock at a node at a time; each holds a thread until it is answered.
pub const KNOCKS_MAX: usize = 8;
/// Addresses that a node remembers having knocked.
pub const KNOCK_SOURCES_MAX: usize = 256;
/// Between two knocks from one address, once it knocked [`KNOCKS_MAX`] times in a row: twenty machines behind
/// one address are in after three seconds.
pub const KNOCK_EVERY_NS: u64 = 250_000_000;
/// After a knock that was refused its address waits so long, after each further one twice as long,
pub const KNOCK_PAUSE_FIRST_NS: u64 = 1_000_000_000;
/// and at most so long.
pub const KNOCK_PAUSE_MAX_NS: u64 = 64_000_000_000;
/// How long the daemon may take to answer a knock: elections included; then the door closes.
pub const KNOCK_WAIT_NS: u64 = 10_000_000_000;
/// Slots a node asks for at a time, at least,
pub const LEASE_ASK_MIN: u32 = 4;
/// and at most.
pub const LEASE_ASK_MAX: u32 = 256;
/// Longest a bind waits for a free user slot, or for the one it names: some rounds in which all nodes are
/// asked for what they do not use, and a fail-over of who decides.
pub const BIND_WAIT_NS: u64 = 5_000_000_000;
/// Requests of a node's sessions that all nodes have to decide and have not yet: all containers on all nodes.
pub const TICKETS_MAX: usize = DCS_MAX * NODES_MAX;
/// How long such a request waits. Without a majority nothing is decided; its asker is told that it is
/// unknown.
pub const DECIDE_WAIT_NS: u64 = 15_000_000_000;
/// How long a node may go on as if it were one of the system after it last asked whether it still is: six
/// heartbeats, and short beside the second a fail-over may take.
pub const NODE_LEASE_NS: u64 = 600_000_000;
/// So much earlier it stops, for its threads to be told and the answers they are at to be out.
pub const NODE_LEASE_GUARD_NS: u64 = 100_000_000;
/// How much faster or slower than time itself a node's clock may run, in millionths: twice what a clock is
/// slewed by at most while it is being set, and its crystal besides.
pub const CLOCK_DRIFT_PPM: u32 = 1_200;
/// Programs a daemon has started and not seen the end of. Each costs it three descriptors.
pub const PROGRAMS_MAX: usize = 64;
/// Name, arguments and folder of a program to be started: half of a control record.
pub const PROGRAM_ORDER_BYTES_MAX: usize = CONTROL_BYTES_MAX / 2;
/// Output of a program carried in one record.
pub const PROGRAM_CHUNK_BYTES: usize = 16 << 10;
/// Output of a program under way to the terminal that shows it, records counted with their cost; then it is
/// not read until some has arrived, and the program waits as on a slow terminal.
pub const PROGRAM_WINDOW_BYTES: usize = 256 << 10;
/// What a record of output counts beside its bytes: with it, all that is under way fits an administrator's
/// queue, even byte by byte.
pub const RECORD_COST: usize = 256;
/// Output read of a program after its end: what a pipe can hold, and some for those it left running.
pub const PROGRAM_REST_BYTES: usize = 256 << 10;
/// Longest line of a program in the log.
pub const PROGRAM_LINE_BYTES_MAX: usize = 4096;
/// Lines of programs a daemon remembers for its log, in bytes.
pub const LOG_OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Between asking a program to end and making it end.
pub const PROGRAM_END_NS: u64 = 5_000_000_000;

/// Spin before sleep, when the peer last ran on another core (measured: 10–20 µs outlasts a hand-over).
pub const SPIN_NS: u64 = 20_000;
/// The same when shorter spins were in vain and nobody else wants the core: with many clients on two cores a
/// server needs that long for a round, and waking a sleeper on another core costs it more than the request.
pub const SPIN_LONG_NS: u64 = 200_000;
/// First re-check of a sleeping session's lanes, in case a hostile peer erased a ring of its doorbell.
pub const RECHECK_FIRST_NS: u64 = 10_000_000;
/// Longest interval between two re-checks.
pub const RECHECK_MAX_NS: u64 = 1_000_000_000;
/// Longest a caller that wants to leave waits for a copy on its memory to end: a chunk takes microseconds, so
/// whoever holds a call in the copying phase this long is stopped or hostile, and is left.
pub const COPY_GRACE_NS: u64 = 1_000_000_000;
/// Longest a caller that leaves a call carried to another node waits for that node to give the message
/// back, or
/// to say that it is too late: a round trip on a busy local network. After that the effect is unknown.
pub const RECALL_GRACE_NS: u64 = 20_000_000;
/// A call that must not block gives a peer of its node so long to take the message before it says AGAIN.
pub const NOW_GRACE_LOCAL_NS: u64 = 500_000;
/// The same for a peer on another node: a round trip and its wake-ups.
pub const NOW_GRACE_REMOTE_NS: u64 = 5_000_000;
/// How long a call is blocked before its process asks whether it is part of a deadlock.
pub const DEADLOCK_CHECK_NS: u64 = 200_000_000;
/// A call that stays blocked asks again, each time after so many times as long (1.8 s, 15 s, 2 minutes, …): a
/// search may have been lost with a connection, and ten thousand calls that wait for days cost nothing.
pub const DEADLOCK_AGAIN_FACTOR: u64 = 8;
/// How long an answer waits until other sessions of the node have taken in what follows from it. A session
/// reads its news within microseconds; one that takes so long is stopped or hostile, and is not waited for.
pub const HEARD_MAX_NS: u64 = 2_000_000_000;
/// Notifications a node holds for an endpoint that moves: one a source, for more sources than a process
/// talks to.
pub const NOTICES_HELD_MAX: usize = 1024;
/// Bytes of a service's state in one message while it moves: short beside what a caller waits for, and long
/// beside the round trip of its message.
pub const MOVE_PART_BYTES: usize = 512 << 10;
/// Services that leave a node, or come to one, at a time.
pub const MOVES_MAX: usize = 256;
/// Why a move failed, as text, in bytes.
pub const MOVE_TEXT_BYTES: usize = 512;
/// After so long a program that could move a service, or take it over, says anew how it is.
pub const MOVER_WAIT_NS: u64 = 1_000_000_000;
/// Notifications in one control record.
pub const NOTICES_RECORD_MAX: usize = 512;
/// Calls of broken circles a node remembers, so that a circle is not judged twice: many whole chains.
pub const NODE_JUDGED_MAX: usize = 1024;
/// Steps of a wait chain that are followed.
pub const WAIT_CHAIN_MAX: usize = 64;

/// File service: bytes of one read or write and of one hash. Within the second-level cache, and large enough
/// that a remote round trip costs little beside it.
pub const FILES_BLOCK_BYTES: usize = 1 << 20;
/// File service: bytes of a path, as Linux has it.
pub const FILES_PATH_BYTES_MAX: usize = 4096;
/// File service: blocks hashed in one request, so that one request takes some ten milliseconds at most.
pub const FILES_HASHES_MAX: u32 = 64;
/// File service: names in one folder that are listed.
pub const FILES_FOLDER_NAMES_MAX: usize = 1 << 20;
/// File service: files, folders and links of one copy (some 200 bytes each in the client).
pub const FILES_TREE_ENTRIES_MAX: usize = 2 << 20;
/// File service: requests one copy has in flight, one worker each.
pub const FILES_WORKERS_MAX: usize = 16;

/// Voters of a replicated log: five outlive two of them; more would make every decision slower.
pub const LOG_VOTERS_MAX: usize = 5;
/// One command of a replicated log, and one answer to it: with its envelope it fits a control record.
pub const LOG_COMMAND_BYTES_MAX: usize = 32 << 10;
/// Bytes of the commands that one entry of a log carries together.
pub const LOG_ENTRY_BYTES_MAX: usize = 48 << 10;
/// Commands that one entry carries together: those that came while the one before was written.
pub const LOG_ENTRY_COMMANDS_MAX: usize = 1024;
/// Entries handed to a log that are not decided yet; further commands wait for them and share one.
pub const LOG_ENTRIES_OPEN_MAX: usize = 4;
/// One message between members of a log: a control record less its head.
pub const LOG_MESSAGE_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2048;
/// Bytes of a snapshot carried in one message.
pub const LOG_PIECE_BYTES: usize = 48 << 10;
/// One snapshot of a replicated state; it is held in memory while it is taken or received.
pub const LOG_SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Commands that wait at one member of a log: one for each endpoint of a session.
pub const LOG_WAITING_MAX: usize = SESSION_ENDPOINTS_MAX;
/// Questions of other members under way at one member of a log; what comes beyond is lost, and asked again.
pub const LOG_ASKED_MAX: usize = 4096;

const _: () = {
    assert!(PROGRAM_CHUNK_BYTES + 1024 < CONTROL_BYTES_MAX && PROGRAM_CHUNK_BYTES < PROGRAM_WINDOW_BYTES);
    assert!(PROGRAM_WINDOW_BYTES / RECORD_COST < ADMIN_QUEUE_MAX);
    assert!(FILES_BLOCK_BYTES as u64 <= COPY_BYTES_MAX && FILES_BLOCK_BYTES >= 2 * FILES_PATH_BYTES_MAX);
    assert!(FILES_HASHES_MAX as usize * 32 <= FILES_BLOCK_BYTES);
    assert!(
        LOG_COMMAND_BYTES_MAX <= LOG_ENTRY_BYTES_MAX && LOG_ENTRY_BYTES_MAX + 8192 < LOG_MESSAGE_BYTES_MAX
    );
    assert!(LOG_PIECE_BYTES + 8192 < LOG_MESSAGE_BYTES_MAX && LOG_VOTERS_MAX <= NODES_MAX);
    assert!(KNOCK_BYTES_MAX + 1024 < FRAME_BYTES_MAX && KNOCKS_MAX < KNOCK_SOURCES_MAX);
    assert!(KNOCK_PAUSE_FIRST_NS < KNOCK_PAUSE_MAX_NS && KNOCK_EVERY_NS < KNOCK_PAUSE_FIRST_NS);
    assert!(REPLICA_PART_BYTES + 512 < LOG_COMMAND_BYTES_MAX);
    assert!(KV_VALUE_BYTES_MAX + KV_KEY_BYTES_MAX + 1024 < REPLICA_REQUEST_BYTES_MAX);
    assert!(REPLICA_REQUEST_BYTES_MAX < REPLICA_PARTS_BYTES_MAX);
    assert!(LOG_MESSAGE_BYTES_MAX + 16 < REPLICA_PARCEL_BYTES_MAX);
    assert!(REPLICA_NEAR_ENTRIES < REPLICA_BEHIND_ENTRIES && REPLICA_BEHIND_NS < REPLICA_HEARD_NS);
    assert!(2 * KV_STORE_BYTES_MAX < LOG_SNAPSHOT_BYTES_MAX);
    assert!(PROCS_MAX < 0x6ace, "a slot must not look like a reserved endpoint");
    assert!(PROCS_DEFAULT <= PROCS_MAX && SYSPROCS_DEFAULT <= SYSPROCS_MAX);
    assert!(SYSPROCS_DEFAULT > TASKS_MAX && SYSPROCS_DEFAULT < TASKS_MAX + PROCS_DEFAULT);
    assert!(INLINE_BYTES >= 192, "the design promises at least 192 bytes inline");
    assert!(NODES_MAX as i32 + 2 < TASKS_MAX, "every node has a system task");
    assert!(MESSAGE_BYTES + GRANTS_PER_CALL * 24 < FRAME_BYTES_MAX);
    assert!((COPY_CHUNK_BYTES as u64) < CREDIT_BULK_BYTES);
    assert!(2 * NODE_LEASE_GUARD_NS < NODE_LEASE_NS && CLOCK_DRIFT_PPM < 10_000);
    assert!(LINK_LANES_MAX <= 64, "one ready word a direction");
};
