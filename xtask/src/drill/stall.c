/* Stands before the C library in a server of `cargo xtask drill stall`: while the file that
 * DRILL_STALL names is there, every sync of a file waits 300 ms first, as on a disk that hangs. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void stall(void)
{
	const char *file = getenv("DRILL_STALL");
	struct timespec pause = { 0, 300 * 1000 * 1000 };

	if (file && access(file, F_OK) == 0)
		nanosleep(&pause, NULL);
}

static int with(const char *name, int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

	stall();
	return real(fd);
}

int fsync(int fd)
{
	return with("fsync", fd);
}

int fdatasync(int fd)
{
	return with("fdatasync", fd);
}
