// Runs pointwise programs: a few vectors at a time go through all steps, in registers
// (kernels/pointwise).
#include "kernels/pointwise/pointwise.h"

#include <algorithm>
#include <cstring>

#include "fastconv/cpu.h"
#include "fastconv/memory.h"
#include "fastconv/ops.h"
#include "ops/ranges.h"
#include "ops/register_program.h"

namespace fastconv {
namespace {

template <class T>
constexpr index_t kSlotElements = (20 << 10) / sizeof(T);  // of all slots together, in L1

// The dimensions of all arrays but for those of size 1, with neighbours joined where one stride
// runs through them in every array.
struct Dimension {
  index_t size;
  std::vector<index_t> strides;  // of each input, then of the result
};

std::vector<Dimension> joined(const Shape& shape, std::span<const Shape> strides) {
  std::vector<Dimension> dims;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    Dimension d{shape[i], {}};
    for (const Shape& array : strides) d.strides.push_back(array[i]);
    bool joins = !dims.empty();
    for (std::size_t k = 0; joins && k < strides.size(); ++k) joins = dims.back().strides[k] == d.strides[k] * d.size;
    if (joins) dims.back() = {dims.back().size * d.size, std::move(d.strides)};
    else dims.push_back(std::move(d));
  }
  while (dims.size() < 2) dims.insert(dims.begin(), Dimension{1, std::vector<index_t>(strides.size())});
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

// Everything about a computation but where its arrays lie.
template <class T>
class Evaluation {
 public:
  Evaluation(const PointwiseProgram& program, const Shape& shape, std::span<const Shape> strides)
      : kernels_(pointwise_kernels<T>()),
        inputs_(strides.size() - 1),
        values_(static_cast<std::size_t>(program.first_result()) + program.steps.size()),
        dims_(joined(shape, strides)) {
    for (std::size_t k = 0; k < inputs_; ++k) is_mask_.push_back(program.input_is_mask(static_cast<int>(k)));
    is_mask_.push_back(program.result_is_mask());
    // Long rows are tiles of their own; several short ones make one.
    single_rows_ = column().size >= 4 * kernels_.group || row().size == 1;
    for (std::size_t k = 0; k <= inputs_; ++k) access_.push_back(access(k));
    for (const double number : program.numbers) numbers_.insert(numbers_.end(), kernels_.vector, static_cast<T>(number));
    RegisterProgram code = in_registers(program);
    kept_ = std::move(code.kept);
    const auto same = [&](int value) {
      const auto at = static_cast<std::size_t>(value);
      return at < inputs_ ? access_[at] == Access::one || access_[at] == Access::vector : value < program.first_result();
    };
    for (const RegisterProgram::Step& step : code.steps) {
      int bits = step.exchanged ? kExchanged : 0;
      if (step.operands[0] >= 0 && same(step.operands[0])) bits |= kSecondSame;
      if (step.operands[1] >= 0 && same(step.operands[1])) bits |= kThirdSame;
      steps_.push_back({kernels_.find(step.operation, bits), step.operands});
    }

    // A result that no cache keeps goes past them.
    index_t elements = 1;
    for (const Dimension& d : dims_) elements *= d.size;
    const auto cached = static_cast<index_t>(cache_sizes().l3 / 4 * 3 / sizeof(T));
    past_caches_ = access_.back() == Access::adjacent && elements > cached;
    const index_t range = past_caches_ ? 8 * kRangeElements : kRangeElements;
    const auto slots = static_cast<index_t>(kept_.size()) + std::count(access_.begin(), access_.end(), Access::apart);
    tile_ = range;
    if (slots > 0) tile_ = std::max<index_t>(1, kSlotElements<T> / slots / kernels_.group) * kernels_.group;
    task_.columns = std::min(column().size, range);
    task_.rows = std::min(row().size, std::max<index_t>(1, range / task_.columns));
    rows_ = ceil_div(row().size, task_.rows);
    columns_ = ceil_div(column().size, task_.columns);
    tasks_ = elements / (row().size * column().size) * rows_ * columns_;
    grain_ = std::max<index_t>(1, range / task_.count());
  }

  // Of the inputs, then the result.
  void run(void* const* data) const {
    parallel_ranges(tasks_, grain_, [&](index_t begin, index_t end) {
      Worker worker(*this, data);
      for (index_t task = begin; task < end; ++task) worker.compute(task);
      if (past_caches_) kernels_.drain();
    });
  }

 private:
  struct Step {
    void (*run)();
    std::array<int, 2> operands;  // values
  };

  // One thread's work.
  class Worker {
   public:
    Worker(const Evaluation& e, void* const* data) : e_(e), data_(data), memory_(divide(nullptr)) {
      divide(memory_.template as<char>());
      Place* place = places_ + e.inputs_;
      for (const T* number = e.numbers_.data(); number != e.numbers_.data() + e.numbers_.size(); number += e.kernels_.vector)
        *place++ = {const_cast<T*>(number), true};
      T* kept = kept_;
      for (const int value : e.kept_) places_[value] = {std::exchange(kept, kept + e.tile_), false};
    }

    void compute(index_t task) {
      const index_t r = task / e_.columns_ % e_.rows_ * e_.task_.rows, c = task % e_.columns_ * e_.task_.columns;
      for (std::size_t k = 0; k <= e_.inputs_; ++k) {
        at_[k] = r * e_.row().strides[k] + c * e_.column().strides[k];
        index_t rest = task / (e_.rows_ * e_.columns_);
        for (std::size_t i = e_.dims_.size() - 2; i-- > 0; rest /= e_.dims_[i].size)
          at_[k] += rest % e_.dims_[i].size * e_.dims_[i].strides[k];
      }
      const Tile all{std::min(e_.task_.rows, e_.row().size - r), std::min(e_.task_.columns, e_.column().size - c)};
      const index_t width = std::min(all.columns, e_.tile_);
      const index_t height = e_.single_rows_ ? 1 : std::min(all.rows, std::max<index_t>(1, e_.tile_ / width));
      for (index_t y = 0; y < all.rows; y += height)
        for (index_t x = 0; x < all.columns; x += width)
          compute(y, x, {std::min(height, all.rows - y), std::min(width, all.columns - x)});
    }

   private:
    // A value's elements of the tile, one behind the other, or a vector of them that is all there
    // is.
    struct Place {
      T* data;
      bool same;
    };

    // Gives each array its part of the memory; returns the bytes of all.
    std::size_t divide(char* memory) {
      std::size_t bytes = 0;
      const auto take = [&]<class U>(U*& part, std::size_t count) {
        part = memory ? reinterpret_cast<U*>(memory + bytes) : nullptr;
        bytes += count * sizeof(U);
      };
      const std::size_t arrays = e_.inputs_ + 1, tile = static_cast<std::size_t>(e_.tile_);
      const auto apart = static_cast<std::size_t>(std::count(e_.access_.begin(), e_.access_.end(), Access::apart));
      take(slots_, apart * tile);
      take(kept_, e_.kept_.size() * tile);
      take(padded_, arrays * static_cast<std::size_t>(e_.kernels_.group));
      take(vectors_, e_.inputs_ * static_cast<std::size_t>(e_.kernels_.vector));
      take(places_, e_.values_);
      take(code_, e_.steps_.size() + 1);
      take(at_, arrays);
      return bytes;
    }

    // The elements of a tile that begins at this row and column of the task.
    void compute(index_t r, index_t c, Tile tile) {
      const std::size_t last = e_.inputs_;
      const auto begin = [&](std::size_t k) { return at_[k] + r * e_.row().strides[k] + c * e_.column().strides[k]; };
      T* slot = slots_;
      for (std::size_t k = 0; k < last; ++k) places_[k] = read(k, begin(k), tile, slot);
      if (e_.access_[last] == Access::apart) {
        evaluate(slot, tile.count(), false);
        write(slot, begin(last), tile);
      } else {
        evaluate(static_cast<T*>(data_[last]) + begin(last), tile.count(), e_.past_caches_);
      }
    }

    // The program of all places, to y.
    void evaluate(T* y, index_t count, bool past_caches) {
      const index_t group = e_.kernels_.group;
      T* some = padded_ + static_cast<index_t>(e_.inputs_) * group;
      if (count < group) {
        pad(count);
        run(some, 0, group, PointwiseMove::finish);
        std::copy_n(some, count, y);
        return;
      }
      // The first elements, up to a whole cache line, and the last ones come from groups that
      // overlap others. These are computed first, for y may be an input.
      const index_t line = kAlignment / sizeof(T);
      const index_t head = past_caches ? -static_cast<index_t>(reinterpret_cast<std::uintptr_t>(y) / sizeof(T)) & (line - 1) : 0;
      const index_t whole = (count - head) / group * group, tail = count - head - whole;
      if (head > 0) {
        run(some, 0, group, PointwiseMove::finish);
        std::copy_n(some, head, y);
      }
      if (tail > 0) run(some, count - group, group, PointwiseMove::finish);
      if (whole > 0) run(y + head, head, whole, past_caches ? PointwiseMove::stream : PointwiseMove::finish);
      std::copy_n(some + group - tail, tail, y + head + whole);
    }

    // `count` elements, from `begin` on of each place, to y.
    void run(T* y, index_t begin, index_t count, PointwiseMove finish) {
      PointwiseCode<T>* code = code_;
      for (const Step& step : e_.steps_) {
        code->run = step.run;
        for (int k = 0; k < 2 && step.operands[k] >= 0; ++k) {
          const Place& place = places_[step.operands[k]];
          code->operands[k] = place.same ? place.data : place.data + begin;
        }
        ++code;
      }
      *code = {e_.kernels_.find(kInstructions + static_cast<int>(finish), 0), {y, nullptr}};
      e_.kernels_.run(code_, count);
    }

    // Fewer elements than a group: from where there are as many as one has.
    void pad(index_t count) {
      const index_t group = e_.kernels_.group;
      for (std::size_t k = 0; k < e_.inputs_; ++k) {
        if (places_[k].same) continue;
        T* padded = padded_ + static_cast<index_t>(k) * group;
        std::fill(std::copy_n(places_[k].data, count, padded), padded + group, T(0));
        places_[k].data = padded;
      }
    }

    // Where input k is, or is brought to; `slot` moves on past what it took.
    Place read(std::size_t k, index_t from, Tile tile, T*& slot) {
      const index_t row = e_.row().strides[k], column = e_.column().strides[k];
      T* const x = static_cast<T*>(data_[k]);
      switch (e_.access_[k]) {
        case Access::adjacent: return {x + from, false};
        case Access::vector: return {x + from, true};
        case Access::one: {
          T* vector = vectors_ + static_cast<index_t>(k) * e_.kernels_.vector;
          std::fill_n(vector, e_.kernels_.vector, x[from]);
          return {vector, true};
        }
        case Access::apart: break;
      }
      T* const begin = std::exchange(slot, slot + e_.tile_);
      T* to = begin;
      for (index_t r = 0; r < tile.rows; ++r, from += row, to += tile.columns) {
        if (e_.is_mask_[k]) e_.kernels_.read_mask(static_cast<const std::uint8_t*>(data_[k]) + from, column, to, tile.columns);
        else if (column == 1) std::memcpy(to, x + from, static_cast<std::size_t>(tile.columns) * sizeof(T));
        else if (column == 0) std::fill_n(to, tile.columns, x[from]);
        else
          for (index_t c = 0; c < tile.columns; ++c) to[c] = x[from + c * column];
      }
      return {begin, false};
    }

    void write(const T* from, index_t to, Tile tile) const {
      const std::size_t last = e_.inputs_;
      const index_t row = e_.row().strides[last], column = e_.column().strides[last];
      for (index_t r = 0; r < tile.rows; ++r, to += row, from += tile.columns) {
        if (e_.is_mask_[last]) {
          e_.kernels_.write_mask(from, static_cast<std::uint8_t*>(data_[last]) + to, column, tile.columns);
        } else {
          T* y = static_cast<T*>(data_[last]) + to;
          for (index_t c = 0; c < tile.columns; ++c) y[c * column] = from[c];
        }
      }
    }

    const Evaluation& e_;
    void* const* data_;
    T *slots_, *kept_;  // of arrays that are apart, and of results
    T* padded_;         // a group of each array
    T* vectors_;        // of each input
    Place* places_;     // by value
    PointwiseCode<T>* code_;
    index_t* at_;  // where in each array the task begins
    Scratch memory_;
  };

  const Dimension& row() const { return dims_[dims_.size() - 2]; }
  const Dimension& column() const { return dims_.back(); }
  Access access(std::size_t k) const {
    const index_t size = column().size, row_stride = row().strides[k], column_stride = column().strides[k];
    if (is_mask_[k]) return Access::apart;
    if (column_stride == 1 && (single_rows_ || row_stride == size)) return Access::adjacent;
    if (k == inputs_) return Access::apart;
    if (column_stride == 0 && (single_rows_ || row_stride == 0)) return Access::one;
    if (column_stride == 1 && row_stride == 0 && size == kernels_.vector) return Access::vector;
    return Access::apart;
  }

  const PointwiseKernels<T>& kernels_;
  const std::size_t inputs_, values_;
  const std::vector<Dimension> dims_;
  std::vector<bool> is_mask_;   // by array
  std::vector<Access> access_;  // by array
  std::vector<Step> steps_;
  std::vector<int> kept_;  // values
  std::vector<T> numbers_;  // a vector of each
  bool single_rows_, past_caches_;
  Tile task_;                // elements of a task at most
  index_t tile_;             // and of a tile
  index_t rows_, columns_;   // tasks side by side
  index_t tasks_, grain_;    // how many, and how many of them are worth a thread
};

}  // namespace

template <class T>
PointwiseFunction pointwise(const PointwiseProgram& program, const Shape& shape, std::span<const Shape> strides) {
  if (checked_size(shape, sizeof(T)) == 0) return [](void* const*) {};
  const auto evaluation = std::make_shared<const Evaluation<T>>(program, shape, strides);
  return [evaluation](void* const* data) { evaluation->run(data); };
}

template PointwiseFunction pointwise<float>(const PointwiseProgram&, const Shape&, std::span<const Shape>);
template PointwiseFunction pointwise<double>(const PointwiseProgram&, const Shape&, std::span<const Shape>);

}  // namespace fastconv
