"""Send each request to the model that plays its role, with the load options that role may use."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain import Role
from pipeline.flow import Embed, Embedded, Failed, Generate, Generated, Reply, Request
from pipeline.rules import Rules
from workers.llm.load_options import foreground_options, own_options, used_tags
from workers.llm.ollama import OllamaClient


class OllamaAnswerer:
    """Answers `Generate` and `Embed` with the models of one run's rules.

    The foreground model gets the host's own load options and never a `keep_alive`: anything else would reload the
    user's model or change how long it stays.
    """

    def __init__(self, client: OllamaClient, rules: Rules) -> None:
        self._client = client
        self._rules = rules

    def __call__(self, request: Request) -> Reply:
        """Answer one request; raises what `OllamaClient.generate` and `embed` raise.

        Raises:
            TypeError: the request is none for a model.
        """
        if isinstance(request, Generate):
            return self._generate(request)
        if isinstance(request, Embed):
            return self._embed(request)
        raise TypeError(f"a model cannot answer a {type(request).__name__}")

    def tag_of(self, request: Request) -> str | None:
        """Return the tag that answers *request*, or None when no model does.

        The foreground model goes by the name in the configuration, also where a role knows it by another one.

        Raises:
            Transient: the server could not be talked to; see `retrying`.
        """
        tag = tag_of(self._rules, request)
        return self._rules.settings.foreground.model if tag is not None and self.is_foreground(tag) else tag

    def is_foreground(self, tag: str) -> bool:
        """Tell whether *tag* is the user's model, also under another name of it; raises as `tag_of` does."""
        return self._client.same(tag, self._rules.settings.foreground.model)

    def own_tags(self) -> tuple[str, ...]:
        """Return the tags of this run that may be unloaded, all but the foreground model; raises as `tag_of` does."""
        return tuple(tag for tag in used_tags(self._rules) if not self.is_foreground(tag))

    def load_options(self, tag: str) -> dict[str, int]:
        """Return the load options that a request to *tag* has; raises as `tag_of` does."""
        return self._manners(tag)[0]

    def _generate(self, request: Generate) -> Generated | Failed:
        tag = self._rules.tag(request.role)
        load_options, keep_alive = self._manners(tag)
        if keep_alive is None:
            most = min(request.sampling.num_predict, self._rules.settings.foreground.max_tokens)
            request = replace(request, sampling=replace(request.sampling, num_predict=most))
        return self._client.generate(tag, request, load_options=load_options, keep_alive=keep_alive)

    def _embed(self, request: Embed) -> Embedded | Failed:
        tag = self._rules.tag(Role.EMBEDDER)
        deduping = self._rules.settings.deduping
        load_options, keep_alive = self._manners(tag)
        return self._client.embed(
            tag, request.texts, prefix=deduping.prefix, dims=deduping.dims, load_options=load_options,
            keep_alive=keep_alive,
        )  # fmt: skip

    def _manners(self, tag: str) -> tuple[dict[str, int], str | None]:
        """Return load options and `keep_alive` for *tag*; None stands for the foreground model."""
        settings = self._rules.settings
        if self.is_foreground(tag):
            return foreground_options(settings.foreground), None
        return own_options(self._rules, tag), settings.models.keep_alive


def tag_of(rules: Rules, request: Request) -> str | None:
    """Return the tag that answers *request* under *rules*, or None when no model does."""
    if isinstance(request, Generate):
        return rules.tag(request.role)
    return rules.tag(Role.EMBEDDER) if isinstance(request, Embed) else None
