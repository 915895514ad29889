#include "access_log.h"

#include "exchange.h"
#include "json.h"
#include "log.h"
#include "vm.h"

#include <time.h>

void peri_access_log_add_client(struct peri_buf *line, const union peri_address *client)
{
    char text[INET6_ADDRSTRLEN];
    int port = peri_address_format(client, text);
    if (text[0] == '\0')
        peri_buf_add_lit(line, "unix");
    else
        peri_buf_addf(line, strchr(text, ':') != NULL ? "[%s]:%d" : "%s:%d", text, port);
}

void peri_access_log(struct peri_exchange *exchange)
{
    struct peri_request *request = &exchange->request;
    double ms = (double) (uv_hrtime() - exchange->started_ns) / 1e6;
    size_t method_len = 0;
    const char *method = peri_request_method(request, &method_len);
    struct peri_buf line = {0};
    char id[PERI_REQUEST_ID] = "";
    if (exchange->vm->app.request_id)
        peri_exchange_id(exchange, id);

    bool known = exchange->http.head_done;
    const char *target = known ? peri_request_at(request, request->target) : "";
    size_t target_len = known ? request->target.len : 0;
    struct peri_origin origin = peri_exchange_origin(exchange);
    const union peri_address *peer = &origin.client;

    if (peri_log_access_format() == PERI_LOG_JSON) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        peri_buf_addf(&line, "{\"time\":%lld.%03ld,\"client\":\"", (long long) now.tv_sec,
                      now.tv_nsec / 1000000);
        peri_access_log_add_client(&line, peer);
        peri_buf_addf(&line, "\",\"method\":\"%.*s\",\"target\":", known ? (int) method_len : 0,
                      method);
        peri_json_add_string(&line, target, peri_utf8_valid(target, target_len));
        if (exchange->operation != NULL) {
            const char *path = exchange->operation->path;
            peri_buf_add_lit(&line, ",\"route\":");
            peri_json_add_string(&line, path, strlen(path));
        }
        if (*id != '\0') {
            peri_buf_add_lit(&line, ",\"request\":");
            peri_json_add_string(&line, id, strlen(id));
        }
        peri_buf_addf(&line, ",\"status\":%u,\"bytes\":%llu,\"ms\":%.3f}\n", exchange->status,
                      (unsigned long long) exchange->sent, ms);
    } else {
        peri_access_log_add_client(&line, peer);
        peri_buf_addf(&line, " \"%.*s ", known ? (int) method_len : 1, known ? method : "-");
        peri_buf_add(&line, target, target_len); /* llhttp lets no control character or blank in */
        peri_buf_addf(&line, "\" %u %llu %.2fms%s%s\n", exchange->status,
                      (unsigned long long) exchange->sent, ms, *id != '\0' ? " " : "", id);
    }
    peri_log_write(PERI_LOG_ACCESS, line.data, line.len);
    peri_buf_deinit(&line);
}
