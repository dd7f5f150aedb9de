#include "include/csimdjson.h"
#include <simdjson.h>

extern "C" size_t mr_json_padding(void) { return simdjson::SIMDJSON_PADDING; }
