// A graph made ready to run on the CPU: algorithms chosen, weights packed, layouts and memory
// decided.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fastconv/conv.h"
#include "fastconv/graph.h"

namespace fastconv {

struct NetworkOptions {
  Accuracy accuracy = Accuracy::fast;
  std::optional<std::size_t> max_workspace;  // scratch bytes of one thread that an operator may take
  int threads = 0;                           // during run(); 0: the caller's
  std::map<ValueId, Algorithm> algorithms;   // of convolutions, by StepInfo::value; the rule decides the others
  bool pack_weights = true;                  // false: for plan_network only
  bool is_optimized = false;                 // the graph has been through all passes: with_graph counts on its values' numbers
};

// An algorithm that was considered for a convolution of a network.
struct Candidate {
  std::string algorithm;
  bool serves;         // could be taken instead of the choice
  std::string reason;  // why it cannot, or what speaks for it or against it
};

// What one step does and why it is done so.
struct StepInfo {
  std::string name;  // path of the module
  std::string op;    // "conv2d+add+relu"
  Shape shape;       // of the result
  std::string algorithm, reason, error_class;  // empty where there is nothing to choose
  index_t macs = 0;
  std::size_t bytes = 0;      // read and written once: operands and packed weights
  std::size_t workspace = 0;  // scratch of one thread

  // Of a convolution or linear layer.
  ValueId value = kNone;              // in the optimised graph
  std::string task;                   // all that its time depends on but machine, threads, dtype and accuracy, as text
  // The rule's choice first, then others that serve; found out when it is asked for. Absent where
  // nothing was to choose.
  std::function<std::vector<Candidate>()> considered;
};

struct RunHooks {
  std::function<void()> interrupt;       // called between steps, at most every 50 ms; may throw
  std::vector<double>* seconds = nullptr;  // of each step, where wanted
};

class Network {
 public:
  virtual ~Network() = default;

  // inputs and outputs are contiguous, of the graph's shapes and dtypes. May be called by many
  // threads at once.
  virtual void run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
                   const RunHooks& hooks) const = 0;
  // That of another optimised graph, which has the same operators on the same constants and differs
  // in sizes alone (see Graph::same_but_sizes). Convolutions that are planned alike share their
  // packed weights; others are packed.
  virtual std::shared_ptr<Network> with_graph(const Graph& optimized) const = 0;

  virtual const Graph& graph() const = 0;
  virtual const std::vector<StepInfo>& steps() const = 0;
  virtual std::size_t packed_bytes() const = 0;  // packed weights and constant operands
  virtual std::size_t arena_bytes() const = 0;   // of one call
};

// Optimises a recorded graph and decides everything. Throws std::invalid_argument where the options
// cannot be met.
std::shared_ptr<Network> compile_network(const Graph& recorded, const NetworkOptions& options);

// The steps of the network that compile_network would make, without the time and memory of packing
// its weights.
std::vector<StepInfo> plan_network(const Graph& recorded, NetworkOptions options);

// For tests: whether every run first fills its arena with NaN, so that reading what nobody wrote
// shows.
void set_poison_arenas(bool poison);

}  // namespace fastconv
