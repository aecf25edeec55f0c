/* Tries what leads from a chroot to its host, and prints how each attempt ends: NAME=ERROR, or NAME=done. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void
tell (const char *name, long result)
{
    printf ("%s=%s\n", name, result < 0 ? strerrorname_np (errno) : "done");
}

static long
open_handle (const char *path)
{
    struct { struct file_handle handle; char bytes[MAX_HANDLE_SZ]; } space = { .handle.handle_bytes = MAX_HANDLE_SZ };
    int mount_id;

    if (name_to_handle_at (AT_FDCWD, path, &space.handle, &mount_id, 0) < 0)
        return -1;
    return open_by_handle_at (open (path, O_RDONLY), &space.handle, O_RDONLY);
}

static long
trace_another (void)
{
    int ready[2];
    char byte;
    pid_t other;
    long result;
    int error;

    if (pipe (ready) < 0 || (other = fork ()) < 0)
        exit (1);
    if (other == 0) {
        if (setresuid (1, 1, 1) == 0 || errno == EPERM)
            write (ready[1], "", 1);
        pause ();
    }
    read (ready[0], &byte, 1);
    result = ptrace (PTRACE_SEIZE, other, 0, 0);
    error = errno;
    kill (other, SIGKILL);
    waitpid (other, NULL, 0);
    errno = error;
    return result;
}

int
main (void)
{
    struct ifreq down = { .ifr_name = "lo" };

    tell ("mknod", mknod ("attempt", S_IFBLK | 0600, makedev (8, 0)));
    tell ("mount", mount ("tmpfs", "/mnt", "tmpfs", 0, NULL));
    tell ("remount", mount (NULL, "/srv/hapkg/archives", NULL, MS_BIND | MS_REMOUNT, NULL));
    tell ("umount", umount2 ("/hapkg", MNT_DETACH));
    tell ("module", syscall (SYS_init_module, "", 0, ""));
    if (geteuid () == 0)
        tell ("ptrace", trace_another ());
    tell ("chroot", chroot ("/"));
    tell ("handle", open_handle ("/srv/hapkg/archives"));
    tell ("user namespace", unshare (CLONE_NEWUSER));
    tell ("host name", sethostname ("other", 5));
    tell ("raw socket", socket (AF_INET, SOCK_RAW, 1));
    tell ("interface", ioctl (socket (AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &down));
    tell ("core_pattern", open ("/proc/sys/kernel/core_pattern", O_WRONLY));
    tell ("archives", open ("/srv/hapkg/archives/attempt", O_WRONLY | O_CREAT, 0644));
    tell ("beside enter", open ("/hapkg/attempt", O_WRONLY | O_CREAT, 0644));
    tell ("rename", rename ("/hapkg", "/other"));
    return 0;
}
