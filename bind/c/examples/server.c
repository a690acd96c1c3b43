/* A server that doubles numbers: cc server.c -ldvs_c; run under `dvs run DC -- ./server`. */
#include "dvs.h"
#include <stdio.h>

static int fail(const char *what, int code) {
    fprintf(stderr, "%s: %s\n", what, dvs_error_name(code));
    return 1;
}

int main(void) {
    dvs_process *process;
    dvs_port *port;
    int r = dvs_attach(NULL, "doubler", &process);
    if (r < 0) return fail("attach", r);
    r = dvs_bind(process, 0, 5, &port);
    if (r < 0) return fail("bind", r);
    for (;;) {
        dvs_message m;
        uint64_t number;
        r = dvs_receive(port, DVS_ANY, &m, DVS_FOREVER);
        if (r < 0) return fail("receive", r);
        memcpy(&number, m.bytes, sizeof number);
        number *= 2;
        dvs_message_set(&m, &number, sizeof number);
        dvs_reply(port, m.source, &m, DVS_FOREVER); /* a client that left is not our problem */
    }
}
