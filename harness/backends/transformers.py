"""Text from a causal language model in this process: the embedded default, or any that transformers loads.

Requests are sorted by shared prefix and length. A prefix (instruction and examples) is read once; its keys and values
are copied to the rows that begin with it. A row ends at an end token, at the token limit or, where one line is asked
for, at a newline, and then leaves the batch. Each row draws from its own seed (see sampling.py). Arithmetic in a batch
is not exactly that of a row alone, so a reply is cached under its whole group, and groups depend on the requests alone:
a resumed run writes the same text to the byte.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

import torch

from harness.backends.base import UNMETERED, Answered, Identity, Meter, Reply, Request, Sample
from harness.backends.models import Dtype, last_position, load_model, load_tokenizer, revision_of, settled_dtype
from harness.backends.sampling import draw, uniforms

MIN_SHARED_TOKENS = 8  # a shorter prefix is not worth its own forward pass
MAX_PREFIXES = 64  # kept in memory; the embedded model needs about 10 MB for one

_Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, shape (n_rows, n_heads, n_tokens, n_dimensions)."""


class TransformersBackend:
    """A causal language model and how to prompt it.

    Raises:
        BackendError: From the first use on: the model cannot be loaded.
    """

    def __init__(
        self,
        kind: str,
        model: str,
        *,
        batch_size: int,
        revision: str | None = None,
        dtype: Dtype = "auto",
        chat: bool = False,
    ) -> None:
        self._name = model
        self._revision = revision
        self._dtype = dtype
        self._chat = chat
        self._batch_size = batch_size
        self._kind = kind
        self._prefix_tokens: dict[str, list[int]] = {}
        self._prefixes: OrderedDict[tuple[int, ...], _Layers] = OrderedDict()

    @cached_property
    def identity(self) -> Identity:
        # on a CPU the number of threads decides the order of sums, and with it about one text in a hundred
        place = "cuda" if _device() == "cuda" else f"cpu/{torch.get_num_threads()}"
        variant = f"dtype={settled_dtype(self._dtype)},chat={self._chat},device={place}"
        return Identity(self._kind, self._name, revision_of(self._name, self._revision), variant)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """By shared prefix, then by length, `batch_size` at a time."""

        def place(index: int) -> tuple[str, int, int]:
            request = requests[index]
            return (request.prompt[: request.n_shared_chars], len(request.prompt), index)

        order = sorted(range(len(requests)), key=place)
        return [order[start : start + self._batch_size] for start in range(0, len(order), self._batch_size)]

    def scope(self, requests: Sequence[Request]) -> str:
        content = [[one.prompt, one.seed, one.n_shared_chars, one.multiline] for one in requests]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def generate(
        self,
        requests: Sequence[Request],
        sample: Sample,
        meter: Meter = UNMETERED,  # noqa: ARG002 - a model in this process costs nothing
    ) -> Iterator[Answered]:
        rows = [self._encode(request.prompt) for request in requests]
        with torch.inference_mode():
            state = self._read_prompts(rows, [request.prompt[: request.n_shared_chars] for request in requests])
            u = uniforms([request.seed for request in requests], sample.max_new_tokens)
            drawn = self._decode(state, u, sample, ends=[self._ends(request) for request in requests])
        yield [
            (index, self._reply(request, tokens, len(row)))
            for index, (request, tokens, row) in enumerate(zip(requests, drawn, rows, strict=True))
        ]

    def close(self) -> None:
        self._prefixes.clear()
        self.__dict__.pop("_model", None)

    # -- the model --

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self._name, revision=self._revision)

    @cached_property
    def _model(self) -> Any:
        return load_model(self._name, revision=self._revision, dtype=self._dtype).to(_device())

    def _ends(self, request: Request) -> frozenset[int]:
        """Tokens that end the row of this request."""
        return self._end_tokens if request.multiline else self._end_tokens | self._newline_tokens

    @cached_property
    def _newline_tokens(self) -> frozenset[int]:
        pieces = self._tokenizer.batch_decode([[token] for token in range(len(self._tokenizer))])
        return frozenset(token for token, piece in enumerate(pieces) if "\n" in piece)

    @cached_property
    def _end_tokens(self) -> frozenset[int]:
        given = self._model.generation_config.eos_token_id
        more = given if isinstance(given, list) else [given]
        return frozenset({self._tokenizer.eos_token_id, *(token for token in more if token is not None)})

    def _encode(self, prompt: str) -> list[int]:
        if not self._chat:
            return list(self._tokenizer(prompt)["input_ids"])
        turn = [{"role": "user", "content": prompt}]
        text = self._tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    # -- reading --

    def _read_prompts(self, rows: list[list[int]], prefixes: list[str]) -> _State:
        """Keys and values of all prompts, and the logits after each."""
        device = _device()
        shared = [self._shared_tokens(row, prefix) for row, prefix in zip(rows, prefixes, strict=True)]
        cache, mask = self._join([self._read_prefix(prefix) for prefix in shared])
        own = [row[len(prefix) :] for row, prefix in zip(rows, shared, strict=True)]
        ids, own_mask = _left_padded(own, self._tokenizer.pad_token_id, device)
        n_before = mask.shape[1]
        mask = torch.cat([mask, own_mask], dim=1)
        logits, cache = self._forward(ids, mask, n_before=n_before, cache=cache)
        return _State(cache=cache, mask=mask, logits=logits)

    def _shared_tokens(self, row: list[int], prefix: str) -> tuple[int, ...]:
        """The leading tokens of a row that belong to its shared prefix; at least one token stays the row's own."""
        if not prefix or not self._caches_are_plain:
            return ()
        if prefix not in self._prefix_tokens:
            self._prefix_tokens[prefix] = self._encode(prefix)
        pairs = zip(self._prefix_tokens[prefix], row[:-1], strict=False)
        n_same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return tuple(row[:n_same]) if n_same >= MIN_SHARED_TOKENS else ()

    def _read_prefix(self, prefix: tuple[int, ...]) -> _Layers:
        """Keys and values of a prefix, read alone, so that they do not depend on what else is read."""
        if prefix not in self._prefixes:
            if len(self._prefixes) >= MAX_PREFIXES:
                self._prefixes.popitem(last=False)
            layers: _Layers = []
            if prefix:
                ids = torch.tensor([prefix], device=_device())
                cache = self._forward(ids, torch.ones_like(ids), n_before=0, cache=None)[1]
                layers = [(layer.keys, layer.values) for layer in cache.layers]
            self._prefixes[prefix] = layers
        self._prefixes.move_to_end(prefix)
        return self._prefixes[prefix]

    def _join(self, prefixes: list[_Layers]) -> tuple[Any, torch.Tensor]:
        """One cache with a row per prefix, padded on the left, and its mask; None where no row has a prefix."""
        from transformers import DynamicCache

        lengths = [layers[0][0].shape[-2] if layers else 0 for layers in prefixes]
        width = max(lengths)
        mask = torch.tensor(
            [[0] * (width - length) + [1] * length for length in lengths], dtype=torch.long, device=_device()
        )
        if width == 0:
            return None, mask
        example = next(layers for layers in prefixes if layers)
        cache = DynamicCache(config=self._model.config)
        for number, pair in enumerate(example):
            joined = [part.new_zeros((len(prefixes), *part.shape[1:-2], width, part.shape[-1])) for part in pair]
            for row, layers in enumerate(prefixes):
                for whole, part in zip(joined, layers[number] if layers else (), strict=False):
                    whole[row, ..., width - lengths[row] :, :] = part[0]
            cache.update(joined[0], joined[1], number)
        return cache, mask

    @cached_property
    def _caches_are_plain(self) -> bool:
        """Whether all layers keep all keys and values; sliding windows and recurrent states cannot be joined."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        ids = torch.tensor([[self._tokenizer.eos_token_id]], device=_device())
        cache = self._forward(ids, torch.ones_like(ids), n_before=0, cache=None)[1]
        return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, *, n_before: int, cache: Any) -> tuple[torch.Tensor, Any]:
        """Logits of the last token, shape (n_rows, n_vocabulary), and the grown cache; padding has no position."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, n_before:]
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=last_position(ids),
        )
        return out.logits[:, -1], out.past_key_values

    # -- writing --

    def _decode(
        self, state: _State, u: torch.Tensor, sample: Sample, *, ends: Sequence[frozenset[int]]
    ) -> list[list[int]]:
        """Token ids of each row up to and with one of its `ends`, where it comes to one."""
        drawn: list[list[int]] = [[] for _ in range(u.shape[0])]
        active = list(range(u.shape[0]))
        for step in range(sample.max_new_tokens):
            tokens = draw(state.logits, u[active, step], temperature=sample.temperature, top_p=sample.top_p)
            for row, token in zip(active, tokens.tolist(), strict=True):
                drawn[row].append(token)
            going = torch.tensor([place for place, row in enumerate(active) if drawn[row][-1] not in ends[row]])
            if going.numel() == 0 or step + 1 == sample.max_new_tokens:
                break
            if going.numel() < len(active):
                active = [active[place] for place in going.tolist()]
                keep = going.to(state.mask.device)
                state.cache.batch_select_indices(keep)
                state.mask, tokens = state.mask[keep], tokens[keep]
            state.mask = torch.cat([state.mask, state.mask.new_ones((len(active), 1))], dim=1)
            n_before = state.mask.shape[1] - 1
            state.logits, state.cache = self._forward(tokens[:, None], state.mask, n_before=n_before, cache=state.cache)
        return drawn

    def _reply(self, request: Request, tokens: list[int], n_prompt_tokens: int) -> Reply:
        ended = tokens[-1] in self._ends(request)
        written = [token for token in tokens if token not in self._end_tokens]
        text = self._tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(
            status="ok",
            text=text.strip() if request.multiline else text.split("\n", 1)[0].strip(),
            finish_reason="stop" if ended else "length",
            n_prompt_tokens=n_prompt_tokens,
            n_completion_tokens=len(tokens),
        )


@dataclass
class _State:
    """A batch in the middle of writing."""

    cache: Any
    mask: torch.Tensor  # (n_rows, n_tokens), 1 where a token is no padding
    logits: torch.Tensor  # (n_rows, n_vocabulary), of the next token


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _left_padded(rows: list[list[int]], pad: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, shape (n_rows, longest row)."""
    width = max((len(row) for row in rows), default=0)
    ids = [[pad] * (width - len(row)) + row for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, dtype=torch.long, device=device), torch.tensor(mask, dtype=torch.long, device=device)
