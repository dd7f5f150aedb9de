#ifndef MILLRACE_CSIMDJSON_H
#define MILLRACE_CSIMDJSON_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/// Bytes that must be readable behind a payload given to the parser.
size_t mr_json_padding(void);
#ifdef __cplusplus
}
#endif
#endif
