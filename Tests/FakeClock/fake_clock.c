// A wall clock for one process that jumps and stands still when a file says so; for LD_PRELOAD, in tests alone.
//
// Why not libfaketime: it moves the environment, so that Swift finds no arguments, and passes over cnd_timedwait, with
// which the client library waits. The monotonic clock is left alone, as jumps of the real one leave it.

#define _GNU_SOURCE
#include "fake_clock.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const struct fake_clock still = {0, 0};
static const volatile struct fake_clock *told = &still;

__attribute__((constructor)) static void open_file(void) {
  const char *path = getenv("MILLRACE_FAKE_CLOCK");
  if (!path) return;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void *place = mmap(NULL, sizeof(struct fake_clock), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (place != MAP_FAILED) told = place;
}

static int64_t real_now(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t now(void) { return told->frozen_ns ? told->frozen_ns : real_now() + told->offset_ns; }

static struct timespec moment(int64_t ns) {
  return (struct timespec){.tv_sec = ns / 1000000000LL, .tv_nsec = ns % 1000000000LL};
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, clock, time);
  *time = moment(now());
  return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  int64_t ns = now();
  time->tv_sec = ns / 1000000000LL;
  time->tv_usec = ns % 1000000000LL / 1000;
  return 0;
}

time_t time(time_t *out) {
  time_t seconds = (time_t)(now() / 1000000000LL);
  if (out) *out = seconds;
  return seconds;
}

int timespec_get(struct timespec *time, int base) {
  *time = moment(now());
  return base;
}

// Until a moment of the faked clock: as long as that is away now.
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
  static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
  if (!next) next = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
  int64_t away = until->tv_sec * 1000000000LL + until->tv_nsec - now();
  struct timespec real = moment(real_now() + away);
  return next(condition, mutex, &real);
}
