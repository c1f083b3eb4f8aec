// The attributes of a graph's operators under the names that Python, prints and files give them. An
// operator lists its own once, in `fields`; reading, writing, printing and documenting them all
// follow from that list.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "fastconv/conv.h"
#include "fastconv/error.h"
#include "fastconv/words.h"

namespace fastconv {

using Attribute = std::variant<bool, index_t, double, std::string, std::vector<index_t>, std::vector<double>>;
using Attributes = std::vector<std::pair<std::string, Attribute>>;

std::string text_of(const Attribute& value);  // as Python prints it

std::string text_of(const Activation& activation);  // "relu", "leaky_relu(0.2)", "clip(-1, 1)"; default parameters are left out
std::optional<Activation> activation_of(const std::string& text);  // which text_of gives, or none

namespace op {

using Pair = std::array<index_t, 2>;  // (height, width)

// An attribute without a default.
struct Required {};
inline constexpr Required kRequired;

template <class V, class T>
concept ArrayOf = requires { std::tuple_size<V>::value; } && std::is_same_v<typename V::value_type, T>;

// One of several words.
template <class V>
concept Word = std::is_enum_v<V> || std::is_same_v<V, Activation>;

// What is written as text.
template <class V>
concept Text = requires(const V& value, const std::string& text) {
  { value.text() } -> std::same_as<std::string>;
  { V::from_text(text) } -> std::same_as<V>;
};

// The kind of thing that a member is, in words for messages and documents.
template <class V>
constexpr const char* kind_of() {
  if constexpr (std::is_same_v<V, bool>) return "bool";
  else if constexpr (Word<V>) return "word";
  else if constexpr (std::is_integral_v<V>) return "int";
  else if constexpr (std::is_floating_point_v<V>) return "float";
  else if constexpr (ArrayOf<V, double>) return "two floats";
  else if constexpr (ArrayOf<V, index_t>) return "two ints";
  else if constexpr (std::is_same_v<V, Padding>) return "four ints (top, bottom, left, right), 'same' or 'valid'";
  else if constexpr (Text<V>) return "a program";
  else return "ints";
}

template <class V>
Attribute to_attribute(const V& value) {
  if constexpr (std::is_same_v<V, bool>) return value;
  else if constexpr (std::is_enum_v<V>) return std::string(Words<V>::names[static_cast<std::size_t>(value)]);
  else if constexpr (std::is_integral_v<V>) return index_t{value};
  else if constexpr (std::is_floating_point_v<V>) return double{value};
  else if constexpr (ArrayOf<V, double>) return std::vector<double>(value.begin(), value.end());
  else if constexpr (std::is_same_v<V, Activation>) return text_of(value);
  else if constexpr (Text<V>) return value.text();
  else if constexpr (std::is_same_v<V, Padding>) return std::vector<index_t>{value.top, value.bottom, value.left, value.right};
  else return std::vector<index_t>(value.begin(), value.end());
}

// Whether `given` is such a value, which then becomes `to`. Integers are good floats.
template <class V>
bool from_attribute(const Attribute& given, V& to) {
  const auto* word = std::get_if<std::string>(&given);
  const auto* whole = std::get_if<index_t>(&given);
  const auto* ints = std::get_if<std::vector<index_t>>(&given);
  if constexpr (std::is_same_v<V, Activation>) {
    const std::optional<Activation> read = word ? activation_of(*word) : std::nullopt;
    if (read) to = *read;
    return read.has_value();
  } else if constexpr (Text<V>) {
    if (word) to = V::from_text(*word);
    return word != nullptr;
  } else if constexpr (std::is_same_v<V, bool>) {
    const auto* truth = std::get_if<bool>(&given);
    if (truth) to = *truth;
    return truth != nullptr;
  } else if constexpr (std::is_enum_v<V>) {
    const auto& names = Words<V>::names;
    const auto at = word ? std::find(names.begin(), names.end(), *word) : names.end();
    if (at != names.end()) to = static_cast<V>(at - names.begin());
    return at != names.end();
  } else if constexpr (std::is_integral_v<V>) {
    if (whole) to = static_cast<V>(*whole);
    return whole && index_t{to} == *whole;
  } else if constexpr (std::is_floating_point_v<V>) {
    const auto* number = std::get_if<double>(&given);
    if (number) to = *number;
    else if (whole) to = static_cast<V>(*whole);
    return number || whole;
  } else if constexpr (ArrayOf<V, double>) {
    const auto* floats = std::get_if<std::vector<double>>(&given);
    if (floats && floats->size() == to.size()) std::copy(floats->begin(), floats->end(), to.begin());
    else if (ints && ints->size() == to.size()) std::copy(ints->begin(), ints->end(), to.begin());
    else return false;
    return true;
  } else if constexpr (std::is_same_v<V, Padding>) {
    if (word && (*word == "same" || *word == "valid")) to = {*word == "same" ? Padding::Mode::same : Padding::Mode::valid};
    else if (ints && ints->size() == 4) to = {Padding::Mode::explicit_sizes, (*ints)[0], (*ints)[1], (*ints)[2], (*ints)[3]};
    else return false;
    return true;
  } else if constexpr (ArrayOf<V, index_t>) {
    if (ints && ints->size() == to.size()) std::copy(ints->begin(), ints->end(), to.begin());
    return ints && ints->size() == to.size();
  } else {
    if (ints) to.assign(ints->begin(), ints->end());
    return ints != nullptr;
  }
}

// Sets the members of an operator to what is given. Throws std::invalid_argument where that is no
// such value, unknown, or required and absent.
template <class Op>
void read_fields(const char* name, const Attributes& given, Op& op) {
  std::size_t used = 0;
  std::string known;
  const auto read = [&](const char* field, auto& member, auto... required) {
    using V = std::remove_reference_t<decltype(member)>;
    known += (known.empty() ? "" : ", ") + std::string(field);
    const auto at = std::find_if(given.begin(), given.end(), [&](const auto& pair) { return pair.first == field; });
    if (at == given.end()) {
      if (sizeof...(required) > 0) fail(name, ": the attribute ", field, " is missing");
      return;
    }
    if (!from_attribute(at->second, member)) {
      if constexpr (Word<V>) fail(name, ": ", field, " must be one of ", all_words<V>(), ", got ", text_of(at->second));
      else fail(name, ": ", field, " must be ", kind_of<V>(), ", got ", text_of(at->second));
    }
    ++used;
  };
  Op::fields(op, read);
  if (used == given.size()) return;
  for (const auto& [field, value] : given)
    if ((", " + known + ", ").find(", " + field + ", ") == std::string::npos)
      fail(name, ": there is no attribute ", field, ", only ", known.empty() ? "none" : known);
  fail(name, ": an attribute is given twice");
}

template <class Op>
Attributes write_fields(const Op& op) {
  Attributes all;
  Op::fields(op, [&](const char* field, const auto& member, auto...) { all.emplace_back(field, to_attribute(member)); });
  return all;
}

}  // namespace op
}  // namespace fastconv
