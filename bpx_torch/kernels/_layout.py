"""Where the channels of a tensor lie in memory."""


def channels_behind(x):
    """Whether x (B C *S) lies in memory as (B *S C), which torch calls channels_last."""
    return not x.is_contiguous() and x.ndim > 2 and x.movedim(1, -1).is_contiguous()


def put_behind(x):
    """x (B C *S) laid out as (B *S C)."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)
