"""LoRA adapters of several versions in one vLLM engine: each response ends with the adapter that it began with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlpost.engine_records import WeightManifest
from rlpost.errors import WeightSyncError
from rlpost.weight_file import ADAPTER_FILE, verified_checksum

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.llm_engine import LLMEngine


@dataclass(kw_only=True, slots=True, eq=False)
class Adapter:
    """One version of the adapter, and the number of responses that are being decoded with it."""

    version: int
    lora_request: LoRARequest
    users: int = 0


class Adapters:
    """The adapters that an engine holds: the current one, and older ones while responses use them."""

    def __init__(self, engine: LLMEngine) -> None:
        """Serve the model without an adapter until the first `switch`."""
        self._engine = engine
        self._current: Adapter | None = None
        self._loaded = 0

    def switch(self, manifest: WeightManifest) -> str:
        """Load the adapter of `manifest` for the following requests; return the checksum of the bytes read.

        Raises:
            WeightSyncError: the engine takes no adapters, or the file is missing or modified; nothing has changed.
        """
        from vllm.lora.request import LoRARequest

        if self._engine.vllm_config.lora_config is None:
            raise WeightSyncError(
                f"weights {manifest.version} are an adapter, and an engine must be started with lora_rank to take one: "
                "set learner.lora.sync to merged, or start the engines with the rank of the adapter"
            )
        path = Path(manifest.path) / ADAPTER_FILE
        checksum = verified_checksum(path, expected=manifest.checksum, version=manifest.version)
        # vLLM distinguishes adapters by number and name, and numbers start at 1.
        self._loaded += 1
        lora_request = LoRARequest(
            lora_name=f"{manifest.version}-{self._loaded}", lora_int_id=self._loaded, lora_path=manifest.path
        )
        self._engine.add_lora(lora_request)
        self.drop_current()
        self._current = Adapter(version=manifest.version, lora_request=lora_request)
        return checksum

    def drop_current(self) -> None:
        """Serve the following requests without an adapter."""
        previous, self._current = self._current, None
        if previous is not None:
            self._remove_if_idle(previous)

    def borrow(self) -> Adapter | None:
        """Lend the adapter to one more request, which must give it back."""
        if self._current is not None:
            self._current.users += 1
        return self._current

    def give_back(self, adapter: Adapter | None) -> None:
        """Record that a request with this adapter has ended."""
        if adapter is not None:
            adapter.users -= 1
            self._remove_if_idle(adapter)

    def _remove_if_idle(self, adapter: Adapter) -> None:
        if adapter.users == 0 and adapter is not self._current:
            self._engine.remove_lora(adapter.lora_request.lora_int_id)
