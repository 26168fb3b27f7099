/* Fails calls of the C library on paths below one folder: the Nth, and as many as are told behind it.
 *
 * Loaded with LD_PRELOAD, so that the calls of Python and those of SQLite pass here alike. The test maps the same file
 * (DISK_CONTROL) and may arm and disarm at any moment; it survives restarts of the process. Every call below the folder
 * (DISK_FOLDER) is written into the journal, failed or not, which is how a test knows that its fault fired and where.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE, FSYNC, RENAME, CREATE, MKDIR, TRUNCATE, UNLINK, OPEN, LOCK, MAP, CHMOD, TIMES };  /* the order of ``Call`` in injector.py */

#define LINES 131072

struct line { uint32_t call, failed; char path[120]; };

struct control {
    _Atomic uint64_t calls;   /* bits of those that fail; 0 disarms */
    _Atomic uint64_t error;
    _Atomic uint64_t first;   /* the number of the first that fails, from 1 */
    _Atomic uint64_t times;   /* how many fail in a row */
    _Atomic uint64_t seen;    /* of the armed calls, since they were armed */
    _Atomic uint64_t fired;
    _Atomic uint64_t written; /* lines of the journal */
    _Atomic uint64_t loaded;  /* processes that have this file mapped */
    _Atomic uint64_t era;     /* descriptors that were opened in an earlier one are stale, as NFS has them */
    _Atomic uint64_t delay;   /* milliseconds that each of the armed calls takes; it fails only where there is an error */
    struct line journal[LINES];
};

static struct control *control;
static char folder[PATH_MAX];
static uint64_t born[65536];  /* the era of each descriptor */
static size_t length;

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("DISK_CONTROL"), *below = getenv("DISK_FOLDER");
    if (!path || !below)
        return;
    int (*really)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    int descriptor = really(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        abort();
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped == MAP_FAILED)
        abort();
    length = strlen(below);
    memcpy(folder, below, length + 1);
    control = mapped;
    control->loaded++;
}

static int of_descriptor(int descriptor, char *path) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return 1;
}

static int of_name(int parent, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return 1;
    }
    if (parent == AT_FDCWD ? !getcwd(path, PATH_MAX) : !of_descriptor(parent, path))
        return 0;
    size_t size = strlen(path);
    snprintf(path + size, PATH_MAX - size, "/%s", name);
    return 1;
}

static int below(const char *path) {
    return !strncmp(path, folder, length) && (!path[length] || path[length] == '/');
}

static int stale(int descriptor) {
    char path[PATH_MAX];
    int before = errno, found = 0;
    if (control && control->era && descriptor >= 0 && descriptor < 65536 && born[descriptor] < control->era)
        found = of_descriptor(descriptor, path) && below(path);
    errno = before;
    if (!found)
        return 0;
    control->fired++;
    errno = ESTALE;
    return 1;
}

static int opened(int descriptor) {
    if (control && descriptor >= 0 && descriptor < 65536)
        born[descriptor] = control->era;
    return descriptor;
}

/* 1 where the call is to fail; errno is then set, and otherwise as it was. */
static int fails(int call, const char *path) {
    int failed = 0;
    uint64_t armed = control->calls, delay = control->delay;
    if (armed >> call & 1) {
        uint64_t number = atomic_fetch_add(&control->seen, 1) + 1, first = control->first;
        if (number >= first && number - first < control->times) {
            failed = control->error != 0;
            control->fired++;
            struct timespec pause = { delay / 1000, delay % 1000 * 1000000 };
            if (delay)
                nanosleep(&pause, NULL);
        }
    }
    struct line *line = &control->journal[atomic_fetch_add(&control->written, 1) % LINES];
    line->call = call;
    line->failed = failed;
    snprintf(line->path, sizeof line->path, "%s", path + length);
    if (failed)
        errno = control->error;
    return failed;
}

static int fails_there(int call, int descriptor) {
    if (stale(descriptor))
        return 1;
    char path[PATH_MAX];
    int before = errno, found = control && of_descriptor(descriptor, path);
    errno = before;
    return found && below(path) && fails(call, path);
}

/* What the kernel says before it looks at the disk's state stays as it is: there is already, or there is no such name. */
static int fails_at(int call, int parent, const char *name) {
    if (name && name[0] != '/' && stale(parent))
        return 1;
    char path[PATH_MAX];
    struct stat there;
    int before = errno, found = control && name && of_name(parent, name, path) && below(path);
    if (found) {
        int exists = !lstat(path, &there);
        if (call == CREATE && exists)
            call = OPEN;
        else if (call == MKDIR ? exists : call != CREATE && !exists)
            found = 0;
    }
    errno = before;
    return found && fails(call, path);
}

#define REAL(result, name, ...) \
    static result (*really)(__VA_ARGS__); \
    if (!really) \
        really = dlsym(RTLD_NEXT, #name)

#define THERE(result, call, name, taken, given) \
    result name taken { \
        REAL(result, name, PARAMETERS taken); \
        return fails_there(call, descriptor) ? -1 : really given; \
    }
#define PARAMETERS(...) __VA_ARGS__

THERE(ssize_t, WRITE, write, (int descriptor, const void *bytes, size_t size), (descriptor, bytes, size))
THERE(ssize_t, WRITE, pwrite, (int descriptor, const void *bytes, size_t size, off_t at), (descriptor, bytes, size, at))
THERE(ssize_t, WRITE, pwrite64, (int descriptor, const void *bytes, size_t size, off64_t at),
      (descriptor, bytes, size, at))
THERE(ssize_t, WRITE, writev, (int descriptor, const struct iovec *parts, int count), (descriptor, parts, count))
THERE(ssize_t, WRITE, sendfile, (int descriptor, int from, off_t *at, size_t size), (descriptor, from, at, size))
THERE(ssize_t, WRITE, sendfile64, (int descriptor, int from, off64_t *at, size_t size), (descriptor, from, at, size))
THERE(int, FSYNC, fsync, (int descriptor), (descriptor))
THERE(int, FSYNC, fdatasync, (int descriptor), (descriptor))
THERE(int, TRUNCATE, ftruncate, (int descriptor, off_t size), (descriptor, size))
THERE(int, TRUNCATE, ftruncate64, (int descriptor, off64_t size), (descriptor, size))

THERE(int, LOCK, flock, (int descriptor, int operation), (descriptor, operation))
THERE(int, CHMOD, fchmod, (int descriptor, mode_t mode), (descriptor, mode))
THERE(int, TIMES, futimens, (int descriptor, const struct timespec times[2]), (descriptor, times))

/* Of the many things that fcntl does only the setting of locks is one of the file system. */
#define LOCKED(name) \
    int name(int descriptor, int command, ...) { \
        REAL(int, name, int, int, ...); \
        va_list more; \
        va_start(more, command); \
        void *argument = va_arg(more, void *); \
        va_end(more); \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW; \
        if (locks && fails_there(LOCK, descriptor)) \
            return -1; \
        int result = really(descriptor, command, argument); \
        if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && result >= 0 && result < 65536 && descriptor < 65536) \
            born[result] = born[descriptor]; \
        return result; \
    }
LOCKED(fcntl)
LOCKED(fcntl64)

#define MAPPED(name, offset) \
    void *name(void *at, size_t size, int protection, int flags, int descriptor, offset from) { \
        REAL(void *, name, void *, size_t, int, int, int, offset); \
        int shared = descriptor >= 0 && (flags & MAP_TYPE) != MAP_PRIVATE; \
        return shared && fails_there(MAP, descriptor) ? MAP_FAILED : really(at, size, protection, flags, descriptor, from); \
    }
MAPPED(mmap, off_t)
MAPPED(mmap64, off64_t)

/* A name that is not there to be removed is not there: somebody else was faster. */
#define AT(result, call, name, parent, path, taken, given) \
    result name taken { \
        REAL(result, name, PARAMETERS taken); \
        if (!fails_at(call, parent, path)) \
            return really given; \
        if (call == UNLINK && errno == ENOENT) { \
            really given; \
            errno = ENOENT; \
        } \
        return -1; \
    }

AT(int, RENAME, rename, AT_FDCWD, from, (const char *from, const char *to), (from, to))
AT(int, RENAME, renameat, parent, from, (int parent, const char *from, int target, const char *to),
   (parent, from, target, to))
AT(int, RENAME, renameat2, parent, from,
   (int parent, const char *from, int target, const char *to, unsigned int flags), (parent, from, target, to, flags))
AT(int, MKDIR, mkdir, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
AT(int, MKDIR, mkdirat, parent, path, (int parent, const char *path, mode_t mode), (parent, path, mode))
AT(int, UNLINK, unlink, AT_FDCWD, path, (const char *path), (path))
AT(int, UNLINK, unlinkat, parent, path, (int parent, const char *path, int flags), (parent, path, flags))
AT(int, UNLINK, rmdir, AT_FDCWD, path, (const char *path), (path))

/* A volume that is read-only refuses every opening that would write, not only those that would make a file. */
#define OPENED(name, parent, taken, given) \
    int name taken { \
        REAL(int, name, PARAMETERS taken); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if ((flags & O_CREAT || (flags & O_ACCMODE) != O_RDONLY) && fails_at(flags & O_CREAT ? CREATE : OPEN, parent, path)) \
            return -1; \
        if (path[0] != '/' && stale(parent)) \
            return -1; \
        return opened(really given); \
    }

OPENED(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPENED(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPENED(openat, parent, (int parent, const char *path, int flags, ...), (parent, path, flags, mode))
OPENED(openat64, parent, (int parent, const char *path, int flags, ...), (parent, path, flags, mode))

/* What reads fails on a stale descriptor only. */
#define READ(result, none, name, taken, given) \
    result name taken { \
        REAL(result, name, PARAMETERS taken); \
        return stale(descriptor) ? none : really given; \
    }

READ(ssize_t, -1, read, (int descriptor, void *bytes, size_t size), (descriptor, bytes, size))
READ(ssize_t, -1, pread, (int descriptor, void *bytes, size_t size, off_t at), (descriptor, bytes, size, at))
READ(ssize_t, -1, pread64, (int descriptor, void *bytes, size_t size, off64_t at), (descriptor, bytes, size, at))
READ(int, -1, fstat, (int descriptor, struct stat *found), (descriptor, found))
READ(int, -1, fstat64, (int descriptor, struct stat64 *found), (descriptor, found))
READ(int, -1, fstatat, (int descriptor, const char *path, struct stat *found, int flags),
     (descriptor, path, found, flags))
READ(int, -1, fstatat64, (int descriptor, const char *path, struct stat64 *found, int flags),
     (descriptor, path, found, flags))
READ(DIR *, NULL, fdopendir, (int descriptor), (descriptor))
