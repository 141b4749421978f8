"""A callback for the Trainer of Hugging Face's transformers.

from foundations.integrations.huggingface import FoundationsCallback
trainer = Trainer(..., callbacks=[FoundationsCallback()])
"""

from __future__ import annotations

from transformers import TrainerCallback

from foundations import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional


class FoundationsCallback(TrainerCallback):  # type: ignore[misc]
    """Logs the arguments of a training as parameters and what it reports as metrics, from the first process alone."""

    def on_train_begin(self, args: "Any", state: "Any", control: "Any", **kwargs: "Any") -> None:
        """Record the arguments that are plain values."""
        if state.is_world_process_zero:
            plain = (str, bool, int, float, type(None))
            run.log_params(
                {k: v for k, v in args.to_dict().items() if isinstance(v, plain) and not k.endswith("_token")}
            )

    def on_log(
        self, args: "Any", state: "Any", control: "Any", logs: "Optional[Dict[str, Any]]" = None, **kwargs: "Any"
    ) -> None:
        """Record the numbers of a report at its step."""
        if state.is_world_process_zero and logs:
            numbers = {k: v for k, v in logs.items() if isinstance(v, (int, float))}
            run.log_metrics(numbers, step=state.global_step)
