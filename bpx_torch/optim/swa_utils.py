"""Drop-in for torch.optim.swa_utils's averages; torch's AveragedModel takes them.

`bpx_torch.optim.WeightEMA` and `WeightSWA` keep the averages beside an optimizer instead.
"""

from bpx_torch.transforms.average import (
    weight_ema_avg_fn,
    weight_ema_multi_avg_fn,
    weight_swa_avg_fn,
    weight_swa_multi_avg_fn,
)

get_ema_avg_fn = weight_ema_avg_fn
get_ema_multi_avg_fn = weight_ema_multi_avg_fn
get_swa_avg_fn = weight_swa_avg_fn
get_swa_multi_avg_fn = weight_swa_multi_avg_fn

__all__ = ["get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn"]

_TORCH = "works unchanged with these averages, import it from torch.optim.swa_utils"

GAPS: dict[str, str] = {
    "AveragedModel": _TORCH,
    "SWALR": "bpx_torch.optim.lr_scheduler.SequentialLR holds a rate after a schedule",
    "update_bn": _TORCH,
}
