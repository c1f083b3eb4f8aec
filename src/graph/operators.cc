// What follows from the operators' homes (fastconv/op/) for all of them alike.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <sstream>
#include <string_view>

#include "fastconv/error.h"
#include "fastconv/graph.h"
#include "graph/inputs_of.h"

namespace fastconv {
namespace {

// Calls f(Op{}) for each operator.
template <class F, class... Ops>
void for_each_operator(F&& f, std::type_identity<std::variant<Ops...>>) {
  (f(Ops{}), ...);
}
template <class F>
void for_each_operator(F&& f) {
  for_each_operator(f, std::type_identity<Operator>{});
}

template <class Op>
std::size_t which_of(const Op& op) {
  if constexpr (requires { op.which(); }) return op.which();
  return 0;
}

// The name of a struct of fastconv::op, which compilers put into that of a function: "... [with Op
// = fastconv::op::Pool; ...]".
template <class Op>
std::string type_name() {
  const std::string_view name = __PRETTY_FUNCTION__, before = "fastconv::op::";
  const std::size_t begin = name.rfind(before) + before.size();
  return std::string(name.substr(begin, name.find_first_of(";]", begin) - begin));
}

template <class T>
std::string list(const std::vector<T>& values) {
  std::ostringstream out;
  out << "(";
  for (std::size_t i = 0; i < values.size(); ++i) out << (i > 0 ? ", " : "") << values[i];
  out << (values.size() == 1 ? ",)" : ")");
  return out.str();
}

}  // namespace

std::string text_of(const Attribute& value) {
  struct Print {
    std::string operator()(bool v) const { return v ? "True" : "False"; }
    std::string operator()(index_t v) const { return std::to_string(v); }
    std::string operator()(double v) const {
      std::ostringstream out;
      out << v;
      return out.str();
    }
    std::string operator()(const std::string& v) const { return "'" + v + "'"; }
    std::string operator()(const std::vector<index_t>& v) const { return list(v); }
    std::string operator()(const std::vector<double>& v) const { return list(v); }
  };
  return std::visit(Print{}, value);
}

namespace {

constexpr auto kActivationNames = std::to_array<const char*>({
#define ROW(name, definition) #name,
    FASTCONV_ACTIVATIONS(ROW)
#undef ROW
});

int parameters_of(Activation::Kind kind) { return kind == Activation::leaky_relu ? 1 : kind == Activation::clip ? 2 : 0; }

}  // namespace

std::string text_of(const Activation& activation) {
  std::string text = kActivationNames[activation.kind];
  const int parameters = parameters_of(activation.kind);
  if (parameters == 0 || activation == Activation::leaky_relu) return text;
  const double values[] = {activation.a, activation.b};
  for (int i = 0; i < parameters; ++i) {
    char digits[32];
    text.append(i == 0 ? "(" : ", ").append(digits, std::to_chars(digits, digits + sizeof digits, values[i]).ptr);
  }
  return text + ")";
}

std::optional<Activation> activation_of(const std::string& text) {
  const std::size_t open = std::min(text.find('('), text.size());
  const auto name = std::find(kActivationNames.begin(), kActivationNames.end(), text.substr(0, open));
  if (name == kActivationNames.end()) return {};
  Activation read = static_cast<Activation::Kind>(name - kActivationNames.begin());
  const char* rest = text.c_str() + open;
  int length = 0;  // of what has been understood, to the bracket
  switch (parameters_of(read.kind)) {
    case 1: std::sscanf(rest, "(%lf)%n", &read.a, &length); break;
    case 2: std::sscanf(rest, "(%lf ,%lf)%n", &read.a, &read.b, &length); break;
    default: break;
  }
  const bool needed = read.kind == Activation::clip || *rest != 0;
  return rest[length] == 0 && (length > 0 || !needed) ? std::optional(read) : std::nullopt;
}

const char* operator_name(const Operator& op) {
  return std::visit([](const auto& o) { return o.kNames[which_of(o)]; }, op);
}

std::string input_name(const Operator& op, std::size_t i) {
  std::istringstream all(std::visit([](const auto& o) { return std::string(o.kInputs); }, op));  // "x, weight, bias?"
  std::string name;
  for (std::size_t at = 0; at <= i && all >> name; ++at) {}
  if (name.ends_with("...")) return name.substr(0, name.size() - 3) + "[" + std::to_string(i) + "]";
  while (name.ends_with(',') || name.ends_with('?')) name.pop_back();
  return name;
}

std::string activation_suffix(const Activation& activation) {
  return activation == Activation::none ? "" : "+" + text_of(activation);
}

Attributes attributes_of(const Operator& op) {
  return std::visit([](const auto& o) { return op::write_fields(o); }, op);
}

bool keeps_layout(const Operator& op) {
  return std::visit([](const auto& o) {
    if constexpr (requires { o.keeps_layout(); }) return o.keeps_layout();
    return false;
  }, op);
}

bool is_pointwise(const Operator& op) {
  return std::visit([](const auto& o) { return requires { o.kPointwise; }; }, op);
}

bool is_identity(const Graph& graph, const Node& node) {
  return std::visit([&](const auto& o) {
    if constexpr (requires(const op::Inputs& in) { o.is_identity(in, node.shape); })
      return o.is_identity(inputs_of(graph, operator_name(node.op), node.inputs), node.shape);
    return false;
  }, node.op);
}

ConvGeometry geometry_of(const Graph& graph, const Node& node) {
  const Shape &x = graph.shape(node.inputs[0]), &weight = graph.shape(node.inputs[1]);
  return std::visit([&](const auto& o) -> ConvGeometry {
    if constexpr (requires { o.geometry(x, weight); }) return o.geometry(x, weight);
    throw std::logic_error("geometry_of: the operator is no convolution");
  }, node.op);
}

std::vector<OperatorInfo> all_operators() {
  std::vector<OperatorInfo> all;
  for_each_operator([&]<class Op>(Op op) {
    for (std::size_t i = 0; i < Op::kNames.size(); ++i) {
      if constexpr (requires { op.set_which(i); }) op.set_which(i);
      OperatorInfo& info = all.emplace_back(OperatorInfo{Op::kNames[i], type_name<Op>(), Op::kInputs, {}});
      Op::fields(op, [&](const char* name, auto& member, auto... required) {
        using V = std::remove_reference_t<decltype(member)>;
        std::string kind = op::kind_of<V>();
        if constexpr (op::Word<V>) kind = "one of " + all_words<V>();
        info.attributes.push_back({name, kind, op::to_attribute(member), sizeof...(required) > 0});
      });
    }
  });
  return all;
}

Operator read_operator(const Graph& graph, const std::string& name, const Attributes& attributes, const std::vector<ValueId>& inputs) {
  std::optional<Operator> result;
  for_each_operator([&]<class Op>(Op op) {
    for (std::size_t i = 0; i < Op::kNames.size(); ++i) {
      if (result || name != Op::kNames[i]) continue;
      if constexpr (requires { op.set_which(i); }) op.set_which(i);
      op::read_fields(Op::kNames[i], attributes, op);
      if constexpr (requires(const op::Inputs& in) { op.complete(in); }) op.complete(inputs_of(graph, Op::kNames[i], inputs));
      result = op;
    }
  });
  if (!result) fail("there is no operator '", name, "' in graphs");
  return *std::move(result);
}

}  // namespace fastconv
