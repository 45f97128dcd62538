#!/usr/bin/env bash
# The paper's second base model, DeepScaleR-1.5B-Preview; all else is as for the first:
#   run_stage.sh lapo_discovery | lapo_internalization | acc_only [key=value ...]
set -xeuo pipefail

export OUTPUT=${OUTPUT:-outputs/deepscaler_1.5b}
export MODEL=${MODEL:-agentica-org/DeepScaleR-1.5B-Preview}

exec bash "$(dirname "$0")/../r1_distill_qwen_1.5b/run_stage.sh" "$@"
