/* An actor of the conformance suite in C: `actor SOCKET NAME`. Acts come on standard input, one a line, each
 * is answered by a line on standard output; the words are described in src/word.rs and src/act.rs. What this
 * actor cannot do it answers with NOSYS. */
#include "dvs.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY_BYTES ((4u << 20) + 8192)
#define LINE_BYTES 65536
#define NOSYS (-38)
#define NOTBIND (-310)

static dvs_process *process;
static dvs_port *port;
static _Atomic int32_t own = DVS_NONE;
static _Atomic int own_dc;
static uint8_t memory[MEMORY_BYTES];
static char line[LINE_BYTES];
static dvs_message held[64]; /* requests taken and not answered, for relay */

/* --- words --- */

static const char *word(const char *key) {
    static char value[LINE_BYTES];
    char pattern[40];
    const char *at = line;
    size_t n = (size_t)snprintf(pattern, sizeof pattern, " %s=", key);
    at = strstr(line, pattern);
    if (!at) return "";
    at += n;
    n = strcspn(at, " \n");
    memcpy(value, at, n);
    value[n] = 0;
    return value;
}

static int64_t number(const char *key) { return strtoll(word(key), NULL, 10); }
static uint64_t unsigned_number(const char *key) { return strtoull(word(key), NULL, 10); }
static int32_t endpoint(const char *key) { return (int32_t)number(key); }

/* A name; the empty one is written as a dash. */
static const char *name_of(const char *key) {
    const char *w = word(key);
    return strcmp(w, "-") ? w : "";
}

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* m=type:hex */
static int payload(dvs_message *m) {
    const char *w = word("m"), *hex = strchr(w, ':');
    uint8_t bytes[512];
    size_t n = 0;
    dvs_message_init(m, (int32_t)strtol(w, NULL, 10));
    for (hex = hex ? hex + 1 : ""; hex[0] && hex[1] && n < sizeof bytes; hex += 2)
        bytes[n++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
    return dvs_message_set(m, bytes, n) ? -73 : 0;
}

/* lends=r:offset:length,w:... */
static size_t lends(dvs_lend *into, size_t room) {
    const char *w = word("lends");
    size_t n = 0;
    while (*w && n < room) {
        char *end;
        uint64_t offset = strtoull(w + 2, &end, 10), length = strtoull(end + 1, &end, 10);
        into[n].access = *w == 'r' ? DVS_READ : *w == 'w' ? DVS_WRITE : DVS_READ_WRITE;
        into[n].address = memory + offset;
        into[n++].length = length;
        w = *end == ',' ? end + 1 : end;
    }
    return n;
}

/* gN+offset, m+offset, a+address */
static int address(const char *key, int32_t party, uint64_t *out) {
    const char *w = word(key);
    uint64_t offset = strtoull(strchr(w, '+') + 1, NULL, 10);
    dvs_grant grants[4];
    long which;
    if (*w == 'a') return *out = offset, 0;
    if (*w == 'm') return *out = (uint64_t)(uintptr_t)memory + offset, 0;
    which = strtol(w + 1, NULL, 10);
    if (which >= dvs_grants(port, party, grants, 4)) return DVS_EFAULT;
    return *out = grants[which].address + offset, 0;
}

/* --- answers --- */

static void failed(int code) {
    static const char *faults[] = {"caller", "caller", "peer", "system", "nobody"};
    static const char *effects[] = {"no", "yes", "unknown"};
    int32_t cycle[64];
    size_t n = dvs_cycle(cycle, 64), i;
    printf("err code=%d fault=%s effect=%s peer=%d cycle=", code, faults[dvs_fault()], effects[dvs_effect()],
           dvs_error_peer());
    for (i = 0; i < n; i++) printf(i ? ",%d" : "%d", cycle[i]);
    puts("");
}

/* An error the actor itself found. */
static void refused(int code) {
    printf("err code=%d fault=caller effect=no peer=%d cycle=\n", code, DVS_NONE);
}

static void done(int code) {
    if (code < 0) failed(code);
    else puts("ok");
}

static void ended(int code, const dvs_message *m) {
    int i;
    if (code < 0) return failed(code);
    printf("ok bytes=");
    for (i = 0; i < m->length && i < DVS_INLINE_BYTES; i++) printf("%02x", m->bytes[i]);
    printf(" src=%d stamped=%s type=%d value=%" PRIu64 "\n", m->source,
           m->timestamp ? "true" : "false", m->type, m->value);
}

static void got_endpoint(int code) {
    if (code < DVS_ERRCODE || code == DVS_ETIMEDOUT || code == DVS_EINTR || code == DVS_ERANGE) failed(code);
    else printf("ok endpoint=%d\n", code);
}

/* --- the work --- */

static uint64_t first_word(const dvs_message *m) {
    uint64_t n;
    memcpy(&n, m->bytes, 8);
    return n;
}

static void set_first(dvs_message *m, uint64_t n) { dvs_message_set(m, &n, 8); }

static uint8_t pattern(uint64_t seed, uint64_t i) {
    uint64_t x = (seed ^ i) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(x ^ x >> 29) ^ (uint8_t)(i % 251);
}

static void hash(void) {
    uint64_t h = UINT64_C(0xcbf29ce484222325), at = unsigned_number("at"), len = unsigned_number("len"), i;
    for (i = 0; i < len; i++) h = (h ^ memory[at + i]) * UINT64_C(0x100000001b3);
    printf("ok hash=%" PRIu64 "\n", h);
}

static void fill(void) {
    uint64_t at = unsigned_number("at"), len = unsigned_number("len"), seed = unsigned_number("seed"), i;
    for (i = 0; i < len; i++) memory[at + i] = pattern(seed, i);
    puts("ok");
}

static void copy(const char *act) {
    uint64_t a, b, len = unsigned_number("len");
    int32_t src = endpoint("src"), dst = endpoint("dst");
    int r;
    if (!strcmp(act, "copyin")) {
        if ((r = address("from", src, &a)) < 0) return refused(r);
        return done(dvs_copy_in(port, src, a, memory + unsigned_number("to"), len));
    }
    if (!strcmp(act, "copyout")) {
        if ((r = address("to", dst, &a)) < 0) return refused(r);
        return done(dvs_copy_out(port, dst, a, memory + unsigned_number("from"), len));
    }
    if ((r = address("from", src, &a)) < 0 || (r = address("to", dst, &b)) < 0) return refused(r);
    done(dvs_vcopy(port, src, a, dst, b, len));
}

static void keep(const dvs_message *m) {
    int32_t slot = dvs_slot(m->source);
    if (m->kind == 1) held[(uint32_t)slot % 64] = *m;
}

static void serve(void) {
    uint64_t count = unsigned_number("count"), i;
    int by_send = !strcmp(word("send"), "true"), r = 0;
    dvs_message m;
    for (i = 0; i < count && r >= 0; i++) {
        r = by_send ? dvs_receive(port, DVS_ANY, &m, DVS_FOREVER) : dvs_rcvrqst(port, &m, DVS_FOREVER);
        if (r < 0) break;
        set_first(&m, first_word(&m) + 1);
        r = by_send ? dvs_send(port, m.source, &m, DVS_FOREVER) : dvs_reply(port, m.source, &m, DVS_FOREVER);
    }
    if (r < 0) return failed(r);
    printf("ok clients=0 n=%" PRIu64 "\n", count);
}

static void loops(const char *act) {
    uint64_t count = unsigned_number("count"), i;
    int calls = !strcmp(act, "call"), r = 0;
    int32_t dst = endpoint("dst");
    int64_t t = number("t");
    dvs_message m;
    for (i = 0; i < count; i++) {
        dvs_message_init(&m, calls ? 7 : 3);
        set_first(&m, i);
        r = calls ? dvs_sendrec(port, dst, &m, t) : dvs_send(port, dst, &m, t);
        if (r < 0) return failed(r);
        if (calls && (m.source != dst || first_word(&m) != i + 1)) return refused(DVS_EIO);
    }
    printf("ok n=%" PRIu64 "\n", count);
}

static void drain(void) {
    uint64_t count = unsigned_number("count"), i, next[64] = {0};
    int32_t *order = calloc(count ? count : 1, sizeof *order);
    int64_t t = number("t");
    dvs_message m;
    for (i = 0; i < count; i++) {
        uint64_t *expected;
        int r = dvs_receive(port, DVS_ANY, &m, t);
        if (r < 0) {
            free(order);
            return failed(r);
        }
        expected = &next[(uint32_t)dvs_slot(m.source) % 64];
        if (first_word(&m) != (*expected)++) {
            free(order);
            return refused(DVS_EIO);
        }
        order[i] = m.source;
    }
    printf("ok n=%" PRIu64 " order=", count);
    for (i = 0; i < count; i++) printf(i ? ",%d" : "%d", order[i]);
    puts("");
    free(order);
}

static void ring(void) {
    uint64_t count = unsigned_number("count"), hops = 0, i;
    int start = !strcmp(word("start"), "true"), r = 0;
    int32_t next = endpoint("next");
    dvs_message m;
    dvs_message_init(&m, 9);
    if (start) {
        set_first(&m, 1);
        r = dvs_send(port, next, &m, DVS_FOREVER);
    }
    for (i = 0; i < count && r >= 0; i++) {
        r = dvs_receive(port, DVS_ANY, &m, DVS_FOREVER);
        hops = first_word(&m);
        if (r < 0 || (start && i + 1 == count)) break;
        dvs_message_init(&m, 9);
        set_first(&m, hops + 1);
        r = dvs_send(port, next, &m, DVS_FOREVER);
    }
    if (r < 0) return failed(r);
    printf("ok hops=%" PRIu64 "\n", hops);
}

static void bind_me(void) {
    int dc = (int)number("dc"), r;
    int kind = (int)number("kind");
    if (kind == 1 && port) {
        return got_endpoint(dvs_bind_process(port, (uint32_t)number("pid"), endpoint("endpoint")));
    }
    if (kind == 2) {
        return got_endpoint(dvs_bind_remote(process, (uint16_t)dc, name_of("name"), endpoint("endpoint"),
                                            (uint16_t)number("node")));
    }
    if (kind == 3) {
        return got_endpoint(dvs_bind_standby(process, (uint16_t)dc, (uint32_t)number("pid"),
                                             endpoint("endpoint"), (uint16_t)number("node")));
    }
    if (kind == 1) return refused(NOSYS);
    if (port) return refused(DVS_ESLOTUSED);
    r = kind ? dvs_bind_as(process, kind, (uint16_t)dc, endpoint("endpoint"), &port)
             : dvs_bind(process, (uint16_t)dc, endpoint("endpoint"), &port);
    if (!port) return failed(r);
    own_dc = dc;
    own = r;
    printf("ok endpoint=%d\n", r);
}

static void unbind_me(void) {
    int32_t which = endpoint("endpoint");
    int r;
    if (which != DVS_SELF && which != own) return done(dvs_unbind_other(port, which, number("t")));
    own = DVS_NONE;
    r = dvs_unbind(port);
    port = NULL;
    done(r);
}

static void proc_info(void) {
    dvs_proc_info i;
    int r = dvs_getprocinfo(port, (int32_t)number("slot"), &i);
    if (r < 0) return failed(r);
    printf("ok endpoint=%d getfrom=%d lclcopy=%" PRIu64 " lclsent=%" PRIu64, i.endpoint, i.getfrom,
           i.copies_local, i.sent_local);
    printf(" misc=%u name=- node=%d pid=%d", i.misc_flags, i.node, i.pid);
    printf(" rmtcopy=%" PRIu64 " rmtsent=%" PRIu64 " rts=%u sendto=%d slot=%d\n", i.copies_remote,
           i.sent_remote, i.rts_flags, i.sendto, i.slot);
}

static void get_priv(void) {
    dvs_privileges p;
    int r = dvs_getpriv(port, endpoint("endpoint"), &p);
    if (r < 0) return failed(r);
    /* 128 bits as decimal digits */
    char digits[40];
    int n = 40;
    unsigned __int128 map = (unsigned __int128)p.ipc_to[1] << 64 | p.ipc_to[0];
    digits[--n] = 0;
    do digits[--n] = (char)('0' + (int)(map % 10));
    while (map /= 10);
    printf("ok calls=%" PRIu64 " id=%d ipc_to=%s level=%d warn=%d\n", p.calls, p.id, digits + n,
           p.level, p.warn);
}

static void set_priv(void) {
    dvs_privileges p = {0};
    unsigned __int128 map = 0;
    const char *w;
    for (w = word("ipc_to"); *w; w++) map = map * 10 + (unsigned)(*w - '0');
    p.ipc_to[0] = (uint64_t)map;
    p.ipc_to[1] = (uint64_t)(map >> 64);
    p.warn = endpoint("warn");
    p.level = (int32_t)number("level");
    p.calls = unsigned_number("calls");
    done(dvs_setpriv(port, endpoint("endpoint"), &p));
}

static void dc_init(void) {
    uint16_t nodes[64];
    char name[LINE_BYTES];
    const char *w;
    dvs_dc_plan plan = {0};
    for (w = word("nodes"); *w && plan.node_count < 64; w += *w == ',') {
        char *end;
        nodes[plan.node_count++] = (uint16_t)strtoul(w, &end, 10);
        w = end;
    }
    plan.nodes = nodes;
    snprintf(name, sizeof name, "%s", name_of("name"));
    plan.name = name;
    plan.procs = (int32_t)number("procs");
    plan.sysprocs = (int32_t)number("sysprocs");
    plan.warn = endpoint("warn");
    plan.warn_type = (int32_t)number("warn_type");
    done(dvs_dc_init_with(process, (uint16_t)number("dc"), &plan));
}

static const char *shown(const char *name) { return *name ? name : "-"; }

static void dc_info(void) {
    dvs_dc_info i;
    int r = dvs_getdcinfo(process, (uint16_t)number("dc"), &i);
    if (r < 0) return failed(r);
    printf("ok dc=%u flags=%u name=%s nodes=%u procs=%d", i.dc, i.flags, shown(i.name), i.nodes, i.procs);
    printf(" sysprocs=%d tasks=%d warn=%d\n", i.sysprocs, i.tasks, i.warn);
}

static void dvs_info_act(void) {
    dvs_info i;
    int r = dvs_getdvsinfo(process, &i);
    if (r < 0) return failed(r);
    printf("ok copy=%" PRIu64 " dcs=%u node=%u nodes=%u procs=%d", i.copy_bytes, i.dcs, i.node, i.nodes,
           i.procs);
    printf(" sysprocs=%d tasks=%d\n", i.sysprocs, i.tasks);
}

static void node_info(void) {
    dvs_node_info i;
    int r = dvs_getnodeinfo(process, (int32_t)number("node"), &i);
    if (r < 0) return failed(r);
    printf("ok dcs=%u flags=%u name=%s node=%u", i.dcs, i.flags, shown(i.name), i.node);
    printf(" received=%" PRIu64 " sent=%" PRIu64 "\n", i.received, i.sent);
}

/* What needs no endpoint; 0 when the act is none of these. */
static int cluster(const char *act) {
    uint16_t dc = (uint16_t)number("dc"), node = (uint16_t)number("node");
    if (!strcmp(act, "dcinit")) return dc_init(), 1;
    if (!strcmp(act, "dcend")) return done(dvs_dc_end(process, dc)), 1;
    if (!strcmp(act, "addnode")) return done(dvs_add_node(process, dc, node)), 1;
    if (!strcmp(act, "delnode")) return done(dvs_del_node(process, dc, node)), 1;
    if (!strcmp(act, "dcinfo")) return dc_info(), 1;
    if (!strcmp(act, "dvsinfo")) return dvs_info_act(), 1;
    if (!strcmp(act, "nodeinfo")) return node_info(), 1;
    return 0;
}

static void grants(void) {
    dvs_grant g[4];
    int n = dvs_grants(port, endpoint("client"), g, 4), i;
    printf("ok access=");
    for (i = 0; i < n; i++) printf(i ? ",%u" : "%u", g[i].access);
    printf(" lengths=");
    for (i = 0; i < n; i++) printf(i ? ",%" PRIu64 : "%" PRIu64, g[i].length);
    puts("");
}

static void notify(void) {
    const char *value = word("value");
    int32_t src = endpoint("src"), dst = endpoint("dst");
    if (!strcmp(value, "none") && src == DVS_SELF) return done(dvs_notify(port, dst));
    value = word("value");
    if (!strcmp(value, "none")) return done(dvs_notify_value(port, src, dst, 0));
    if (number("value") > 63) return refused(DVS_ERANGE);
    done(dvs_notify_value(port, src, dst, UINT64_C(1) << number("value")));
}

static void messages(const char *act) {
    dvs_message m = {0};
    int64_t t = number("t");
    int32_t dst = endpoint("dst");
    int r;
    if (!strcmp(act, "receive")) {
        r = dvs_receive(port, endpoint("src"), &m, t);
        if (r >= 0) keep(&m);
        return ended(r, &m);
    }
    if (!strcmp(act, "rcvrqst")) {
        r = dvs_rcvrqst(port, &m, t);
        if (r >= 0) keep(&m);
        return ended(r, &m);
    }
    if (!strcmp(act, "relay")) {
        int32_t client = endpoint("client");
        return done(dvs_relay(port, client, dst, &held[(uint32_t)dvs_slot(client) % 64]));
    }
    if ((r = payload(&m)) < 0) return refused(r);
    if (!strcmp(act, "reply")) return done(dvs_reply(port, dst, &m, t));
    if (!strcmp(act, "send")) {
        r = dvs_send(port, dst, &m, t);
        if (r < 0) return failed(r);
        printf("ok src=%d\n", m.source);
        return;
    }
    dvs_lend list[8];
    size_t n = lends(list, 8);
    ended(n ? dvs_sendrec_with(port, dst, &m, list, n, t) : dvs_sendrec(port, dst, &m, t), &m);
}

static int any_of(const char *act, const char *list) {
    const char *at = strstr(list, act);
    size_t n = strlen(act);
    return at && (at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n]);
}

static void perform(const char *act) {
    if (!strcmp(act, "bind")) return bind_me();
    if (!strcmp(act, "whoami")) {
        printf("ok endpoint=%d pid=%d\n", own, (int)getpid());
        return;
    }
    if (cluster(act)) return;
    if (!strcmp(act, "fill")) return fill();
    if (!strcmp(act, "hash")) return hash();
    if (!strcmp(act, "hwnotify")) {
        return done(dvs_hdw_notify(process, (uint16_t)number("dc"), endpoint("dst")));
    }
    if (!port && !strcmp(act, "wait4bind") && endpoint("endpoint") == DVS_SELF) {
        int r = dvs_wait_bound(process, number("t"), &port);
        if (!port) return failed(r);
        own = r;
        printf("ok endpoint=%d\n", r);
        return;
    }
    if (!port && !strcmp(act, "unbind") && endpoint("endpoint") != DVS_SELF) {
        return done(dvs_unbind_of(process, (uint16_t)number("dc"), endpoint("endpoint"), number("t")));
    }
    if (!port) return refused(NOTBIND);
    if (!strcmp(act, "unbind")) return unbind_me();
    if (any_of(act, "send receive sendrec rcvrqst reply relay")) return messages(act);
    if (any_of(act, "copyin copyout vcopy")) return copy(act);
    if (!strcmp(act, "notify")) return notify();
    if (!strcmp(act, "grants")) return grants();
    if (!strcmp(act, "wait4bind")) {
        return got_endpoint(dvs_wait4bind(port, endpoint("endpoint"), number("t")));
    }
    if (!strcmp(act, "wait4unbind")) return done(dvs_wait4unbind(port, endpoint("endpoint"), number("t")));
    if (!strcmp(act, "getep")) return got_endpoint(dvs_getep(port, (uint32_t)number("pid")));
    if (!strcmp(act, "wakeup")) return done(dvs_wakeup(port, endpoint("endpoint")));
    if (!strcmp(act, "procinfo")) return proc_info();
    if (!strcmp(act, "getpriv")) return get_priv();
    if (!strcmp(act, "setpriv")) return set_priv();
    if (!strcmp(act, "migrstart")) return done(dvs_migr_start(port, endpoint("endpoint")));
    if (!strcmp(act, "migrback")) return done(dvs_migr_rollback(port, endpoint("endpoint")));
    if (!strcmp(act, "migrcommit")) {
        return done(dvs_migr_commit(port, endpoint("endpoint"), (uint16_t)number("node"),
                                    (uint32_t)number("pid")));
    }
    if (!strcmp(act, "serve")) return serve();
    if (!strcmp(act, "call") || !strcmp(act, "post")) return loops(act);
    if (!strcmp(act, "drain")) return drain();
    if (!strcmp(act, "ring")) return ring();
    refused(NOSYS);
}

/* --- lines --- */

static int pipe_ends[2];

/* Reads standard input; hands lines on, except for what must not wait. */
static void *reader(void *unused) {
    static char text[LINE_BYTES];
    (void)unused;
    while (fgets(text, sizeof text, stdin)) {
        size_t n = strlen(text), at = 0;
        if (!strcmp(text, "!cancel\n")) {
            dvs_cancel(process, (uint16_t)own_dc, own);
            continue;
        }
        while (at < n) {
            ssize_t w = write(pipe_ends[1], text + at, n - at);
            if (w < 0 && errno != EINTR) exit(1);
            if (w > 0) at += (size_t)w;
        }
    }
    exit(0); /* the suite is done with us */
}

int main(int argc, char **argv) {
    pthread_t thread;
    FILE *work;
    int r;
    if (argc != 3) return fprintf(stderr, "usage: %s SOCKET NAME\n", argv[0]), 2;
    r = dvs_attach(argv[1], argv[2], &process);
    if (r < 0) return fprintf(stderr, "%s\n", dvs_error_name(r)), 1;
    if (pipe(pipe_ends) || pthread_create(&thread, NULL, reader, NULL)) return 1;
    work = fdopen(pipe_ends[0], "r");
    setvbuf(stdout, NULL, _IOFBF, LINE_BYTES);
    while (work && fgets(line, sizeof line, work)) {
        char act[32] = "";
        sscanf(line, "%31s", act);
        if (!strcmp(act, "exit")) {
            dvs_exit(process, (int)number("code"));
            if (port) dvs_unbind(port);
            exit(0);
        }
        perform(act);
        fflush(stdout);
    }
    return 0;
}
