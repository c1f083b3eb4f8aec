// Runs pointwise programs: a few vectors at a time go through all steps, in registers (kernels/pointwise).
#include "kernels/pointwise/pointwise.h"

#include <algorithm>
#include <cstring>

#include "fastconv/cpu.h"
#include "fastconv/memory.h"
#include "fastconv/ops.h"
#include "ops/ranges.h"

namespace fastconv {
namespace {

constexpr std::size_t kSlotBytes = std::size_t{20} << 10;  // of all slots together, in L1

// A program whose steps find the result before them in registers. Other operands are values that lie in memory: inputs, numbers,
// and results that are kept in a slot each.
struct RegisterProgram {
  struct Step {
    int operation;
    bool exchanged = false;
    std::array<int, 2> operands{-1, -1};  // values; of `keep` the result itself
  };
  std::vector<Step> steps;
  std::vector<int> kept;  // values
};

RegisterProgram in_registers(const PointwiseProgram& program) {
  const int first = program.first_result(), count = static_cast<int>(program.steps.size());
  // Which operand a step takes from registers: of two the one that is there, else the first, which is loaded.
  const auto operands_of = [&](int i) {
    const auto& all = program.steps[i].operands;
    return static_cast<int>(std::find(all.begin(), all.end(), -1) - all.begin());
  };
  const auto in_register = [&](int i) {
    const auto& operands = program.steps[i].operands;
    const int before = i > 0 ? first + i - 1 : -1;
    return operands_of(i) == 2 && operands[0] != before && operands[1] == before ? 1 : 0;
  };
  std::vector<bool> is_kept(first + count);
  for (int i = 0; i < count; ++i)
    for (int k = 0; k < operands_of(i); ++k) {
      const int value = program.steps[i].operands[k];
      if (value >= first && !(k == in_register(i) && value == first + i - 1)) is_kept[value] = true;
    }

  RegisterProgram result;
  const auto move = [](PointwiseMove m) { return kInstructions + static_cast<int>(m); };
  for (int i = 0; i < count; ++i) {
    const auto& step = program.steps[i];
    const int taken = in_register(i), value = step.operands[taken];
    if (i == 0 || value != first + i - 1) result.steps.push_back({move(PointwiseMove::load), false, {value, -1}});
    RegisterProgram::Step& made = result.steps.emplace_back();
    made.operation = static_cast<int>(step.instruction);
    made.exchanged = taken == 1;
    for (int k = 0, at = 0; k < operands_of(i); ++k)
      if (k != taken) made.operands[at++] = step.operands[k];
    if (is_kept[first + i]) {
      result.steps.push_back({move(PointwiseMove::keep), false, {first + i, -1}});
      result.kept.push_back(first + i);
    }
  }
  return result;
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

// Elements in `rows` rows of `columns`.
struct Tile {
  index_t rows, columns;
  index_t count() const { return rows * columns; }
};

// How the elements of an array that a tile has lie in memory.
enum class Access : unsigned char {
  adjacent,  // one behind the other
  one,       // they are one element
  vector,    // rows are vectors, and all of them the same one
  apart,     // otherwise: they go through a slot
};

template <class T>
class Evaluation {
 public:
  Evaluation(const PointwiseProgram& program, const Shape& shape, std::span<const PointwiseArray> arrays)
      : kernels_(pointwise_kernels<T>()), program_(program), code_(in_registers(program)), arrays_(arrays), dims_(joined(shape, arrays)) {
    for (std::size_t k = 0; k < inputs(); ++k) is_mask_.push_back(program.input_is_mask(static_cast<int>(k)));
    is_mask_.push_back(program.result_is_mask());
    // Long rows are tiles of their own; several short ones make one.
    const index_t size = dims_.back().size;
    single_rows_ = size >= 4 * kernels_.group || dims_[dims_.size() - 2].size == 1;
    for (std::size_t k = 0; k < arrays_.size(); ++k) access_.push_back(access(k));
    const auto apart = std::count(access_.begin(), access_.end(), Access::apart);
    slots_ = static_cast<std::size_t>(apart) + code_.kept.size();
    // A result that no cache keeps goes past them.
    std::size_t bytes = sizeof(T);
    for (const Dimension& d : dims_) bytes *= static_cast<std::size_t>(d.size);
    past_caches_ = access_.back() == Access::adjacent && bytes > cache_sizes().l3 / 4 * 3;
    range_ = past_caches_ ? 8 * kRangeElements : kRangeElements;
    tile_ = range_;
    if (slots_ > 0) tile_ = std::max<index_t>(1, static_cast<index_t>(kSlotBytes / sizeof(T) / slots_) / kernels_.group) * kernels_.group;
  }

  void run() const {
    const Dimension &row = dims_[dims_.size() - 2], &column = dims_.back();
    index_t matrices = 1;
    for (std::size_t i = 0; i + 2 < dims_.size(); ++i) matrices *= dims_[i].size;
    const index_t width = std::min(column.size, range_), columns = ceil_div(column.size, width);
    const index_t height = std::min(row.size, std::max<index_t>(1, range_ / width)), rows = ceil_div(row.size, height);
    const auto range = [&](index_t begin, index_t end) {
      Worker worker(*this);
      for (index_t task = begin; task < end; ++task) {
        const index_t r = task / columns % rows * height, c = task % columns * width;
        std::vector<index_t> at(arrays_.size());
        for (std::size_t k = 0; k < at.size(); ++k) at[k] = r * row.strides[k] + c * column.strides[k];
        index_t rest = task / (rows * columns);
        for (std::size_t i = dims_.size() - 2; i-- > 0; rest /= dims_[i].size)
          for (std::size_t k = 0; k < at.size(); ++k) at[k] += rest % dims_[i].size * dims_[i].strides[k];
        worker.block(at, {std::min(height, row.size - r), std::min(width, column.size - c)});
      }
      if (past_caches_) kernels_.drain();
    };
    parallel_ranges(matrices * rows * columns, std::max<index_t>(1, range_ / (height * width)), range);
  }

 private:
  // One thread's work.
  class Worker {
   public:
    explicit Worker(const Evaluation& e)
        : e_(e), memory_(e.scratch_bytes()), code_(e.code_.steps.size() + 1), places_(e.program_.first_result() + e.program_.steps.size()) {
      // Slots, then a group's padding for each input and the result, then a vector for each input and number.
      T* at = memory_.template as<T>();
      const auto take = [&](index_t count) { return std::exchange(at, at + count); };
      for (std::size_t k = 0; k < e.arrays_.size(); ++k) slots_.push_back(e.access_[k] == Access::apart ? take(e.tile_) : nullptr);
      for (const int value : e.code_.kept) places_[value] = {take(e.tile_), false};
      padding_ = take(static_cast<index_t>(e.arrays_.size()) * e.kernels_.group);
      for (std::size_t k = 0; k < e.inputs(); ++k) vectors_.push_back(take(e.kernels_.vector));
      for (std::size_t i = 0; i < e.program_.numbers.size(); ++i) {
        places_[e.inputs() + i] = {take(e.kernels_.vector), true};
        std::fill_n(places_[e.inputs() + i].data, e.kernels_.vector, static_cast<T>(e.program_.numbers[i]));
      }
    }

    // Of elements that begin `at` so many from the start of each array.
    void block(const std::vector<index_t>& at, Tile all) {
      const index_t width = std::min(all.columns, e_.tile_);
      const index_t height = e_.single_rows_ ? 1 : std::min(all.rows, std::max<index_t>(1, e_.tile_ / width));
      for (index_t r = 0; r < all.rows; r += height)
        for (index_t c = 0; c < all.columns; c += width) tile(at, r, c, {std::min(height, all.rows - r), std::min(width, all.columns - c)});
    }

   private:
    // A value's elements of the tile, one behind the other, or a vector of them that is all there is.
    struct Place {
      T* data = nullptr;
      bool same = false;
    };

    void tile(const std::vector<index_t>& at, index_t r, index_t c, Tile tile) {
      const std::size_t last = e_.inputs();
      const auto begin = [&](std::size_t k) { return at[k] + r * e_.row(k) + c * e_.column(k); };
      for (std::size_t k = 0; k < last; ++k) read(k, begin(k), tile);
      const bool apart = e_.access_[last] == Access::apart;
      T* y = apart ? slots_[last] : static_cast<T*>(e_.arrays_[last].data) + begin(last);
      index_t done = 0, count = tile.count();
      if (!apart && e_.past_caches_) {  // which whole cache lines are written to
        done = std::min<index_t>(count, -static_cast<index_t>(reinterpret_cast<std::uintptr_t>(y) / sizeof(T)) & (kAlignment / sizeof(T) - 1));
        padded(y, 0, done);
      }
      const index_t whole = (count - done) / e_.kernels_.group * e_.kernels_.group;
      run(y, done, whole, e_.past_caches_ && !apart ? PointwiseMove::stream : PointwiseMove::finish);
      padded(y, done + whole, count - done - whole);
      if (apart) write(begin(last), tile);
    }

    // The elements begin ... begin + count of the tile.
    void run(T* y, index_t begin, index_t count, PointwiseMove finish) {
      if (count == 0) return;
      std::size_t i = 0;
      for (const auto& step : e_.code_.steps) {
        int bits = step.exchanged ? kExchanged : 0;
        for (int k = 0; k < 2 && step.operands[k] >= 0; ++k) {
          const Place& place = places_[step.operands[k]];
          code_[i].operands[k] = place.same ? place.data : place.data + begin;
          if (place.same) bits |= k == 0 ? kSecondSame : kThirdSame;
        }
        code_[i++].run = e_.kernels_.find(step.operation, bits);
      }
      code_[i] = {e_.kernels_.find(kInstructions + static_cast<int>(finish), 0), {y + begin, nullptr}};
      e_.kernels_.run(code_.data(), count);
    }

    // The same of less than a group, by way of memory that has room for one.
    void padded(T* y, index_t begin, index_t count) {
      if (count == 0) return;
      const std::vector<Place> places = places_;
      const index_t group = e_.kernels_.group;
      for (std::size_t k = 0; k < e_.inputs(); ++k) {
        if (places_[k].same) continue;
        T* room = padding_ + static_cast<index_t>(k) * group;
        std::copy_n(places_[k].data + begin, count, room);
        std::fill(room + count, room + group, T(0));
        places_[k].data = room;
      }
      T* result = padding_ + static_cast<index_t>(e_.inputs()) * group;
      run(result, 0, group, PointwiseMove::finish);
      std::copy_n(result, count, y + begin);
      places_ = places;
    }

    // Finds input k, or brings it into its slot.
    void read(std::size_t k, index_t from, Tile tile) {
      if (e_.is_mask_[k]) {
        const auto* x = static_cast<const std::uint8_t*>(e_.arrays_[k].data) + from;
        for (index_t r = 0; r < tile.rows; ++r)
          e_.kernels_.read_mask(x + r * e_.row(k), e_.column(k), slots_[k] + r * tile.columns, tile.columns);
        places_[k] = {slots_[k], false};
        return;
      }
      T* x = static_cast<T*>(e_.arrays_[k].data) + from;
      switch (e_.access_[k]) {
        case Access::adjacent: places_[k] = {x, false}; return;
        case Access::vector: places_[k] = {x, true}; return;
        case Access::one:
          std::fill_n(vectors_[k], e_.kernels_.vector, *x);
          places_[k] = {vectors_[k], true};
          return;
        case Access::apart: break;
      }
      places_[k] = {slots_[k], false};
      const index_t column = e_.column(k);
      T* to = slots_[k];
      for (index_t r = 0; r < tile.rows; ++r, x += e_.row(k), to += tile.columns) {
        if (column == 1) std::memcpy(to, x, static_cast<std::size_t>(tile.columns) * sizeof(T));
        else if (column == 0) std::fill_n(to, tile.columns, *x);
        else
          for (index_t c = 0; c < tile.columns; ++c) to[c] = x[c * column];
      }
    }

    void write(index_t to, Tile tile) const {
      const std::size_t last = e_.inputs();
      const index_t row = e_.row(last), column = e_.column(last);
      for (index_t r = 0; r < tile.rows; ++r) {
        const T* from = slots_[last] + r * tile.columns;
        if (e_.is_mask_[last]) {
          e_.kernels_.write_mask(from, static_cast<std::uint8_t*>(e_.arrays_[last].data) + to + r * row, column, tile.columns);
          continue;
        }
        T* y = static_cast<T*>(e_.arrays_[last].data) + to + r * row;
        for (index_t c = 0; c < tile.columns; ++c) y[c * column] = from[c];
      }
    }

    const Evaluation& e_;
    Scratch memory_;
    std::vector<PointwiseCode<T>> code_;
    std::vector<Place> places_;   // by value
    std::vector<T*> slots_;       // by array, of those that need one
    std::vector<T*> vectors_;     // by input
    T* padding_;
  };

  std::size_t inputs() const { return arrays_.size() - 1; }
  index_t row(std::size_t k) const { return dims_[dims_.size() - 2].strides[k]; }
  index_t column(std::size_t k) const { return dims_.back().strides[k]; }
  Access access(std::size_t k) const {
    const index_t size = dims_.back().size;
    if (is_mask_[k]) return Access::apart;
    if (column(k) == 1 && (single_rows_ || row(k) == size)) return Access::adjacent;
    if (k == inputs()) return Access::apart;
    if (column(k) == 0 && (single_rows_ || row(k) == 0)) return Access::one;
    if (column(k) == 1 && row(k) == 0 && size == kernels_.vector) return Access::vector;
    return Access::apart;
  }
  std::size_t scratch_bytes() const {
    const std::size_t constants = inputs() + program_.numbers.size();
    const index_t elements = static_cast<index_t>(slots_) * tile_ + static_cast<index_t>(arrays_.size()) * kernels_.group +
                             static_cast<index_t>(constants) * kernels_.vector;
    return static_cast<std::size_t>(elements) * sizeof(T);
  }

  const PointwiseKernels<T>& kernels_;
  const PointwiseProgram& program_;
  const RegisterProgram code_;
  const std::span<const PointwiseArray> arrays_;  // the inputs, then the result
  const std::vector<Dimension> dims_;
  std::vector<bool> is_mask_;   // by array
  std::vector<Access> access_;  // by array
  bool single_rows_, past_caches_;
  std::size_t slots_;
  index_t range_, tile_;  // elements of a task and of a tile at most
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
