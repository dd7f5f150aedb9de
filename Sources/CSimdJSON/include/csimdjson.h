#ifndef MILLRACE_CSIMDJSON_H
#define MILLRACE_CSIMDJSON_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#define MR_NOEXCEPT noexcept
#else
#define MR_NOEXCEPT
#endif

/// Bytes that must be readable behind a payload given to the parser.
size_t mr_json_padding(void) MR_NOEXCEPT;

/// What a document holds at a declared field.
enum {
  MR_CELL_ABSENT = 0,
  MR_CELL_NULL = 1,
  MR_CELL_FALSE = 2,
  MR_CELL_TRUE = 3,
  /// A number without fraction and exponent that fits 64 bits, in `integer`.
  MR_CELL_INTEGER = 4,
  /// A number without fraction and exponent that does not, rounded, in `number`.
  MR_CELL_BIG_INTEGER = 5,
  /// Any other number, in `number`.
  MR_CELL_DOUBLE = 6,
  /// A string of at most the decoder's `text_max` bytes, unescaped at `text_start` of the text given.
  MR_CELL_TEXT = 7,
  /// A longer string; not copied.
  MR_CELL_LONG_TEXT = 8,
  MR_CELL_CONTAINER = 9
};

typedef struct {
  int64_t integer;
  double number;
  int32_t text_start;
  int32_t text_length;
  uint8_t kind;
} mr_cell;

typedef struct mr_json_decoder mr_json_decoder;

/// A decoder for documents with `count` declared fields, whose names lie back to back in `names`.
/// NULL when out of memory. Never throws, like every function here.
mr_json_decoder *mr_json_decoder_new(const uint8_t *names, const uint32_t *lengths, size_t count,
                                     uint32_t depth_max, uint32_t text_max) MR_NOEXCEPT;
void mr_json_decoder_free(mr_json_decoder *decoder) MR_NOEXCEPT;

/// Validates the whole document and reads its declared fields into `cells`, one for each field.
/// `mr_json_padding()` bytes must be readable behind the payload, `length` bytes writable behind
/// `text + *text_used`, which is advanced. 1: done. 0: not certain that the document is valid, and
/// nothing in `cells` is to be believed.
int mr_json_decode(mr_json_decoder *decoder, const uint8_t *payload, size_t length, mr_cell *cells,
                   uint8_t *text, int32_t *text_used) MR_NOEXCEPT;

/// Writes the shortest decimal that reads back as the same finite value; at most 32 bytes. Returns their count.
size_t mr_format_double(double value, uint8_t *out) MR_NOEXCEPT;
size_t mr_format_float(float value, uint8_t *out) MR_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif
