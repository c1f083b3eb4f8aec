// Where the values of a graph lie, whatever layouts a back end has.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "plan/buffers.h"
#include "plan/concat_homes.h"

namespace fastconv {

// A `Place` has a `buffer` (-1 for none), an `offset` in it, and what else the back end needs to
// know; a `Form` names a layout.
template <class Place, class Form>
class Places {
 public:
  Places(const Graph& graph, Buffers& buffers, std::vector<Home> homes)
      : graph_(graph), buffers_(buffers), homes_(std::move(homes)), places_(graph.size()) {}

  const Place& operator[](ValueId id) const { return places_[id]; }
  bool has(ValueId id) const { return places_[id].buffer >= 0; }
  bool has_home(ValueId id) const { return homes_[id].parent != kNone; }

  // The value lies there, beside what lies in that buffer already.
  void put(ValueId id, Place place) {
    buffers_.hold(place.buffer, id);
    places_[id] = std::move(place);
  }

  // Gives a value its place, if it has none: in the concatenation that is its home, `part(whole,
  // channel, id)`, else make(id).
  template <class Make, class Part>
  void define(ValueId id, const Make& make, const Part& part) {
    if (has(id)) return;  // a concatenation that its parts have placed
    if (!has_home(id)) return put(id, make(id));
    const auto [parent, channel] = homes_[id];
    define(parent, make, part);
    put(id, part(places_[parent], channel, id));
  }

  // Gives a value the place of x, which is like it, if nobody needs x any more.
  bool reuse(ValueId id, ValueId x) {
    if (has(id) || has_home(id) || !has(x)) return false;
    if (graph_.shape(x) != graph_.shape(id) || graph_.dtype(x) != graph_.dtype(id)) return false;
    if (!buffers_.is_free_at(places_[x].buffer, id)) return false;
    put(id, places_[x]);
    return true;
  }

  // Whether a part of a concatenation has been written straight to its place there.
  bool is_there(ValueId part, const Place& place) const {
    return has_home(part) && places_[part].buffer == place.buffer && places_[part].offset == place.offset;
  }

  // The place of a value in another form: the caller makes it once, with `make()`, and then fills
  // it.
  template <class Make>
  std::pair<const Place&, bool> other_form(ValueId id, const Form& form, const Make& make) {
    const auto [it, fresh] = forms_.try_emplace({id, form});
    if (fresh) {
      it->second = make();
      buffers_.hold(it->second.buffer, id);
    }
    return {it->second, fresh};
  }

 private:
  const Graph& graph_;
  Buffers& buffers_;
  const std::vector<Home> homes_;
  std::vector<Place> places_;  // by value
  std::map<std::pair<ValueId, Form>, Place> forms_;
};

}  // namespace fastconv
