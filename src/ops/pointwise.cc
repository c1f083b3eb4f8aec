// Runs pointwise programs, a few hundred elements at a time: what steps hand on to each other stays in L1.
#include "kernels/pointwise/pointwise.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "fastconv/memory.h"
#include "fastconv/ops.h"
#include "ops/ranges.h"

namespace fastconv {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{20} << 10;  // of all that a chunk needs, in L1

// Where the values of a program are while a chunk is computed: each in a slot, which values may share that are not needed at once.
struct Slots {
  std::vector<int> of;  // by value
  int count = 0;
};

Slots give_slots(const PointwiseProgram& program) {
  const int first = program.first_result(), values = first + static_cast<int>(program.steps.size());
  std::vector<int> last_use(values, -1);
  for (std::size_t i = 0; i < program.steps.size(); ++i)
    for (const int operand : program.steps[i].operands)
      if (operand >= 0) last_use[operand] = static_cast<int>(i);
  Slots slots{std::vector<int>(values), first};
  for (int value = 0; value < first; ++value) slots.of[value] = value;
  std::vector<int> free;
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    std::vector<int> ended;
    for (const int operand : program.steps[i].operands)
      if (operand >= first && last_use[operand] == static_cast<int>(i)) ended.push_back(slots.of[operand]);
    std::sort(ended.begin(), ended.end());
    ended.erase(std::unique(ended.begin(), ended.end()), ended.end());
    free.insert(free.end(), ended.begin(), ended.end());  // a result may take the place of an operand
    if (free.empty()) free.push_back(slots.count++);
    slots.of[first + static_cast<int>(i)] = free.back();
    free.pop_back();
  }
  return slots;
}

// The dimensions of all arrays but for those of size 1, with neighbours joined where one stride runs through them in every array.
struct Dimension {
  index_t size;
  std::vector<index_t> strides;  // of each input, then of the result
};

std::vector<Dimension> joined(const Shape& shape, std::span<const PointwiseArray> arrays) {
  std::vector<Dimension> dims;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    Dimension d{shape[i], {}};
    for (const PointwiseArray& array : arrays) d.strides.push_back(array.strides[i]);
    bool joins = !dims.empty();
    for (std::size_t k = 0; joins && k < arrays.size(); ++k) joins = dims.back().strides[k] == d.strides[k] * d.size;
    if (joins) dims.back() = {dims.back().size * d.size, std::move(d.strides)};
    else dims.push_back(std::move(d));
  }
  while (dims.size() < 2) dims.insert(dims.begin(), Dimension{1, std::vector<index_t>(arrays.size())});
  return dims;
}

// Up to a chunk of elements in `rows` rows of `columns`.
struct Tile {
  index_t rows, columns;
  index_t count() const { return rows * columns; }
};

template <class T>
class Evaluation {
 public:
  Evaluation(const PointwiseProgram& program, const Shape& shape, std::span<const PointwiseArray> arrays)
      : program_(program), arrays_(arrays), slots_(give_slots(program)), dims_(joined(shape, arrays)) {
    constexpr index_t kVector = 64 / sizeof(T);
    chunk_ = static_cast<index_t>(kChunkBytes / sizeof(T)) / (slots_.count + 1) / kVector * kVector;
    chunk_ = std::clamp<index_t>(chunk_, kVector, 1024);
    for (std::size_t i = 0; i + 1 < arrays.size(); ++i) is_mask_.push_back(program.input_is_mask(static_cast<int>(i)));
    is_mask_.push_back(program.result_is_mask());
  }

  void run() const {
    const Dimension &row = dims_[dims_.size() - 2], &column = dims_.back();
    index_t matrices = 1;
    for (std::size_t i = 0; i + 2 < dims_.size(); ++i) matrices *= dims_[i].size;
    // Long rows are divided, short ones taken several at a time.
    const index_t width = std::min(column.size, kRangeElements), columns = ceil_div(column.size, width);
    const index_t height = std::min(row.size, grain_of(width)), rows = ceil_div(row.size, height);
    const index_t tasks = matrices * rows * columns, grain = grain_of(height * width);
    const auto range = [&](index_t begin, index_t end) {
      Scratch scratch(static_cast<std::size_t>((slots_.count + 1) * chunk_) * sizeof(T));
      Chunk chunk(*this, scratch.as<T>());
      for (index_t task = begin; task < end; ++task) {
        const index_t r = task / columns % rows * height, c = task % columns * width;
        std::vector<index_t> at(arrays_.size());
        for (std::size_t k = 0; k < at.size(); ++k) at[k] = r * row.strides[k] + c * column.strides[k];
        index_t rest = task / (rows * columns);
        for (std::size_t i = dims_.size() - 2; i-- > 0; rest /= dims_[i].size)
          for (std::size_t k = 0; k < at.size(); ++k) at[k] += rest % dims_[i].size * dims_[i].strides[k];
        chunk.block(at, std::min(height, row.size - r), std::min(width, column.size - c));
      }
    };
    parallel_ranges(tasks, grain, range);
  }

 private:
  // One thread's work.
  class Chunk {
   public:
    Chunk(const Evaluation& e, T* memory) : e_(e), values_(e.slots_.of.size()), repeated_(e.arrays_.size()) {
      for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = memory + e.slots_.of[i] * e.chunk_;
      result_ = memory + e.slots_.count * e.chunk_;
      for (std::size_t i = 0; i < e.program_.numbers.size(); ++i)
        std::fill_n(const_cast<T*>(values_[e.program_.inputs + i]), e.chunk_, static_cast<T>(e.program_.numbers[i]));
    }

    // Of rows of columns, which begin `at` so many elements from the start of each array.
    void block(const std::vector<index_t>& at, index_t rows, index_t columns) {
      const index_t width = std::min(columns, e_.chunk_), height = std::min(rows, std::max<index_t>(1, e_.chunk_ / width));
      for (index_t r = 0; r < rows; r += height)
        for (index_t c = 0; c < columns; c += width) tile(at, r, c, {std::min(height, rows - r), std::min(width, columns - c)});
    }

   private:
    void tile(const std::vector<index_t>& at, index_t r, index_t c, Tile tile) {
      const std::size_t last = e_.arrays_.size() - 1;
      for (std::size_t k = 0; k < last; ++k) read(k, at[k] + r * e_.row(k) + c * e_.column(k), tile);
      const index_t to = at[last] + r * e_.row(last) + c * e_.column(last);
      const bool direct = !e_.is_mask_[last] && e_.contiguous(last, tile);
      T* y = direct ? static_cast<T*>(e_.arrays_[last].data) + to : result_;
      run(y, tile.count());
      if (!direct) write(last, to, tile);
    }

    void run(T* y, index_t count) const {
      const auto& kernels = pointwise_kernels<T>();
      const PointwiseProgram& program = e_.program_;
      for (std::size_t i = 0; i < program.steps.size(); ++i) {
        const auto& step = program.steps[i];
        const auto value = [&](int k) { return step.operands[k] < 0 ? nullptr : values_[step.operands[k]]; };
        T* to = i + 1 < program.steps.size() ? const_cast<T*>(values_[program.first_result() + i]) : y;
        kernels.run[static_cast<int>(step.instruction)](value(0), value(1), value(2), to, count);
      }
    }

    // Makes values_[k] those elements of input k: where they are, if they lie one behind the other, or in its slot.
    void read(std::size_t k, index_t from, Tile tile) {
      const index_t row = e_.row(k), column = e_.column(k);
      if (e_.is_mask_[k]) {
        const auto* x = static_cast<const std::uint8_t*>(e_.arrays_[k].data) + from;
        for (index_t r = 0; r < tile.rows; ++r)
          pointwise_kernels<T>().read_mask(x + r * row, column, slot(k) + r * tile.columns, tile.columns);
        return;
      }
      const T* x = static_cast<const T*>(e_.arrays_[k].data) + from;
      if (e_.contiguous(k, tile)) {
        values_[k] = x;
        return;
      }
      T* to = slot(k);
      values_[k] = to;
      if (column == 0 && (row == 0 || tile.rows == 1)) {  // one element
        if (repeated_[k].first == x && repeated_[k].second >= tile.count()) return;
        std::fill_n(to, tile.count(), *x);
        repeated_[k] = {x, tile.count()};
        return;
      }
      repeated_[k] = {nullptr, 0};
      for (index_t r = 0; r < tile.rows; ++r, x += row, to += tile.columns) {
        if (column == 1) std::memcpy(to, x, static_cast<std::size_t>(tile.columns) * sizeof(T));
        else if (column == 0) std::fill_n(to, tile.columns, *x);
        else
          for (index_t c = 0; c < tile.columns; ++c) to[c] = x[c * column];
      }
    }

    void write(std::size_t last, index_t to, Tile tile) const {
      const index_t row = e_.row(last), column = e_.column(last);
      for (index_t r = 0; r < tile.rows; ++r) {
        const T* from = result_ + r * tile.columns;
        if (e_.is_mask_[last]) {
          pointwise_kernels<T>().write_mask(from, static_cast<std::uint8_t*>(e_.arrays_[last].data) + to + r * row, column, tile.columns);
          continue;
        }
        T* y = static_cast<T*>(e_.arrays_[last].data) + to + r * row;
        for (index_t c = 0; c < tile.columns; ++c) y[c * column] = from[c];
      }
    }

    T* slot(std::size_t k) const { return result_ - (e_.slots_.count - e_.slots_.of[k]) * e_.chunk_; }

    const Evaluation& e_;
    std::vector<const T*> values_;
    std::vector<std::pair<const T*, index_t>> repeated_;  // the element that the slot of an input is full of, and how many
    T* result_;
  };

  index_t row(std::size_t k) const { return dims_[dims_.size() - 2].strides[k]; }
  index_t column(std::size_t k) const { return dims_.back().strides[k]; }
  bool contiguous(std::size_t k, Tile tile) const {
    return (column(k) == 1 || tile.columns == 1) && (tile.rows == 1 || row(k) == tile.columns);
  }

  const PointwiseProgram& program_;
  const std::span<const PointwiseArray> arrays_;  // the inputs, then the result
  const Slots slots_;
  const std::vector<Dimension> dims_;
  std::vector<bool> is_mask_;  // by array
  index_t chunk_;
};

}  // namespace

template <class T>
void pointwise(const PointwiseProgram& program, const Shape& shape, std::span<const PointwiseArray> arrays) {
  if (checked_size(shape, sizeof(T)) == 0) return;
  Evaluation<T>(program, shape, arrays).run();
}

template void pointwise<float>(const PointwiseProgram&, const Shape&, std::span<const PointwiseArray>);
template void pointwise<double>(const PointwiseProgram&, const Shape&, std::span<const PointwiseArray>);

}  // namespace fastconv
