"""Random weights under which a deep network is a fair test: every one of them matters."""

import torch


def condition(model, size, in_chans=3, batch=8):
    """Give a torch model random weights and statistics; return it in float64, and a batch.

    Kernels are drawn so that signals keep their size, and the statistics of batch norms are those
    of the returned batch, then disturbed, so that signals neither die nor explode. Biases are
    positive: activations that were zero half of the time would make a deep network chaotic, so that
    rounding errors grow from layer to layer. All values are representable in float32.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    size : int
        Height and width of the images.
    in_chans, batch : int
        Channels and number of the images.

    Returns
    -------
    tuple of torch.nn.Module and torch.Tensor
        The model, and float32 images of shape (batch, in_chans, size, size).
    """
    generator = torch.Generator().manual_seed(0)

    def rand(like, low, high):
        return torch.rand(like.shape, generator=generator, dtype=like.dtype) * (high - low) + low

    x = torch.randn(batch, in_chans, size, size, generator=generator)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.rpartition(".")[2] in ("layer_scale", "layer_scale_parameter", "gamma"):
                parameter.copy_(rand(parameter, 0.1, 0.3))
            elif parameter.ndim == 1:
                low, high = (0.0, 1.0) if key.endswith("bias") else (0.5, 1.0)
                parameter.copy_(rand(parameter, low, high))
            else:
                fan_in = parameter[0].numel()
                parameter.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        if norms:
            model.eval()
            for norm in norms:
                norm.train().momentum = 1.0
            model(x)
        for norm in norms:
            deviation = norm.running_var.sqrt()
            norm.running_mean += rand(deviation, -0.1, 0.1) * deviation
            norm.running_var *= rand(deviation, 0.8, 1.2)
    return model.eval().double(), x


def float32_state(model):
    """Return a torch model's state dict as NumPy arrays, float64 rounded to float32.

    They are read-only: a model of ours that they are loaded into in float32 shares their memory.
    """
    state = {
        key: (value.float() if value.is_floating_point() else value).numpy()
        for key, value in model.state_dict().items()
    }
    for array in state.values():
        array.flags.writeable = False
    return state
