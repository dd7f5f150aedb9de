#ifndef FAKE_CLOCK_H
#define FAKE_CLOCK_H

#include <stdint.h>

// What the file that MILLRACE_FAKE_CLOCK names holds; it may be changed at any time.
struct fake_clock {
  int64_t offset_ns; // added to the wall clock
  int64_t frozen_ns; // where the wall clock stands, since 1970; 0: it goes
};

#endif
