"""What must happen before torchvision is imported."""

import torch

# torchvision registers meta kernels for its own C++ operators when it is imported. A torchvision
# built for another torch lacks them; declared here, the import works, and no test here calls them.
_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

# Tests run side by side in processes of their own (pytest -n): more threads would be in the way.
torch.set_num_threads(1)
