#include "crash.h"

#include "exchange.h"
#include "loop.h"
#include "supervised.h"

#include <signal.h>
#include <string.h>

static __thread struct peri_loop *own_loop;

/* Only what is safe in a signal handler: reads memory that may be broken, writes to a socket. */
static void on_crash(int number)
{
    const struct peri_loop *loop = own_loop;
    own_loop = NULL; /* a second crash, in here, says nothing */
    const struct peri_exchange *exchange =
        loop != NULL && loop->vm != NULL ? peri_exchange_of_task(loop->vm->tasks.current) : NULL;
    if (exchange != NULL) {
        const struct peri_request *request = &exchange->request;
        size_t method_len = 0;
        const char *method = peri_request_method(request, &method_len);
        char text[512] = "last ";
        size_t len = strlen(text);
        if (method_len > 32)
            method_len = 32;
        size_t target_len = request->target.len;
        memcpy(text + len, method, method_len);
        len += method_len;
        text[len++] = ' ';
        if (target_len > sizeof(text) - len)
            target_len = sizeof(text) - len;
        memcpy(text + len, peri_request_at(request, request->target), target_len);
        peri_supervised_crash(text, len + target_len);
    }
    raise(number); /* the handler was reset: this is the end */
}

void peri_crash_open(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        sigaction(numbers[i], &action, NULL);
#else
    (void) on_crash;
#endif
}

void peri_crash_of_loop(struct peri_loop *loop)
{
    own_loop = loop;
}
