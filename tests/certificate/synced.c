/* What the kernel of a gateway with a time server says: its clock follows a reference (adjtimex(2)). Laid before the C
 * library's own call, as the machine of the tests may have no time server. */
#include <string.h>
#include <sys/timex.h>

int adjtimex(struct timex *answer)
{
    memset(answer, 0, sizeof *answer);
    answer->status = STA_PLL;
    answer->maxerror = 1000;
    return TIME_OK;
}
