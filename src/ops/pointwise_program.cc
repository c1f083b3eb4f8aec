// What pointwise programs are made of, and how they are written.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <utility>

#include "fastconv/error.h"
#include "fastconv/pointwise.h"

namespace fastconv {
namespace {

constexpr InstructionInfo kInfo[] = {
#define ROW(name, operands, result) {#name, operands, result},
    FASTCONV_INSTRUCTIONS(ROW)
#undef ROW
};

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  // Inputs, numbers and results are known by their places only when all have been seen, so values
  // first are words.
  PointwiseProgram run() {
    for (bool more = true; more;) {
      std::string name = word();
      std::string result;
      if (take('=')) {
        result = std::exchange(name, word());
      }
      step(name, result);
      more = take(';');
    }
    skip();
    if (at_ != text_.size()) wrong("the end");
    PointwiseProgram program;
    program.inputs = inputs_;
    program.numbers = numbers_;
    for (const auto& [instruction, words] : steps_) {
      PointwiseProgram::Step step{instruction, {-1, -1, -1}};
      for (std::size_t i = 0; i < words.size(); ++i)
        step.operands[i] = words[i].kind == 'x' ? words[i].number
                           : words[i].kind == 'n' ? inputs_ + words[i].number
                                                  : program.first_result() + words[i].number;
      program.steps.push_back(step);
    }
    return program;
  }

 private:
  struct Word {
    char kind;  // of an input x, a number n, a result t
    int number;
  };

  void step(const std::string& name, const std::string& result) {
    const auto* found = std::find_if(std::begin(kInfo), std::end(kInfo), [&](const InstructionInfo& info) { return info.name == name; });
    if (found == std::end(kInfo)) fail("program: there is no instruction '", name, "'");
    std::vector<Word> words;
    if (!take('(')) wrong("(");
    do words.push_back(operand()); while (take(','));
    if (!take(')')) wrong(")");
    if (words.size() != std::strlen(found->operands))
      fail("program: ", name, " takes ", std::strlen(found->operands), " operands, got ", words.size());
    for (std::size_t i = 0; i < words.size(); ++i) {
      const char needed = found->operands[i];
      const char kind = words[i].kind == 't' ? kInfo[static_cast<int>(steps_[words[i].number].first)].result
                        : words[i].kind == 'n' ? 'f' : input_kinds_.emplace(words[i].number, needed).first->second;
      if (kind != needed)
        fail("program: operand ", i, " of ", name, " must be ", needed == 'm' ? "true or false" : "a float", ", not ",
             kind == 'm' ? "true or false" : "a float");
    }
    const auto instruction = static_cast<Instruction>(found - std::begin(kInfo));
    if (!result.empty() && !results_.emplace(result, static_cast<int>(steps_.size())).second) fail("program: ", result, " is there twice");
    steps_.emplace_back(instruction, std::move(words));
  }

  Word operand() {
    skip();
    const char* begin = text_.c_str() + at_;
    char* end = nullptr;
    const double number = std::strtod(begin, &end);
    if (end != begin) {
      at_ += static_cast<std::size_t>(end - begin);
      numbers_.push_back(number);
      return {'n', static_cast<int>(numbers_.size()) - 1};
    }
    const std::string name = word();
    if (const auto found = results_.find(name); found != results_.end()) return {'t', found->second};
    const bool digits = name.size() > 1 && name.size() < 5 && std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (name[0] != 'x' || !digits) fail("program: there is no value ", name);
    const int input = std::atoi(name.c_str() + 1);
    inputs_ = std::max(inputs_, input + 1);
    return {'x', input};
  }

  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string word() {
    skip();
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_')) ++at_;
    if (at_ == begin) wrong("a name");
    return text_.substr(begin, at_ - begin);
  }
  [[noreturn]] void wrong(const char* expected) const {
    fail("program: expected ", expected, " at '", text_.substr(at_, 20), "' in '", text_, "'");
  }

  const std::string& text_;
  std::size_t at_ = 0;
  int inputs_ = 0;
  std::vector<double> numbers_;
  std::vector<std::pair<Instruction, std::vector<Word>>> steps_;
  std::map<std::string, int> results_;
  std::map<int, char> input_kinds_;
};

}  // namespace

const InstructionInfo& info_of(Instruction instruction) { return kInfo[static_cast<int>(instruction)]; }

std::optional<Activation::Kind> activation_of(Instruction instruction) {
  switch (instruction) {
#define ROW(name, definition) \
  case Instruction::name: return Activation::name;
    FASTCONV_PLAIN_ACTIVATIONS(ROW)
#undef ROW
    default: return {};
  }
}

PointwiseProgram PointwiseProgram::of(Instruction instruction) {
  PointwiseProgram program;
  Step step{instruction, {-1, -1, -1}};
  for (; info_of(instruction).operands[program.inputs]; ++program.inputs) step.operands[program.inputs] = program.inputs;
  program.steps.push_back(step);
  return program;
}

std::optional<Instruction> PointwiseProgram::instruction() const {
  if (steps.size() != 1 || !(*this == of(steps[0].instruction))) return {};
  return steps[0].instruction;
}

std::optional<PointwiseProgram> PointwiseProgram::of(const Activation& activation) {
  using I = Instruction;
  switch (activation.kind) {
#define ROW(name, definition) \
  case Activation::name: return of(I::name);
    FASTCONV_PLAIN_ACTIVATIONS(ROW)
#undef ROW
    case Activation::leaky_relu: {
      using Steps = std::vector<Step>;
      return PointwiseProgram{1, {0, activation.a}, Steps{{I::less, {0, 1, -1}}, {I::multiply, {0, 2, -1}}, {I::where, {3, 4, 0}}}};
    }
    case Activation::clip: return PointwiseProgram{1, {activation.a, activation.b}, {{I::clip, {0, 1, 2}}}};
    case Activation::none:
    case Activation::prelu: return {};
  }
  return {};
}

PointwiseProgram PointwiseProgram::followed_by(const PointwiseProgram& next) const {
  PointwiseProgram all = *this;
  all.numbers.insert(all.numbers.end(), next.numbers.begin(), next.numbers.end());
  const int moved = static_cast<int>(next.numbers.size());
  for (Step& step : all.steps)
    for (int& operand : step.operands)
      if (operand >= first_result()) operand += moved;
  const int results = all.first_result() + static_cast<int>(steps.size());
  for (Step step : next.steps) {
    for (int& operand : step.operands)
      if (operand == 0) operand = results - 1;
      else if (operand >= next.first_result()) operand += results - next.first_result();
      else if (operand > 0) operand += first_result() - 1;
    all.steps.push_back(step);
  }
  return all;
}

PointwiseProgram PointwiseProgram::from_text(const std::string& text) { return Parser(text).run(); }

std::string PointwiseProgram::text() const {
  std::ostringstream out;
  out.precision(17);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (i + 1 < steps.size()) out << "t" << i << " = ";
    const InstructionInfo& info = info_of(steps[i].instruction);
    out << info.name;
    for (int k = 0; info.operands[k]; ++k) {
      out << (k == 0 ? "(" : ", ");
      const int value = steps[i].operands[k];
      if (value < inputs) out << "x" << value;
      else if (value < first_result()) out << numbers[value - inputs];
      else out << "t" << value - first_result();
    }
    out << (i + 1 < steps.size() ? "); " : ")");
  }
  return out.str();
}

bool PointwiseProgram::input_is_mask(int input) const {
  for (const Step& step : steps)
    for (int k = 0; info_of(step.instruction).operands[k]; ++k)
      if (step.operands[k] == input) return info_of(step.instruction).operands[k] == 'm';
  return false;
}

}  // namespace fastconv
