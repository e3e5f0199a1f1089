/* What of each file would survive a power cut, at file level.
 *
 * Preloaded into a node, this passes every call on and keeps a journal (the file named by LAB_SYNCED): the path and
 * size of a file whenever a sync of it has succeeded, and every rename. The lab then cuts each file to the size it
 * had at its last sync. Directories are taken to be durable at once, which is kinder than the worst file system.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void journal(const char *verb, const char *one, const char *other)
{
    char line[9000];
    const char *path = getenv("LAB_SYNCED");
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", verb, one, other);
    int file;
    if (path == NULL || length < 0 || length >= (int) sizeof line)
        return;
    /* One write to a file opened for appending: lines of several threads do not mix. */
    file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    if (write(file, line, (size_t) length) != length)
        abort();
    close(file);
}

static void synced(int descriptor)
{
    char link[64], path[4096], size[32];
    struct stat about;
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0 || fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode))
        return;
    path[length] = '\0';
    snprintf(size, sizeof size, "%lld", (long long) about.st_size);
    journal("synced", path, size);
}

int fsync(int descriptor)
{
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    int result = real(descriptor);
    if (result == 0)
        synced(descriptor);
    return result;
}

int fdatasync(int descriptor)
{
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    int result = real(descriptor);
    if (result == 0)
        synced(descriptor);
    return result;
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *)) dlsym(RTLD_NEXT, "rename");
    int result = real(from, to);
    if (result == 0)
        journal("renamed", from, to);
    return result;
}
