/* The calls of a distributed container for C programs. Link with -ldvs_c (static: also -lpthread -ldl -lm).
 *
 * Results: zero or positive is success, negative an error number (DVS_E...). dvs_fault(), dvs_effect(),
 * dvs_error_peer() and dvs_cycle() say more about the last call of the calling thread.
 * Handles: a port is used by one thread at a time. Time-outs are microseconds; negative waits for ever,
 * zero not at all.
 * Endpoints may be negative (tasks): calls that return an endpoint failed if the result is below DVS_ERRCODE.
 */
#ifndef DVS_H
#define DVS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dvs_process dvs_process; /* a session with the daemon of this node */
typedef struct dvs_port dvs_port;       /* a bound endpoint */

#define DVS_ANY 0x7ace      /* any source; only in dvs_receive */
#define DVS_NONE 0x6ace     /* no endpoint; in dvs_bind any free user slot */
#define DVS_SELF 0x8ace     /* the caller */
#define DVS_HARDWARE (-1)
#define DVS_FOREVER ((int64_t)-1)
#define DVS_NOWAIT ((int64_t)0)
#define DVS_ERRCODE (-300)
#define DVS_NOTIFY 0x1000   /* type of a notification: this or'ed with the slot of its source */
#define DVS_INLINE_BYTES 192

enum { DVS_FAULT_NONE, DVS_FAULT_CALLER, DVS_FAULT_PEER, DVS_FAULT_SYSTEM, DVS_FAULT_NOBODY };
enum { DVS_EFFECT_NO, DVS_EFFECT_YES, DVS_EFFECT_UNKNOWN };
enum { DVS_READ = 1, DVS_WRITE = 2, DVS_READ_WRITE = 3 };

/* The errors met most; dvs_error_name() knows all. */
enum {
    DVS_EINTR = -4, DVS_EIO = -5, DVS_E2BIG = -7, DVS_EAGAIN = -11, DVS_EFAULT = -14, DVS_EINVAL = -22,
    DVS_ERANGE = -34, DVS_EBADDEST = -55, DVS_ETIMEDOUT = -61, DVS_ENOTCONN = -64, DVS_ESHUTDOWN = -65,
    DVS_ELOCKED = -101, DVS_EBADCALL = -102, DVS_ESRCDIED = -108, DVS_EDSTDIED = -109, DVS_ETRAPDENIED = -110,
    DVS_EDCNOTRUN = -303, DVS_EENDPOINT = -306, DVS_ERMTPROC = -308, DVS_ENOTBIND = -310, DVS_EDVSINIT = -318,
    DVS_EPROCRUN = -320, DVS_EPROCSTS = -324, DVS_ESLOTUSED = -337, DVS_EWOKENUP = -348
};

/* A message: 256 bytes. The program sets the type and the inline bytes, the system all else. */
typedef struct dvs_message {
    int32_t source, destination;
    int32_t type;
    uint8_t kind, flags; /* kind: 0 message, 1 request, 2 answer, 3 notification */
    uint16_t length;     /* inline bytes set by the program */
    uint64_t call, epoch, deadline;
    uint16_t dc, node;
    uint32_t reserved;
    uint64_t value;      /* bits of a notification */
    uint64_t timestamp;  /* of a notification, ns */
    uint8_t bytes[DVS_INLINE_BYTES];
} dvs_message;

/* Memory lent to the callee for the time of one call; at most 4 ranges a call. */
typedef struct dvs_lend {
    void *address;
    size_t length;
    uint32_t access; /* DVS_READ: the callee may read it; DVS_WRITE: write and read it */
} dvs_lend;

typedef struct dvs_grant {
    uint64_t address, length;
    uint32_t access;
} dvs_grant;

typedef struct dvs_privileges {
    int32_t id, warn, level; /* level 0..5 */
    uint64_t ipc_to[2];      /* one bit a system slot, lowest slot first */
    uint64_t calls;          /* one bit a call number */
} dvs_privileges;

typedef struct dvs_proc_info {
    int32_t slot, endpoint;
    uint32_t rts_flags, misc_flags;
    int32_t pid, node, getfrom, sendto;
    uint64_t sent_local, sent_remote, copies_local, copies_remote;
} dvs_proc_info;

/* A container that is to be made. */
#define DVS_PROCS_DEFAULT 12288
#define DVS_SYSPROCS_DEFAULT 64
typedef struct dvs_dc_plan {
    const char *name;
    int32_t procs, sysprocs; /* slots from zero up; of these and the tasks, system processes */
    int32_t warn, warn_type; /* who is told of a process' end, by a message of which type; DVS_NONE: nobody */
    const uint16_t *nodes;
    size_t node_count;
} dvs_dc_plan;

typedef struct dvs_dc_info {
    uint32_t flags; /* 0 running, 2 free */
    uint32_t nodes; /* one bit a node */
    int32_t procs, tasks, sysprocs, warn, warn_type;
    uint16_t dc;
    char name[16];
} dvs_dc_info;

/* The bounds of the system. */
typedef struct dvs_info {
    uint64_t copy_bytes;
    uint32_t nodes, dcs;
    int32_t procs, tasks, sysprocs;
    uint16_t node; /* this one */
    char version[32];
} dvs_info;

typedef struct dvs_node_info {
    uint64_t sent, received; /* frames */
    uint64_t last_sent_ns, last_received_ns;
    uint32_t flags; /* bits: 2 attached, 4 sending to it, 8 receiving from it; 0 free */
    uint32_t dcs;   /* one bit a container */
    uint16_t node;
    char name[16];
    char address[128]; /* cut to what fits */
} dvs_node_info;

/* --- messages as values --- */

static inline void dvs_message_init(dvs_message *m, int32_t type) {
    memset(m, 0, sizeof *m);
    m->type = type;
}

/* Copies bytes in; -1 when there is no room. */
static inline int dvs_message_set(dvs_message *m, const void *bytes, size_t n) {
    if (n > DVS_INLINE_BYTES) return -1;
    if (n) memcpy(m->bytes, bytes, n);
    m->length = (uint16_t)n;
    return 0;
}

static inline int32_t dvs_slot(int32_t endpoint) {
    int32_t r = (endpoint + 35) % 35570;
    return (r < 0 ? r + 35570 : r) - 35;
}

/* --- processes and bindings --- */

/* Attaches to the daemon at `socket` (NULL: $DVS_SOCKET or this node's). EDVSINIT: no daemon. */
int dvs_attach(const char *socket, const char *name, dvs_process **out);
/* A process without a daemon: its threads reach each other, nobody else. */
int dvs_alone(dvs_process **out);
void dvs_detach(dvs_process *);
int dvs_node(const dvs_process *);
/* Binds the calling thread; the endpoint. ESLOTUSED, ERANGE, EDCNOTRUN. */
int dvs_bind(const dvs_process *, uint16_t dc, int32_t endpoint, dvs_port **out);
/* The same of another kind: 0 plain, 4 replica, 5 user mode. */
int dvs_bind_as(const dvs_process *, int kind, uint16_t dc, int32_t endpoint, dvs_port **out);
/* Waits until another process binds this one; the endpoint. */
int dvs_wait_bound(const dvs_process *, int64_t timeout_us, dvs_port **out);
/* Ends the binding and closes the handle: everybody that waits for it learns it. */
int dvs_unbind(dvs_port *);
int dvs_endpoint(const dvs_port *);
/* Ends the session in order; exit notices carry `code`. */
int dvs_exit(const dvs_process *, int code);
/* From another thread: ends a blocked call with EINTR; 1 when there was one. */
int dvs_cancel(const dvs_process *, uint16_t dc, int32_t endpoint);

/* --- messages --- */

/* Returns when the message was consumed. */
int dvs_send(const dvs_port *, int32_t dst, dvs_message *, int64_t timeout_us);
int dvs_receive(const dvs_port *, int32_t src, dvs_message *, int64_t timeout_us);
/* A request and its answer, which overwrites the message. */
int dvs_sendrec(const dvs_port *, int32_t dst, dvs_message *, int64_t timeout_us);
/* The same, lending memory until it returns. */
int dvs_sendrec_with(const dvs_port *, int32_t dst, dvs_message *, const dvs_lend *, size_t n,
                     int64_t timeout_us);
int dvs_rcvrqst(const dvs_port *, dvs_message *, int64_t timeout_us);
/* Answers a caller; EPROCSTS when it waits no more. */
int dvs_reply(const dvs_port *, int32_t dst, dvs_message *, int64_t timeout_us);
/* Hands the request of `client` to `dst`, which answers it directly. */
int dvs_relay(const dvs_port *, int32_t client, int32_t dst, dvs_message *);
int dvs_notify(const dvs_port *, int32_t dst);
int dvs_notify_value(const dvs_port *, int32_t src, int32_t dst, uint64_t bits);
int dvs_hdw_notify(const dvs_process *, uint16_t dc, int32_t dst);

/* --- memory lent by a caller of mine --- */

int dvs_grants(const dvs_port *, int32_t client, dvs_grant *into, size_t room);
int dvs_copy_in(const dvs_port *, int32_t src, uint64_t address, void *into, size_t length);
int dvs_copy_out(const dvs_port *, int32_t dst, uint64_t address, const void *from, size_t length);
/* Between two callers, or between one and DVS_SELF (own memory). */
int dvs_vcopy(const dvs_port *, int32_t src, uint64_t from, int32_t dst, uint64_t to, uint64_t length);

/* --- the system --- */

int dvs_wait4bind(const dvs_port *, int32_t endpoint, int64_t timeout_us);
int dvs_wait4unbind(const dvs_port *, int32_t endpoint, int64_t timeout_us);
int dvs_unbind_other(const dvs_port *, int32_t endpoint, int64_t timeout_us);
int dvs_bind_process(const dvs_port *, uint32_t pid, int32_t endpoint);
int dvs_getep(const dvs_port *, uint32_t pid);
int dvs_wakeup(const dvs_port *, int32_t endpoint);
int dvs_getprocinfo(const dvs_port *, int32_t slot, dvs_proc_info *);
int dvs_getpriv(const dvs_port *, int32_t endpoint, dvs_privileges *);
int dvs_setpriv(const dvs_port *, int32_t endpoint, const dvs_privileges *);
int dvs_migr_start(const dvs_port *, int32_t endpoint);
int dvs_migr_rollback(const dvs_port *, int32_t endpoint);
int dvs_migr_commit(const dvs_port *, int32_t endpoint, uint16_t node, uint32_t pid);

/* --- containers and nodes: no endpoint is needed --- */

/* A container on this node and those of the bit map. */
int dvs_dc_init(const dvs_process *, uint16_t dc, const char *name, uint32_t nodes);
int dvs_dc_init_with(const dvs_process *, uint16_t dc, const dvs_dc_plan *);
int dvs_dc_end(const dvs_process *, uint16_t dc);
int dvs_add_node(const dvs_process *, uint16_t dc, uint16_t node);
/* Its endpoints there end. */
int dvs_del_node(const dvs_process *, uint16_t dc, uint16_t node);
int dvs_getdcinfo(const dvs_process *, uint16_t dc, dvs_dc_info *);
int dvs_getdvsinfo(const dvs_process *, dvs_info *);
/* A negative node: this one. */
int dvs_getnodeinfo(const dvs_process *, int32_t node, dvs_node_info *);
/* Ends the binding of an endpoint; EAGAIN where the caller is not bound and so cannot wait for its end. */
int dvs_unbind_of(const dvs_process *, uint16_t dc, int32_t endpoint, int64_t timeout_us);
/* Registers an endpoint of another node (the daemons do this by themselves); the endpoint. */
int dvs_bind_remote(const dvs_process *, uint16_t dc, const char *name, int32_t endpoint, uint16_t node);
/* Makes a process of this node (0: the caller's) the standby of a primary on `node`; the endpoint. The
 * process takes it by dvs_wait_bound, which returns when the standby has been promoted. */
int dvs_bind_standby(const dvs_process *, uint16_t dc, uint32_t pid, int32_t endpoint, uint16_t node);

/* --- the last error of this thread --- */

int dvs_fault(void);
int dvs_effect(void);
int32_t dvs_error_peer(void);
size_t dvs_cycle(int32_t *into, size_t room);
/* A sentence; valid until the thread asks again. */
const char *dvs_error_name(int code);

#ifdef __cplusplus
}
#endif
#endif
