/* Asks the server of server.c: cc client.c -ldvs_c */
#include "dvs.h"
#include <inttypes.h>
#include <stdio.h>

int main(void) {
    dvs_process *process;
    dvs_port *port;
    dvs_message m;
    uint64_t number = 21;
    int r = dvs_attach(NULL, "asker", &process);
    if (r >= 0) r = dvs_bind(process, 0, DVS_NONE, &port);
    if (r >= 0) {
        dvs_message_init(&m, 1);
        dvs_message_set(&m, &number, sizeof number);
        r = dvs_sendrec(port, 5, &m, 1000000);
    }
    if (r < 0) {
        fprintf(stderr, "%s; effect %s\n", dvs_error_name(r),
                dvs_effect() == DVS_EFFECT_NO ? "no" : dvs_effect() == DVS_EFFECT_YES ? "yes" : "unknown");
        return 1;
    }
    memcpy(&number, m.bytes, sizeof number);
    printf("%" PRIu64 "\n", number);
    return 0;
}
