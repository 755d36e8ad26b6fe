"""The kinds of backend a recipe may name. Each is imported when it is opened: --help and validate load no model."""

from __future__ import annotations

from collections.abc import Callable

from harness.backends.base import Backend
from harness.errors import BackendError
from harness.schemas.arms import BackendSettings, EmbeddedBackend, OpenAIBackend, TransformersBackend


def open_backend(settings: BackendSettings) -> Backend:
    """The backend that a recipe's `backend:` describes; models are loaded at the first request.

    Raises:
        ConfigError: It needs an environment variable that is not set.
    """
    return BACKENDS[settings.kind](settings)


def _embedded(settings: BackendSettings) -> Backend:
    from harness.backends.embedded import EMBEDDED_MODEL
    from harness.backends.transformers import TransformersBackend as Model

    if not isinstance(settings, EmbeddedBackend):
        raise BackendError(f"embedded backend: found settings of kind {settings.kind!r}")
    return Model("embedded", EMBEDDED_MODEL, batch_size=settings.batch_size, dtype="auto")


def _transformers(settings: BackendSettings) -> Backend:
    from harness.backends.transformers import TransformersBackend as Model

    if not isinstance(settings, TransformersBackend):
        raise BackendError(f"transformers backend: found settings of kind {settings.kind!r}")
    return Model(
        "transformers",
        settings.model,
        batch_size=settings.batch_size,
        revision=settings.revision,
        dtype=settings.dtype,
        chat=settings.chat,
    )


def _openai_api(settings: BackendSettings) -> Backend:
    from harness.backends.openai_api import OpenAIBackend as Server

    if not isinstance(settings, OpenAIBackend):
        raise BackendError(f"openai_api backend: found settings of kind {settings.kind!r}")
    return Server(settings)


BACKENDS: dict[str, Callable[[BackendSettings], Backend]] = {
    "embedded": _embedded,
    "transformers": _transformers,
    "openai_api": _openai_api,
}
