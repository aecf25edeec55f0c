/* hapkg-enter HOLDER USER HOST COMMAND... - runs one command in a session of a chroot.

   The command gets process, mount, IPC, host name and network namespaces of its own, with nothing but a loopback, and
   an environment made from nothing. It dies with the program that entered the chroot and with the process HOLDER, so
   that no end of hapkg leaves a process behind. USER is root or the build user. HOST is the name of the machine that
   the command sees; unless that is DEFAULT_HOST, it may give addresses to the network of its own.

   It is root with all rights, in a root folder where packages of others have run scripts as root. So it is static and
   lies on a mount that the session cannot change: no file of the session counts before the rights are gone. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_STARTED = 126, NOT_FOUND = 127 };

/* What dpkg and maintainer scripts need. Of the others, mknod and sys_admin lead to the disks of the machine, sys_chroot
   and dac_read_search (by file handles) to its files, sys_module, sys_ptrace and so on to its kernel and processes. */
static const int kept[] = {
    CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETFCAP, CAP_AUDIT_WRITE,
};

/* Settings of the kernel ask for root and for no right: core_pattern names a program that the machine then runs. */
static const char *const read_only[] = {
    "/proc/acpi", "/proc/asound", "/proc/bus", "/proc/dynamic_debug", "/proc/fs", "/proc/irq", "/proc/mtrr",
    "/proc/scsi", "/proc/sys", "/proc/sysrq-trigger",
};

static void
check (int failed, const char *what)
{
    if (failed) {
        fprintf (stderr, "hapkg-enter: %s: %s\n", what, strerror (errno));
        exit (NOT_STARTED);
    }
}

/* The death of the parent is to be ours. A parent that died before we could say so has closed the pipe. */
static void
die_with_parent (int pipe_of_parent)
{
    struct pollfd held = { .fd = pipe_of_parent };

    check (prctl (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG");
    if (poll (&held, 1, 0) != 0)
        exit (NOT_STARTED);
}

static void
mount_proc (void)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    struct stat found;

    check (mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount namespace");
    check (lstat ("/proc", &found), "/proc");
    errno = ENOTDIR;
    check (!S_ISDIR (found.st_mode), "/proc");
    check (mount ("proc", "/proc", "proc", flags, NULL), "/proc");
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
        const char *path = read_only[i];
        if (access (path, F_OK) != 0)
            continue;
        check (mount (path, path, NULL, MS_BIND, NULL), path);
        check (mount (NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL), path);
    }
}

static void
raise_loopback (void)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int socket_fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    check (socket_fd < 0, "loopback");
    check (ioctl (socket_fd, SIOCSIFFLAGS, &request), "loopback");
    close (socket_fd);
}

static int
keeps (int capability, int may_address)
{
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (kept[i] == capability)
            return 1;
    return may_address && capability == CAP_NET_ADMIN;
}

/* The next program has no more than what is kept, and no program after it, whatever its owner and modes. */
static void
drop_rights (uid_t user, int may_address)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct rights[_LINUX_CAPABILITY_U32S_3];
    gid_t group = user;

    for (int capability = 0; prctl (PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (!keeps (capability, may_address))
            check (prctl (PR_CAPBSET_DROP, capability, 0, 0, 0), "PR_CAPBSET_DROP");
    check (prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "PR_CAP_AMBIENT");
    check (syscall (SYS_capget, &header, rights) != 0, "capget");
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        rights[i].inheritable = 0;
    check (syscall (SYS_capset, &header, rights) != 0, "capset");
    check (setgroups (1, &group), "setgroups");
    check (setresgid (group, group, group), "setresgid");
    check (setresuid (user, user, user), "setresuid");
    check (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
}

static void
set_environment (const char *name)
{
    clearenv ();
    setenv ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv ("LC_ALL", "C.UTF-8", 1);
    setenv ("TZ", "UTC", 1);
    setenv ("TERM", "dumb", 1);
    setenv ("HOME", "/nonexistent", 1);
    setenv ("USER", name, 1);
    setenv ("LOGNAME", name, 1);
    setenv ("DEBIAN_FRONTEND", "noninteractive", 1);
    setenv ("DEBCONF_NONINTERACTIVE_SEEN", "true", 1);
}

/* Wait for the end of the command, and end it with the process that wants it. */
static int
follow (pid_t command, pid_t holder, pid_t parent, const sigset_t *ended)
{
    const struct timespec second = { .tv_sec = 1 };
    int status;

    while (waitpid (command, &status, WNOHANG) != command) {
        sigtimedwait (ended, NULL, &second);
        /* An ordinary user's hapkg enters through a setuid program, which the kernel does not tell of its death. */
        if (getppid () != parent || (kill (holder, 0) != 0 && errno == ESRCH)) {
            kill (command, SIGKILL);
            waitpid (command, &status, 0);
            break;
        }
    }
    if (WIFEXITED (status))
        return WEXITSTATUS (status);
    return 128 + WTERMSIG (status);
}

int
main (int argc, char **argv)
{
    pid_t parent = getppid (), command;
    sigset_t ended, before;
    int held[2], may_address;
    uid_t user;

    if (argc < 5) {
        fprintf (stderr, "usage: hapkg-enter HOLDER USER HOST COMMAND...\n");
        return NOT_STARTED;
    }
    user = strcmp (argv[2], "root") == 0 ? 0 : BUILD_UID;
    may_address = strcmp (argv[3], DEFAULT_HOST) != 0;
    check (prctl (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG");
    check (unshare (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET), "namespaces");
    check (pipe2 (held, O_CLOEXEC), "pipe");
    sigemptyset (&ended);
    sigaddset (&ended, SIGCHLD);
    sigprocmask (SIG_BLOCK, &ended, &before);
    command = fork ();
    check (command < 0, "fork");
    if (command > 0) {
        close (held[0]);
        return follow (command, atoi (argv[1]), parent, &ended);
    }
    close (held[1]);
    sigprocmask (SIG_SETMASK, &before, NULL);
    die_with_parent (held[0]);
    mount_proc ();
    check (sethostname (argv[3], strlen (argv[3])), "host name");
    raise_loopback ();
    check (chdir ("/"), "/");
    drop_rights (user, may_address);
    die_with_parent (held[0]); /* becoming another user forgets it */
    set_environment (user == 0 ? "root" : BUILD_USER);
    execvp (argv[4], argv + 4);
    fprintf (stderr, "hapkg-enter: %s: %s\n", argv[4], strerror (errno));
    return errno == ENOENT ? NOT_FOUND : NOT_STARTED;
}
