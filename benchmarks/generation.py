"""What asking costs beside answering: our client against a plain loop, and batches against one prompt at a time.

    python benchmarks/generation.py              # both claims: at most 5% overhead; at least 3 times the sentences
    python benchmarks/generation.py --only client

Client: a dummy server in a process of its own answers every request after a fixed time. The plain loop is what one
would write by hand with asyncio and httpx: as many requests in flight, as many connections kept, the text read from the
JSON, nothing else. Ours does that and keys, caches, meters and retries. The two take turns, and the figure is the
median over turns of our time over theirs, less 1. Processor time per request tells the same where cores are shared.

Embedded: the quickstart's DualAlign prompts, sampling and filters. The plain way is `model.generate` on one prompt at a
time, told to end at a newline as ours does, with the same number format. Both take turns over the same prompts, and the
figure is the median over turns of accepted sentences per minute, ours over theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from harness.backends.base import Reply, Request, Sample
from harness.backends.cache import ReplyCache, ask
from harness.backends.registry import open_backend
from harness.backends.spending import open_meter
from harness.generation.stage import manner
from harness.planning.aligned import run_to_alignment
from harness.schemas.arms import OpenAIBackend
from harness.schemas.recipe import load_recipe
from harness.store import Run

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "quickstart.yaml"
SAMPLE = Sample(temperature=0.7, top_p=0.9, max_new_tokens=48)
CONTENT = json.dumps({
    "choices": [{"message": {"content": "Gait unsteady when turning, walks with a cane."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 120, "completion_tokens": 14},
}).encode()  # fmt: skip
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT


# -- client ------------------------------------------------------------------------------------------------------------


def serve(latency_s: float, port: Connection) -> None:
    """Answer whatever comes after `latency_s`; kept connections, no more HTTP than that needs."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError):
                break
            lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            if lengths:
                await reader.readexactly(int(lengths[0].split(b":")[1]))
                await asyncio.sleep(latency_s)
            writer.write(ANSWER)
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def plain_loop(url: str, prompts: Sequence[str], concurrency: int) -> list[str]:
    texts: list[str] = [""] * len(prompts)
    waiting = iter(enumerate(prompts))
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)

    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def work() -> None:
            for index, prompt in waiting:
                body = {"model": "m", "temperature": 0.7, "top_p": 0.9, "max_tokens": 48, "seed": index,
                        "messages": [{"role": "user", "content": prompt}]}  # fmt: skip
                answer = await client.post(f"{url}/chat/completions", json=body)
                texts[index] = answer.json()["choices"][0]["message"]["content"]

        await asyncio.gather(*(work() for _ in range(concurrency)))
    return texts


def our_client(run: Run, url: str, requests: Sequence[Request], concurrency: int, cache_path: Path) -> int:
    settings = OpenAIBackend(kind="openai_api", base_url=url, model="m", concurrency=concurrency)
    backend = open_backend(settings)
    n_ok = 0
    with ReplyCache(cache_path) as cache, open_meter(run, "generation/benchmark", settings) as meter:
        for answered in ask(backend, requests, SAMPLE, cache, meter):
            n_ok += sum(reply.status == "ok" for _, reply in answered)
    return n_ok


def client_overhead(n_requests: int, concurrency: int, latency_s: float, n_turns: int) -> dict[str, float]:
    receiving, sending = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(latency_s, sending), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{receiving.recv()}/v1"
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    busy: dict[str, float] = {"plain": 0.0, "ours": 0.0}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            run = Run(recipe=load_recipe(RECIPE), folder=Path(scratch))
            filler = "Write one sentence of a clinic note about a patient who walks less than last year. " * 8
            for turn in range(n_turns + 1):  # the first turn warms both up
                prompts = [f"{filler}({turn}/{index})" for index in range(n_requests)]
                requests = [Request(prompt, index) for index, prompt in enumerate(prompts)]
                for name in ("plain", "ours") if turn % 2 else ("ours", "plain"):
                    started, started_busy = time.perf_counter(), time.process_time()
                    if name == "plain":
                        assert all(asyncio.run(plain_loop(url, prompts, concurrency)))
                    else:
                        n_ok = our_client(run, url, requests, concurrency, Path(scratch) / "cache")
                        assert n_ok == n_requests
                    if turn:
                        seconds[name].append(time.perf_counter() - started)
                        busy[name] += time.process_time() - started_busy
    finally:
        server.terminate()
        server.join()
    ideal = n_requests / concurrency * latency_s
    medians = {name: statistics.median(every) for name, every in seconds.items()}
    ratios = [ours / plain for ours, plain in zip(seconds["ours"], seconds["plain"], strict=True)]
    print(f"{n_requests} requests, {concurrency} in flight, {latency_s * 1000:.0f} ms each: at best {ideal:.2f} s, "
          f"plain {medians['plain']:.2f} s, ours {medians['ours']:.2f} s")  # fmt: skip
    print("ours over plain, turn by turn:", " ".join(f"{ratio:.3f}" for ratio in ratios))
    per_request = {f"client_cpu_ms_{name}": 1000 * spent / n_turns / n_requests for name, spent in busy.items()}
    return {"client_overhead": statistics.median(ratios) - 1, **per_request}


# -- embedded ----------------------------------------------------------------------------------------------------------


def plain_generate(model: Any, tokenizer: Any, requests: Sequence[Request], sample: Sample) -> list[Reply]:
    import torch

    newlines = [token for token in range(len(tokenizer)) if "\n" in tokenizer.decode([token])]
    ends = [tokenizer.eos_token_id, *newlines]
    replies = []
    for request in requests:
        torch.manual_seed(request.seed)
        ids = torch.tensor([tokenizer(request.prompt)["input_ids"]])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=sample.temperature,
                             top_p=sample.top_p, top_k=0, max_new_tokens=sample.max_new_tokens, eos_token_id=ends,
                             pad_token_id=tokenizer.pad_token_id)  # fmt: skip
        written = out[0, ids.shape[1] :].tolist()
        text = tokenizer.decode(written, skip_special_tokens=True).split("\n", 1)[0].strip()
        replies.append(Reply("ok", text, finish_reason="stop" if written[-1] in ends else "length"))
    return replies


def our_generate(backend: Any, requests: Sequence[Request], sample: Sample) -> list[Reply]:
    found: dict[int, Reply] = {}
    for group in backend.batches(requests):
        for answered in backend.generate([requests[index] for index in group], sample):
            found.update({group[index]: reply for index, reply in answered})
    return [found[index] for index in range(len(requests))]


def embedded_speedup(n_turns: int, n_prompts: int) -> dict[str, float]:
    from harness.backends.embedded import EMBEDDED_MODEL
    from harness.backends.models import load_model, load_tokenizer

    recipe = load_recipe(RECIPE)
    arm = recipe.arms["dualalign"]
    assert arm.backend is not None
    sample = Sample(**arm.sampling.model_dump(exclude={"max_attempts"}))
    with tempfile.TemporaryDirectory() as scratch:
        how = manner(run_to_alignment(recipe, Path(scratch) / "run"), "dualalign")
    backend, model, tokenizer = open_backend(arm.backend), load_model(EMBEDDED_MODEL), load_tokenizer(EMBEDDED_MODEL)
    ratios, counts = [], {"ours": 0, "plain": 0}
    for turn in range(n_turns + 1):  # the first turn warms both up; each turn has its own attempt's seeds
        slots = how.slots[: 8 if turn == 0 else n_prompts]
        requests = how.build(slots, turn)
        per_minute = {}
        for name in ("plain", "ours"):
            started = time.perf_counter()
            replies = (
                our_generate(backend, requests, sample)
                if name == "ours"
                else plain_generate(model, tokenizer, requests, sample)
            )
            seconds = time.perf_counter() - started
            judge = manner_judge(how)
            n_kept = sum(
                judge.reject(reply, how.view(slot)) is None for slot, reply in zip(slots, replies, strict=True)
            )
            per_minute[name] = 60 * n_kept / seconds
            counts[name] += n_kept if turn else 0
        if turn:
            told = ", ".join(f"{name} {value:.1f}" for name, value in per_minute.items())
            print(f"turn {turn}: accepted a minute: {told}")
            ratios.append(per_minute["ours"] / per_minute["plain"])
    share = {name: n / (n_turns * n_prompts) for name, n in counts.items()}
    print(f"share accepted: one at a time {share['plain']:.2f}, ours {share['ours']:.2f}")
    return {"embedded_speedup": statistics.median(ratios), "embedded_acceptance": share["ours"]}


def manner_judge(how: Any) -> Any:
    """A judge that has kept nothing yet: each side is judged by itself."""
    return type(how.judge)(shown=how.judge.shown, label_names=how.judge.label_names, negative=how.judge.negative)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["client", "embedded"])
    parser.add_argument("--requests", type=int, default=640)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency-ms", type=float, default=250)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--prompts", type=int, default=32, help="per turn, of the embedded model")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    if arguments.only != "embedded":
        figures |= client_overhead(
            arguments.requests, arguments.concurrency, arguments.latency_ms / 1000, arguments.turns
        )
    if arguments.only != "client":
        figures |= embedded_speedup(max(1, arguments.turns // 2), arguments.prompts)
    for name, value in figures.items():
        print(f"figure {name} {value:g}")


if __name__ == "__main__":
    main()
