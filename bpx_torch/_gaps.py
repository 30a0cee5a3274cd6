"""What the faces leave out of torch, with the reason; read by their tests and by the docs."""

MODULES = {
    "a base class: RNN, GRU and LSTM derive from torch's own": "RNNBase RNNCellBase",
    "moves elements; Fold adds those that overlap": "Fold Unfold",
    "normalisation: not written yet": "CrossMapLRN2d LocalResponseNorm SyncBatchNorm",
    "distance: not written yet": "PairwiseDistance",
    "lazy: torch's own become torch's modules at the first call": """LazyBatchNorm1d LazyBatchNorm2d
        LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d
        LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear""",
    "moves elements and computes nothing": """ChannelShuffle CircularPad1d CircularPad2d
        CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Identity
        PixelShuffle PixelUnshuffle
        ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d
        ReplicationPad3d Unflatten ZeroPad1d ZeroPad2d ZeroPad3d""",
    "a container": """Container DataParallel Module ModuleDict ModuleList ParameterDict
        ParameterList Sequential""",
}

FUNCTIONS = {
    "moves elements; fold adds those that overlap": "fold unfold",
    "normalisation: not written yet": "local_response_norm normalize",
    "integers in and out, no gradient": "one_hot",
    "distance: not written yet": "pairwise_distance pdist",
    "moves elements and computes nothing": """channel_shuffle native_channel_shuffle pad
        pixel_shuffle pixel_unshuffle""",
    "scaled or grouped matrix product: not written yet": "grouped_mm scaled_grouped_mm scaled_mm",
    "changes its input in place, which a rule may have saved": """celu_ elu_ hardtanh_ leaky_relu_
        relu_ rrelu_ selu_ threshold_""",
    "machinery of torch, no function of tensors": """assert_int_or_pair boolean_dispatch
        handle_torch_function has_torch_function has_torch_function_unary
        has_torch_function_variadic""",
}
