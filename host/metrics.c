#include "metrics.h"

#include "generation.h"
#include "request.h"
#include "worker.h"

#include <dirent.h>
#include <llhttp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MAX_LOOPS 256
#define STATUSES                                                                                   \
    16 /* different ones of a method of a route; further ones are counted as the last */

/* Upper bounds in microseconds. */
static const uint64_t bounds[] = {500,    1000,   2500,   5000,    10000,   25000,   50000,
                                  100000, 250000, 500000, 1000000, 2500000, 10000000};
#define BOUNDS (sizeof(bounds) / sizeof(*bounds))

/* One method of a route on one loop, written by the loop's thread alone. */
struct series {
    _Atomic(struct series *) next;
    unsigned method;
    atomic_ullong buckets[BOUNDS + 1]; /* each for itself; they are summed up when they are read */
    atomic_ullong total_us;
    atomic_uint statuses[STATUSES]; /* 0: a free place */
    atomic_ullong counts[STATUSES];
};

struct peri_metrics_route {
    struct peri_metrics_route *next;
    char *path;
    _Atomic(struct series *) series[MAX_LOOPS];
};

static struct {
    atomic_bool enabled;
    pthread_mutex_t lock;
    struct peri_metrics_route *routes; /* under the lock; the newest first */
} metrics = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("perigee: out of memory (metrics)\n", stderr);
        abort();
    }
    return memory;
}

/* Adds to a number that no other thread writes. */
static void bump(atomic_ullong *number, uint64_t by)
{
    atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static uint64_t read_count(const atomic_ullong *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

void peri_metrics_enable(void)
{
    atomic_store(&metrics.enabled, true);
}

bool peri_metrics_enabled(void)
{
    return atomic_load_explicit(&metrics.enabled, memory_order_relaxed);
}

/* --- counting ----------------------------------------------------------------------------------
 */

struct peri_metrics_route *peri_metrics_route(const char *path)
{
    if (path == NULL)
        path = "";
    pthread_mutex_lock(&metrics.lock);
    struct peri_metrics_route *route = metrics.routes;
    while (route != NULL && strcmp(route->path, path) != 0)
        route = route->next;
    if (route == NULL) {
        route = allocate(sizeof(*route));
        route->path = strdup(path);
        route->next = metrics.routes;
        metrics.routes = route;
    }
    pthread_mutex_unlock(&metrics.lock);
    return route;
}

static struct series *series_of(struct peri_metrics_route *route, unsigned index, unsigned method)
{
    _Atomic(struct series *) *place = &route->series[index < MAX_LOOPS ? index : MAX_LOOPS - 1];
    struct series *series = NULL;
    while ((series = atomic_load_explicit(place, memory_order_relaxed)) != NULL) {
        if (series->method == method)
            return series;
        place = &series->next;
    }
    series = allocate(sizeof(*series));
    series->method = method;
    atomic_store_explicit(place, series, memory_order_release);
    return series;
}

void peri_metrics_count(struct peri_metrics_route *route, unsigned index, unsigned method,
                        unsigned status, uint64_t duration_ns)
{
    struct series *series = series_of(route, index, method);
    uint64_t us = duration_ns / 1000;
    size_t bucket = 0;
    while (bucket < BOUNDS && us > bounds[bucket])
        bucket++;
    bump(&series->buckets[bucket], 1);
    bump(&series->total_us, us);
    int place = 0;
    while (place < STATUSES - 1) {
        unsigned known = atomic_load_explicit(&series->statuses[place], memory_order_relaxed);
        if (known == status || known == 0)
            break;
        place++;
    }
    bump(&series->counts[place], 1);
    atomic_store_explicit(&series->statuses[place], status, memory_order_release);
}

/* A VM of the loop, whether it is the current one or leaves. */
static void add_vm(const struct peri_vm *vm, uint64_t *bytes, uint64_t *tasks, uint64_t *overruns)
{
    *bytes += vm->heap.used;
    *tasks += vm->tasks.alive;
    *overruns += vm->tasks.overruns;
}

void peri_metrics_publish(struct peri_loop *loop, uint64_t asked_ns)
{
    uint64_t bytes = 0;
    uint64_t tasks = 0;
    uint64_t overruns = loop->gauges.closed_overruns;
    for (struct peri_list *at = loop->vms.next; at != &loop->vms; at = at->next)
        add_vm(peri_container_of(at, struct peri_vm, life.link), &bytes, &tasks, &overruns);
    uint64_t now = uv_hrtime();
    atomic_store(&loop->gauges.lua_bytes, bytes);
    atomic_store(&loop->gauges.tasks, tasks);
    atomic_store(&loop->gauges.overruns, overruns);
    if (asked_ns != 0)
        atomic_store(&loop->gauges.lag_ns, now > asked_ns ? now - asked_ns : 0);
}

/* --- text --------------------------------------------------------------------------------------
 */

static void head(struct peri_buf *out, const char *name, const char *type, const char *help)
{
    peri_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_seconds(struct peri_buf *out, uint64_t us)
{
    peri_buf_addf(out, "%llu.%06llu", (unsigned long long) us / 1000000,
                  (unsigned long long) us % 1000000);
}

/* {method="GET",path="/items/{item_id}" */
static void add_labels(struct peri_buf *out, const struct peri_metrics_route *route,
                       unsigned method)
{
    const char *name =
        method == PERI_METHOD_OTHER ? "OTHER" : llhttp_method_name((llhttp_method_t) method);
    peri_buf_addf(out, "{method=\"%s\",path=\"", name);
    for (const char *c = route->path; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            peri_buf_add_byte(out, '\\');
        if (*c == '\n')
            peri_buf_add_lit(out, "\\n");
        else
            peri_buf_add_byte(out, *c);
    }
    peri_buf_add_byte(out, '"');
}

/* The counts of one method of a route, of all loops. */
struct sums {
    uint64_t buckets[BOUNDS + 1];
    uint64_t total_us;
    uint64_t counts[600]; /* by status */
};

static bool sum_up(const struct peri_metrics_route *route, unsigned method, struct sums *sums)
{
    bool found = false;
    memset(sums, 0, sizeof(*sums));
    for (unsigned i = 0; i < MAX_LOOPS; i++) {
        const struct series *series = atomic_load_explicit(&route->series[i], memory_order_acquire);
        while (series != NULL && series->method != method)
            series = atomic_load_explicit(&series->next, memory_order_acquire);
        if (series == NULL)
            continue;
        found = true;
        sums->total_us += read_count(&series->total_us);
        for (size_t b = 0; b <= BOUNDS; b++)
            sums->buckets[b] += read_count(&series->buckets[b]);
        for (int s = 0; s < STATUSES; s++) {
            unsigned status = atomic_load_explicit(&series->statuses[s], memory_order_acquire);
            if (status != 0)
                sums->counts[status < 600 ? status : 599] += read_count(&series->counts[s]);
        }
    }
    return found;
}

static void write_counts(struct peri_buf *out, const struct peri_metrics_route *route,
                         unsigned method, const struct sums *sums)
{
    for (unsigned status = 0; status < 600; status++) {
        if (sums->counts[status] == 0)
            continue;
        peri_buf_add_lit(out, "http_requests_total");
        add_labels(out, route, method);
        peri_buf_addf(out, ",status=\"%u\"} %llu\n", status,
                      (unsigned long long) sums->counts[status]);
    }
}

static void write_durations(struct peri_buf *out, const struct peri_metrics_route *route,
                            unsigned method, const struct sums *sums)
{
    uint64_t count = 0;
    for (size_t b = 0; b <= BOUNDS; b++) {
        count += sums->buckets[b];
        peri_buf_add_lit(out, "http_request_duration_seconds_bucket");
        add_labels(out, route, method);
        if (b < BOUNDS)
            peri_buf_addf(out, ",le=\"%g\"} %llu\n", (double) bounds[b] / 1e6,
                          (unsigned long long) count);
        else
            peri_buf_addf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long) count);
    }
    peri_buf_add_lit(out, "http_request_duration_seconds_sum");
    add_labels(out, route, method);
    peri_buf_add_lit(out, "} ");
    add_seconds(out, sums->total_us);
    peri_buf_add_lit(out, "\nhttp_request_duration_seconds_count");
    add_labels(out, route, method);
    peri_buf_addf(out, "} %llu\n", (unsigned long long) count);
}

static void write_requests(struct peri_buf *out, const struct peri_metrics_route *routes,
                           void (*write)(struct peri_buf *out,
                                         const struct peri_metrics_route *route, unsigned method,
                                         const struct sums *sums))
{
    struct sums sums;
    for (; routes != NULL; routes = routes->next) {
        for (unsigned method = 0; method < 64; method++) {
            if (sum_up(routes, method, &sums))
                write(out, routes, method, &sums);
        }
    }
}

static void add_number(struct peri_buf *out, const char *name, const char *type, const char *help,
                       double value)
{
    head(out, name, type, help);
    peri_buf_addf(out, "%s %.15g\n", name, value);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double) usage.ru_utime.tv_sec + (double) usage.ru_stime.tv_sec +
           (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double resident_bytes(void)
{
    size_t bytes = 0;
    uv_resident_set_memory(&bytes);
    return (double) bytes;
}

static double open_descriptors(void)
{
    double count = -1; /* the one that counts them */
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return 0;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* Seconds since 1970; 0 when the system does not tell. */
static double start_time(void)
{
    char text[1024] = "";
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL)
        return 0;
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return 0;
    struct timespec now;
    struct timespec since_boot;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    return (double) (now.tv_sec - since_boot.tv_sec) +
           (double) (now.tv_nsec - since_boot.tv_nsec) / 1e9 +
           strtod(at, NULL) / (double) sysconf(_SC_CLK_TCK);
}

static void write_process(struct peri_buf *out)
{
    head(out, "perigee_info", "gauge", "The version that runs.");
    peri_buf_add_lit(out, "perigee_info{version=\"" PERIGEE_VERSION "\"} 1\n");
    add_number(out, "process_cpu_seconds_total", "counter", "User and system time.", cpu_seconds());
    add_number(out, "process_resident_memory_bytes", "gauge", "Memory in use.", resident_bytes());
    add_number(out, "process_open_fds", "gauge", "Open descriptors.", open_descriptors());
    add_number(out, "process_start_time_seconds", "gauge", "Start, in seconds since 1970.",
               start_time());
}

/* One line for each loop. */
static void write_gauge(struct peri_buf *out, const struct peri_server *server, const char *name,
                        const char *type, const char *help, size_t offset, double unit)
{
    head(out, name, type, help);
    for (unsigned i = 0; i < server->loop_count; i++) {
        const char *at = (const char *) &server->loops[i].gauges + offset;
        uint64_t value = atomic_load((const atomic_ullong *) (const void *) at);
        peri_buf_addf(out, "%s{loop=\"%u\"} %.15g\n", name, i, (double) value * unit);
    }
}

#define GAUGE(name, type, help, member, unit)                                                      \
    write_gauge(out, server, name, type, help, offsetof(struct peri_gauges, member), unit)

static void write_loops(struct peri_buf *out, const struct peri_server *server)
{
    long long in_flight = 0;
    for (unsigned i = 0; i < server->loop_count; i++)
        in_flight += atomic_load(&server->loops[i].gauges.in_flight);
    add_number(out, "http_requests_in_flight", "gauge", "Requests that have begun and not ended.",
               (double) in_flight);
    add_number(out, "perigee_connections", "gauge", "Open connections.",
               (double) atomic_load(&server->connections));
    GAUGE("perigee_loop_lag_seconds", "gauge", "How long the loop took to answer, last time.",
          lag_ns, 1e-9);
    GAUGE("perigee_slow_slices_total", "counter", "Times that code held the loop for over 10 ms.",
          overruns, 1);
    GAUGE("perigee_tasks", "gauge", "Tasks that have not ended.", tasks, 1);
    GAUGE("perigee_lua_memory_bytes", "gauge", "Memory that the loop's VMs hold.", lua_bytes, 1);
    GAUGE("perigee_lua_gc_cycles_total", "counter", "Collections, small ones included.", gc_cycles,
          1);
}

static void write_workers(struct peri_buf *out, struct peri_workers *workers)
{
    struct peri_workers_stats stats = peri_workers_stats(workers);
    add_number(out, "perigee_workers", "gauge", "Worker threads.", stats.threads);
    add_number(out, "perigee_workers_busy", "gauge", "Worker threads that run something.",
               stats.busy);
    add_number(out, "perigee_worker_queue_depth", "gauge", "Calls that wait for a thread.",
               stats.depth);
    add_number(out, "perigee_worker_calls_total", "counter", "Calls given to a thread.",
               (double) stats.trips);
    add_number(out, "perigee_worker_calls_refused_total", "counter", "Calls answered with 503.",
               (double) stats.refused);
    add_number(out, "perigee_worker_queue_wait_seconds_total", "counter",
               "Time that calls have waited for a thread, together.", (double) stats.wait_ns / 1e9);
}

void peri_metrics_write(const struct peri_server *server, struct peri_workers *workers,
                        struct peri_buf *out)
{
    pthread_mutex_lock(&metrics.lock);
    const struct peri_metrics_route *routes = metrics.routes; /* only ever grows, at its front */
    pthread_mutex_unlock(&metrics.lock);
    head(out, "http_requests_total", "counter", "Requests, by operation and status.");
    write_requests(out, routes, write_counts);
    head(out, "http_request_duration_seconds", "histogram",
         "From the first byte of a request to the end of its answer.");
    write_requests(out, routes, write_durations);
    if (server != NULL && server->loop_count > 0)
        write_loops(out, server);
    if (workers != NULL)
        write_workers(out, workers);
    write_process(out);
}
