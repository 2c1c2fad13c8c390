/* What the kernel of a gateway says of its clock (adjtimex(2)), as STATUS has it: laid before the C library's own call,
 * as the machine of the tests may have a time server or none. */
#include <string.h>
#include <sys/timex.h>

int adjtimex(struct timex *answer)
{
    memset(answer, 0, sizeof *answer);
    answer->status = STATUS;
    answer->maxerror = 1000;
    return STATUS & STA_UNSYNC ? TIME_ERROR : TIME_OK;
}
