#include "allocation_count.h"

#include <errno.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define MR_SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(MR_SANITIZED)

// glibc's own allocator under the names it keeps for replacements such as this one.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

// Initial-exec, as in any executable: reading it never allocates.
static _Thread_local mr_allocations counted;

static inline void note(size_t size) {
  counted.calls += 1;
  counted.bytes += size;
}

void *malloc(size_t size) {
  note(size);
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  note(count * size);
  return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
  note(size);
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  note(size);
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  note(size);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
  note(size);
  void *memory = __libc_memalign(alignment, size);
  if (!memory) return ENOMEM;
  *out = memory;
  return 0;
}

mr_allocations mr_allocations_now(void) { return counted; }
int mr_allocations_are_counted(void) { return 1; }

#else

mr_allocations mr_allocations_now(void) { return (mr_allocations){0, 0}; }
int mr_allocations_are_counted(void) { return 0; }

#endif
