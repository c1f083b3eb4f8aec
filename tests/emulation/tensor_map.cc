// Tensor maps and what copies by them write: CUDA Driver API, "Tensor Map Object Management"; PTX
// ISA, "Tensors".
#include <cuda.h>

#include <vector>

#include "emulation.h"
#include "ptx.cuh"

namespace emulation {
namespace {

constexpr int kMostDims = 5;
constexpr std::uint32_t kMagic = 0x70616d74;
constexpr unsigned kRowBytes = 128;  // the only width of rows in shared memory that is emulated

// What an emulated map has inside. Corners and steps are of the dimensions after the first.
struct Content {
  std::uint32_t magic;
  std::uint8_t element_bytes, rank, im2col, swizzled, tf32;
  std::uint8_t steps[kMostDims];
  std::int8_t lower[2], upper[2];
  std::uint16_t pixels;
  std::uint16_t box[kMostDims];
  const unsigned char* address;
  std::uint64_t sizes[kMostDims - 1], strides[kMostDims - 2];
};
static_assert(sizeof(Content) <= sizeof(CUtensorMap));

bool encode(Content& c, CUtensorMapDataType type, cuuint32_t rank, const void* address, const cuuint64_t* sizes,
            const cuuint64_t* strides, const cuuint32_t* steps, CUtensorMapSwizzle swizzle) {
  if (rank < 3 || rank > 4 || reinterpret_cast<std::uintptr_t>(address) % 16 != 0) return false;
  c.magic = kMagic;
  c.rank = static_cast<std::uint8_t>(rank);
  c.tf32 = type == CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  c.element_bytes = c.tf32 ? 4 : 2;
  c.swizzled = swizzle == CU_TENSOR_MAP_SWIZZLE_128B;
  c.address = static_cast<const unsigned char*>(address);
  for (cuuint32_t d = 0; d < rank; ++d) {
    if (sizes[d] == 0 || sizes[d] > std::uint64_t{1} << 32 || steps[d] == 0 || steps[d] > 8) return false;
    c.sizes[d] = sizes[d];
    c.steps[d] = static_cast<std::uint8_t>(steps[d]);
    if (d + 1 == rank) break;
    if (strides[d] % 16 != 0 || strides[d] >= std::uint64_t{1} << 40) return false;
    c.strides[d] = strides[d];
  }
  return true;
}

CUresult finish(CUtensorMap* map, const Content& content) {
  if (reinterpret_cast<std::uintptr_t>(map) % 64 != 0) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(map, &content, sizeof content);
  return CUDA_SUCCESS;
}

Content decode(const CUtensorMap* map, bool im2col, const void* shared, const std::uint64_t* barrier, const Site& site) {
  Content content;
  std::memcpy(&content, map, sizeof content);
  if (fastconv::cuda::shared_address(shared) % kRowBytes != 0) trap("cp.async.bulk.tensor: the target is not aligned to 128 bytes", site);
  check_mbarrier(barrier, site);
  if (content.magic != kMagic) trap("cp.async.bulk.tensor: no tensor map", site);
  if (content.im2col != im2col) trap("cp.async.bulk.tensor: a tensor map of the other mode", site);
  return content;
}

// Rows of kRowBytes, one after the other, in shared memory. Swizzling adds bits 7 to 9 of an
// address to bits 4 to 6, without carries.
class Target {
 public:
  Target(const Content& content, void* shared, unsigned rows, std::uint64_t* barrier, const Site& site)
      : content_(content), shared_(static_cast<unsigned char*>(shared)), barrier_(barrier), site_(site),
        bytes_(rows * kRowBytes) {
    check_shared(shared, bytes_.size(), site);
  }

  // Row `row` has the elements from `first` on of those at `from`, and zeros beside them; null:
  // nothing but zeros.
  void row(unsigned row, std::int64_t first, const unsigned char* from) {
    for (unsigned i = 0; i < kRowBytes / content_.element_bytes; ++i) {
      const std::int64_t element = first + i;
      unsigned char value[4] = {};
      if (from && element >= 0 && element < static_cast<std::int64_t>(content_.sizes[0])) {
        std::memcpy(value, from + element * content_.element_bytes, content_.element_bytes);
        if (content_.tf32) {
          float x;
          std::memcpy(&x, value, 4);
          const std::uint32_t bits = fastconv::cuda::to_tf32(x);
          std::memcpy(value, &bits, 4);
        }
      }
      std::memcpy(&bytes_[row * kRowBytes + i * content_.element_bytes], value, content_.element_bytes);
    }
  }

  // The bytes come when the block can do nothing else; until then the target is NaN.
  void send() {
    std::memset(shared_, 0xff, bytes_.size());
    defer([shared = shared_, bytes = std::move(bytes_), barrier = barrier_, swizzled = content_.swizzled, site = site_] {
      const unsigned base = fastconv::cuda::shared_address(shared);
      for (unsigned i = 0; i < bytes.size(); ++i) {
        const unsigned address = base + i, to = swizzled ? address ^ (address >> 7 & 7) << 4 : address;
        shared[to - base] = bytes[i];
      }
      mbarrier_complete(barrier, static_cast<unsigned>(bytes.size()), site);
    });
  }

 private:
  const Content& content_;
  unsigned char* shared_;
  std::uint64_t* barrier_;
  Site site_;
  std::vector<unsigned char> bytes_;
};

bool inside(std::int64_t at, std::uint64_t size) { return at >= 0 && at < static_cast<std::int64_t>(size); }

}  // namespace

void load_tile(void* shared, const CUtensorMap* map, std::uint64_t* barrier, const int (&at)[3], const Site& site) {
  const Content c = decode(map, false, shared, barrier, site);
  if (c.rank != 3) trap("cp.async.bulk.tensor.3d: a tensor map of another rank", site);
  Target target(c, shared, unsigned{c.box[1]} * c.box[2], barrier, site);
  for (unsigned z = 0; z < c.box[2]; ++z)
    for (unsigned y = 0; y < c.box[1]; ++y) {
      const std::int64_t place[] = {at[1] + std::int64_t{y}, at[2] + std::int64_t{z}};
      const bool valid = inside(place[0], c.sizes[1]) && inside(place[1], c.sizes[2]);
      target.row(z * c.box[1] + y, at[0],
                 valid ? c.address + static_cast<std::uint64_t>(place[0]) * c.strides[0] + static_cast<std::uint64_t>(place[1]) * c.strides[1]
                       : nullptr);
    }
  target.send();
}

void load_im2col(void* shared, const CUtensorMap* map, std::uint64_t* barrier, const int (&at)[4], const int (&offset)[2],
                 const Site& site) {
  const Content c = decode(map, true, shared, barrier, site);
  std::int64_t first[2], last[2], place[] = {at[1], at[2], at[3]};
  for (int d = 0; d < 2; ++d) {
    first[d] = c.lower[d];
    last[d] = static_cast<std::int64_t>(c.sizes[d + 1]) - 1 + c.upper[d];
    if (place[d] < first[d] || place[d] > last[d]) trap("cp.async.bulk.tensor: the window does not begin within the bounding box", site);
    if (offset[d] < 0 || offset[d] > 255) trap("cp.async.bulk.tensor: an im2col offset does not fit 8 bits", site);
  }
  Target target(c, shared, c.pixels, barrier, site);
  for (unsigned pixel = 0; pixel < c.pixels; ++pixel) {
    const std::int64_t w = place[0] + offset[0], h = place[1] + offset[1], n = place[2];
    const bool valid = inside(w, c.sizes[1]) && inside(h, c.sizes[2]) && inside(n, c.sizes[3]);
    target.row(pixel, at[0],
               valid ? c.address + static_cast<std::uint64_t>(w) * c.strides[0] + static_cast<std::uint64_t>(h) * c.strides[1] +
                           static_cast<std::uint64_t>(n) * c.strides[2]
                     : nullptr);
    if ((place[0] += c.steps[1]) <= last[0]) continue;
    place[0] = first[0];
    if ((place[1] += c.steps[2]) <= last[1]) continue;
    place[1] = first[1];
    ++place[2];
  }
  target.send();
}

}  // namespace emulation

using namespace emulation;

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address, const cuuint64_t* sizes,
                                const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* element_strides,
                                CUtensorMapInterleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  Content c{};
  if (!encode(c, type, rank, address, sizes, strides, element_strides, swizzle)) return CUDA_ERROR_INVALID_VALUE;
  if (box[0] * c.element_bytes != kRowBytes) return CUDA_ERROR_INVALID_VALUE;
  for (cuuint32_t d = 0; d < rank; ++d) {
    if (box[d] == 0 || box[d] > 256 || element_strides[d] != 1) return CUDA_ERROR_INVALID_VALUE;  // other steps are not emulated
    c.box[d] = static_cast<std::uint16_t>(box[d]);
  }
  return finish(map, c);
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address, const cuuint64_t* sizes,
                                 const cuuint64_t* strides, const int* lower_corner, const int* upper_corner, cuuint32_t channels,
                                 cuuint32_t pixels, const cuuint32_t* element_strides, CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                 CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  Content c{};
  if (rank != 4 || !encode(c, type, rank, address, sizes, strides, element_strides, swizzle)) return CUDA_ERROR_INVALID_VALUE;
  if (channels > 256 || channels * c.element_bytes != kRowBytes || pixels == 0 || pixels > 1024 || element_strides[3] != 1)
    return CUDA_ERROR_INVALID_VALUE;
  c.im2col = 1;
  c.pixels = static_cast<std::uint16_t>(pixels);
  for (int d = 0; d < 2; ++d) {
    for (const int corner : {lower_corner[d], upper_corner[d]})
      if (corner < -128 || corner > 127) return CUDA_ERROR_INVALID_VALUE;
    if (static_cast<std::int64_t>(sizes[d + 1]) - 1 + upper_corner[d] < lower_corner[d]) return CUDA_ERROR_INVALID_VALUE;
    c.lower[d] = static_cast<std::int8_t>(lower_corner[d]);
    c.upper[d] = static_cast<std::int8_t>(upper_corner[d]);
  }
  return finish(map, c);
}
