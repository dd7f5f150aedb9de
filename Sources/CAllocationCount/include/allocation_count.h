#ifndef MILLRACE_ALLOCATION_COUNT_H
#define MILLRACE_ALLOCATION_COUNT_H

#include <stdint.h>

/// Allocations of the calling thread since it began, and the bytes it asked for.
///
/// Linking this target replaces malloc, calloc, realloc and their aligned relatives for the whole process, shared
/// libraries and the Swift runtime included; each counts and calls the C library's own. Frees are not counted.
/// Not counted: what libraries map by themselves, and threads other than the caller.
typedef struct {
  uint64_t calls;
  uint64_t bytes;
} mr_allocations;

mr_allocations mr_allocations_now(void);

/// 1 if the replacement is in force: sanitizers bring allocators of their own, and then nothing is counted.
int mr_allocations_are_counted(void);

#endif
