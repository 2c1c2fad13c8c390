/* Tries what the unit forbids, and says what came of it: one line a try, `NAME WHAT`, where WHAT is `killed` (SIGSYS),
 * `refused ERRNO`, or `ALLOWED`. Run in the place of the daemon, by a copy of its unit.
 *
 * With the word `devices`: opens every path that it reads, and says those that the control group did not refuse. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static long mounts(void) { return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0); }
static long unmounts(void) { return syscall(SYS_umount2, "/tmp", 0); }
static long pivots(void) { return syscall(SYS_pivot_root, "/tmp", "/tmp"); }
static long chroots(void) { return syscall(SYS_chroot, "/"); }
static long reboots(void) { return syscall(SYS_reboot, 0, 0, 0, 0); }
static long swaps(void) { return syscall(SYS_swapon, "/dev/vda", 0); }
static long loads(void) { return syscall(SYS_init_module, 0, 0, ""); }
static long kexecs(void) { return syscall(SYS_kexec_load, 0, 0, 0, 0); }
static long bpfs(void) { return syscall(SYS_bpf, 0, 0, 0); }
static long watches(void) { return syscall(SYS_perf_event_open, 0, 0, -1, -1, 0); }
static long traces(void) { return syscall(SYS_ptrace, 16, 1, 0, 0); }
static long reads(void) {
    /* Of process 1, wherever: who may not look is told so before the address is. */
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)4096, 1};
    return syscall(SYS_process_vm_readv, 1, &here, 1, &there, 1, 0);
}
static long keys(void) { return syscall(SYS_userfaultfd, 0); }
static long sets_clock(void) { return syscall(SYS_settimeofday, 0, 0); }
static long names(void) { return syscall(SYS_sethostname, "x", 1); }
static long accounts(void) { return syscall(SYS_acct, 0); }
static long handles(void) { return syscall(SYS_open_by_handle_at, -1, 0, 0); }
static long setgids(void) { return syscall(SYS_setgroups, 0, 0); }
static long quotas(void) { return syscall(SYS_quotactl, 0, 0, 0, 0); }
static long logs(void) { return syscall(SYS_syslog, 3, 0, 0); }
static long own_users(void) { return syscall(SYS_unshare, CLONE_NEWUSER); }
static long own_network(void) { return syscall(SYS_unshare, CLONE_NEWNET); }
static long priorities(void) { return syscall(SYS_setpriority, 0, 0, -20); }
static long realtime(void) {
    struct sched_param wanted = {.sched_priority = 1};
    return syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &wanted);
}
static long packets(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static long netlink(void) { return socket(AF_NETLINK, SOCK_RAW, 0); }
static long bluetooth(void) { return socket(31, SOCK_RAW, 1); }
static long raw(void) { return socket(AF_INET, SOCK_RAW, 1); }
static long code(void) {
    void *memory = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? -1 : 0;
}
static long personalities(void) { return syscall(SYS_personality, 0x0008); }
static long setuids(void) {
    /* A file of its own that would run as its owner for others. */
    long made = syscall(SYS_openat, AT_FDCWD, "/tmp/probe-setuid", 0101, 0600);
    if (made < 0) return 0;
    return syscall(SYS_fchmod, made, 04755);
}
/* What must work: or the tries prove nothing. */
static long control(void) { return syscall(SYS_getppid) > 0 ? 0 : -1; }

static const struct {
    const char *name;
    long (*try)(void);
} tries[] = {
    {"control", control}, {"mount", mounts}, {"umount2", unmounts}, {"pivot_root", pivots}, {"chroot", chroots},
    {"reboot", reboots}, {"swapon", swaps}, {"init_module", loads}, {"kexec_load", kexecs}, {"bpf", bpfs},
    {"perf_event_open", watches}, {"ptrace", traces}, {"process_vm_readv", reads}, {"userfaultfd", keys},
    {"settimeofday", sets_clock}, {"sethostname", names}, {"acct", accounts}, {"open_by_handle_at", handles},
    {"setgroups", setgids}, {"quotactl", quotas}, {"syslog", logs}, {"unshare-user", own_users},
    {"unshare-network", own_network}, {"setpriority", priorities}, {"sched_setscheduler", realtime},
    {"socket-packet", packets}, {"socket-netlink", netlink}, {"socket-bluetooth", bluetooth}, {"socket-raw", raw},
    {"mmap-write-exec", code}, {"personality", personalities}, {"chmod-setuid", setuids},
};

static int devices(void) {
    char path[4096];
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = 0;
        int opened = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY);
        /* Whatever the driver says, it was asked. */
        if (opened >= 0 || errno != EPERM) puts(path);
        if (opened >= 0) close(opened);
    }
    return 0;
}

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "devices") == 0) return devices();
    for (size_t at = 0; at < sizeof tries / sizeof *tries; at++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) _exit(tries[at].try() < 0 ? errno : 0);
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) printf("%s killed\n", tries[at].name);
        else if (WIFSIGNALED(status)) printf("%s ended by signal %d\n", tries[at].name, WTERMSIG(status));
        else if (WEXITSTATUS(status)) printf("%s refused %s\n", tries[at].name, strerrorname_np(WEXITSTATUS(status)));
        else printf("%s ALLOWED\n", tries[at].name);
    }
    return 0;
}
