#include "scratch.h"

#include "api/api.h"

#include <uv.h>

int peri_scratch_open(struct peri_scratch *scratch)
{
    *scratch = (struct peri_scratch){.result = peri_result_new()};
    if (scratch->result == NULL)
        return UV_ENOMEM;
    peri_result_on_file(scratch->result, peri_file_push);
    return 0;
}

void peri_scratch_close(struct peri_scratch *scratch)
{
    peri_buf_deinit(&scratch->body);
    peri_buf_deinit(&scratch->text);
    peri_buf_deinit(&scratch->decoded);
    peri_gather_deinit(&scratch->gather);
    peri_result_free(scratch->result);
}
