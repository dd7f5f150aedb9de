#ifndef MILLRACE_STACKS_H
#define MILLRACE_STACKS_H

#include <stddef.h>

/// A second stack to run on, so that many threads of a simulated world take turns on one thread of this process.
typedef struct mr_stack mr_stack;

/// A stack of `bytes` below which lies a page that cannot be touched; NULL where there is no memory.
mr_stack *mr_stack_make(size_t bytes);
void mr_stack_free(mr_stack *stack);

/// Starts `body(argument)` on the stack, which must be idle; returns when it calls `mr_stack_leave` or ends.
void mr_stack_start(mr_stack *stack, void (*body)(void *), void *argument);
/// Goes on where the stack was left.
void mr_stack_enter(mr_stack *stack);
/// Called on the stack: back to whoever started or entered it last.
void mr_stack_leave(mr_stack *stack);
/// Whether the body has returned, or none was started.
int mr_stack_is_idle(const mr_stack *stack);

#endif
