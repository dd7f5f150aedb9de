// Stacks begun by the C library's contexts and switched by its jumps: right on every processor, and without the two
// system calls that a change of context costs for the sake of signal masks.
#define _GNU_SOURCE
#include "stacks.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { guard_bytes = 16384 };

struct mr_stack {
  ucontext_t start, starter;
  // Where the stack was left, and where it was started or entered last.
  jmp_buf inside, outside;
  char *memory;
  size_t bytes;
  void (*body)(void *);
  void *argument;
  int is_running;
};

mr_stack *mr_stack_make(size_t bytes) {
  mr_stack *stack = calloc(1, sizeof *stack);
  if (!stack) return NULL;
  stack->bytes = bytes + guard_bytes;
  stack->memory =
      mmap(NULL, stack->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stack->memory == MAP_FAILED) {
    free(stack);
    return NULL;
  }
  mprotect(stack->memory, guard_bytes, PROT_NONE);
  return stack;
}

void mr_stack_free(mr_stack *stack) {
  munmap(stack->memory, stack->bytes);
  free(stack);
}

// A context takes ints only: the address travels in two halves.
static void run(unsigned high, unsigned low) {
  mr_stack *stack = (mr_stack *)(((uintptr_t)high << 32) | low);
  stack->body(stack->argument);
  stack->is_running = 0;
  _longjmp(stack->outside, 1);
}

void mr_stack_start(mr_stack *stack, void (*body)(void *), void *argument) {
  stack->body = body;
  stack->argument = argument;
  stack->is_running = 1;
  getcontext(&stack->start);
  stack->start.uc_stack.ss_sp = stack->memory + guard_bytes;
  stack->start.uc_stack.ss_size = stack->bytes - guard_bytes;
  stack->start.uc_link = NULL;
  makecontext(&stack->start, (void (*)(void))run, 2, (unsigned)((uintptr_t)stack >> 32), (unsigned)(uintptr_t)stack);
  if (_setjmp(stack->outside) == 0) swapcontext(&stack->starter, &stack->start);
}

void mr_stack_enter(mr_stack *stack) {
  if (_setjmp(stack->outside) == 0) _longjmp(stack->inside, 1);
}
void mr_stack_leave(mr_stack *stack) {
  if (_setjmp(stack->inside) == 0) _longjmp(stack->outside, 1);
}
int mr_stack_is_idle(const mr_stack *stack) { return !stack->is_running; }
