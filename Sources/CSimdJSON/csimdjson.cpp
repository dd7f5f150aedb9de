#define SIMDJSON_EXCEPTIONS 0
#include "include/csimdjson.h"
#include <charconv>
#include <cstring>
#include <memory>
#include <new>
#include <simdjson.h>

namespace {

// Names are told apart by length and (up to) their first and last eight bytes, then compared in full.
inline uint64_t mix(const char *name, size_t length) noexcept {
  uint64_t head = 0, tail = 0;
  if (length >= 8) {
    std::memcpy(&head, name, 8);
    std::memcpy(&tail, name + length - 8, 8);
  } else {
    for (size_t i = 0; i < length; i++) { head = head << 8 | uint8_t(name[i]); }
  }
  uint64_t hash = (head ^ (tail * 0x9E3779B185EBCA87ull) ^ length) * 0xC2B2AE3D27D4EB4Full;
  return hash ^ (hash >> 32);
}

constexpr size_t shape_max = 64;

} // namespace

struct mr_json_decoder {
  simdjson::dom::parser parser;
  size_t count = 0;
  uint32_t text_max = 0;
  std::unique_ptr<char[]> names;
  std::unique_ptr<uint32_t[]> starts; // count + 1
  // Open addressing, at most half full; a slot holds field + 1.
  std::unique_ptr<uint32_t[]> slots;
  uint64_t slot_mask = 0;
  // Field + 1 of the last document's member at this place: producers write members in a fixed order.
  uint32_t shape[shape_max] = {};

  bool is(size_t field, std::string_view key) const noexcept {
    size_t length = starts[field + 1] - starts[field];
    return length == key.size() && std::memcmp(names.get() + starts[field], key.data(), length) == 0;
  }
  // Field + 1, or 0 for an undeclared name.
  uint32_t find(std::string_view key) const noexcept {
    for (uint64_t at = mix(key.data(), key.size());; at++) {
      uint32_t slot = slots[at & slot_mask];
      if (slot == 0 || is(slot - 1, key)) { return slot; }
    }
  }
};

extern "C" size_t mr_json_padding(void) noexcept { return simdjson::SIMDJSON_PADDING; }

extern "C" mr_json_decoder *mr_json_decoder_new(const uint8_t *names, const uint32_t *lengths,
                                                size_t count, uint32_t depth_max,
                                                uint32_t text_max) noexcept {
  std::unique_ptr<mr_json_decoder> made(new (std::nothrow) mr_json_decoder);
  if (!made) { return nullptr; }
  size_t total = 0;
  for (size_t i = 0; i < count; i++) { total += lengths[i]; }
  size_t slot_count = 16;
  while (slot_count < 2 * count + 2) { slot_count *= 2; }
  made->count = count;
  made->text_max = text_max;
  made->slot_mask = slot_count - 1;
  made->names.reset(new (std::nothrow) char[total + 1]);
  made->starts.reset(new (std::nothrow) uint32_t[count + 1]);
  made->slots.reset(new (std::nothrow) uint32_t[slot_count]());
  if (!made->names || !made->starts || !made->slots) { return nullptr; }
  if (total > 0) { std::memcpy(made->names.get(), names, total); }
  made->starts[0] = 0;
  for (size_t i = 0; i < count; i++) { made->starts[i + 1] = made->starts[i] + lengths[i]; }
  for (size_t i = 0; i < count; i++) {
    const char *name = made->names.get() + made->starts[i];
    uint64_t at = mix(name, lengths[i]);
    while (made->slots[at & made->slot_mask] != 0) { at++; }
    made->slots[at & made->slot_mask] = uint32_t(i + 1);
  }
  if (made->parser.allocate(4096, depth_max) != simdjson::SUCCESS) { return nullptr; }
  return made.release();
}

extern "C" void mr_json_decoder_free(mr_json_decoder *decoder) noexcept { delete decoder; }

extern "C" int mr_json_decode(mr_json_decoder *decoder, const uint8_t *payload, size_t length,
                              mr_cell *cells, uint8_t *text, int32_t *text_used) noexcept {
  using simdjson::dom::element_type;
  mr_json_decoder &self = *decoder;
  for (size_t i = 0; i < self.count; i++) { cells[i].kind = MR_CELL_ABSENT; }
  simdjson::dom::element root;
  if (self.parser.parse(payload, length, false).get(root) != simdjson::SUCCESS) { return 0; }
  simdjson::dom::object object;
  if (root.get_object().get(object) != simdjson::SUCCESS) { return 0; }
  size_t place = 0;
  int32_t used = *text_used;
  for (auto member : object) {
    std::string_view key = member.key;
    uint32_t field;
    if (place < shape_max) {
      field = self.shape[place];
      if (field == 0 || !self.is(field - 1, key)) { self.shape[place] = field = self.find(key); }
      place++;
    } else {
      field = self.find(key);
    }
    if (field == 0) { continue; }
    mr_cell &cell = cells[field - 1];
    if (cell.kind != MR_CELL_ABSENT) { return 0; }
    switch (member.value.type()) {
    case element_type::NULL_VALUE: cell.kind = MR_CELL_NULL; break;
    case element_type::BOOL: {
      bool flag = false;
      (void)member.value.get(flag);
      cell.kind = flag ? MR_CELL_TRUE : MR_CELL_FALSE;
      break;
    }
    case element_type::INT64:
      (void)member.value.get(cell.integer);
      cell.kind = MR_CELL_INTEGER;
      break;
    case element_type::UINT64: {
      uint64_t big = 0;
      (void)member.value.get(big);
      cell.number = double(big);
      cell.kind = MR_CELL_BIG_INTEGER;
      break;
    }
    case element_type::DOUBLE:
      (void)member.value.get(cell.number);
      cell.kind = MR_CELL_DOUBLE;
      break;
    case element_type::STRING: {
      std::string_view view;
      (void)member.value.get(view);
      if (view.size() > self.text_max) {
        cell.kind = MR_CELL_LONG_TEXT;
      } else {
        std::memcpy(text + used, view.data(), view.size());
        cell.kind = MR_CELL_TEXT;
        cell.text_start = used;
        cell.text_length = int32_t(view.size());
        used += int32_t(view.size());
      }
      break;
    }
    default: cell.kind = MR_CELL_CONTAINER; break;
    }
  }
  *text_used = used;
  return 1;
}

// Why here: the shortest digits need an algorithm (Ryu) that libstdc++ has and Swift offers only as a `String`.
extern "C" size_t mr_format_double(double value, uint8_t *out) noexcept {
  char *begin = reinterpret_cast<char *>(out);
  return size_t(std::to_chars(begin, begin + 32, value).ptr - begin);
}

extern "C" size_t mr_format_float(float value, uint8_t *out) noexcept {
  char *begin = reinterpret_cast<char *>(out);
  return size_t(std::to_chars(begin, begin + 32, value).ptr - begin);
}
