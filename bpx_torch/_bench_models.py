"""One training step of whole networks, by bpx's rules and by torch's own operations."""

import copy
from functools import partial

import torch

import bpx_torch
from bpx._bench_models import demo
from bpx._timing import Candidate, Prepared
from bpx_torch import RULES, optim
from bpx_torch.bench import peak_bytes, saved_bytes
from bpx_torch.demo import Trainer
from bpx_torch.oracles import ORACLES

# of the small Llama: about 6 million parameters
LLAMA = {
    "vocab_size": 2048,
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
}
TOKENS = (2, 256)


def prepare(name, dtype, seed) -> Prepared:
    """Forward, backward and an AdamW step. The default is bpx's."""
    make = _llama if name == "train_llama" else _demo
    return Prepared(make(name, dtype, seed), "bpx")


def _demo(name, dtype, seed):
    network, weights, settings, arrays = demo(name, dtype, seed)
    found = {}
    for label, table, adamw in (("own", ORACLES, torch.optim.AdamW), ("bpx", RULES, optim.AdamW)):
        trainer = Trainer(network, weights, settings)
        losses = [
            partial(trainer.loss, table, part, trainer.given(part, arrays))
            for part in network.parts
        ]
        optimizers = [adamw([trainer.params[k] for k in part.own]) for part in network.parts]
        found[label] = _stepping(losses, optimizers, tuple(trainer.params.values()))
    return found


def _llama(name, dtype, seed):
    import transformers  # only this row needs it

    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))
    model = model.to(getattr(torch, dtype))
    tokens = torch.randint(LLAMA["vocab_size"], TOKENS)
    converted = copy.deepcopy(model)
    bpx_torch.convert(converted, loss=True)
    found = {}
    for label, net, adamw in (
        ("own", model, torch.optim.AdamW),
        ("bpx", converted, optim.AdamW),
    ):
        loss = lambda net=net: net(input_ids=tokens, labels=tokens).loss  # noqa: E731
        params = tuple(net.parameters())
        found[label] = _stepping([loss], [adamw(params)], params)
    return found


def _stepping(losses, optimizers, params):
    def step():
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    return Candidate(step, saved_bytes(losses[0], params), peak_bytes(step))
