#!/usr/bin/env bash
# One stage with the paper's settings on GPUs:
#   run_stage.sh lapo_discovery | lapo_internalization | acc_only [key=value ...]
# Batch, rollouts, lengths, KL and epochs are the defaults of LAPO's configs, which are the paper's; named here is what
# belongs to the model and the machine. Stage 2 starts from the newest checkpoint of stage 1's folder.
set -xeuo pipefail

CONFIG=$1
shift

OUTPUT=${OUTPUT:-outputs/r1_distill_qwen_1.5b}
MODEL=${MODEL:-deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B}
TRAIN=${TRAIN:-data/train.parquet}
VAL=${VAL:-data/val.parquet}
STAGE_DIR=${STAGE_DIR:-${OUTPUT}/${CONFIG}}
GPUS=${GPUS:-4}
# flash_attention_2 needs the package flash-attn; sdpa is torch's own.
ATTENTION=${ATTENTION:-flash_attention_2}

if [ "${CONFIG}" = lapo_internalization ]; then
    start="lapo.init_from=${INIT_FROM:-${OUTPUT}/lapo_discovery}"
else
    start="actor_rollout_ref.model.path=${MODEL}"
fi

python3 -m verl.trainer.main_ppo \
    --config-name="${CONFIG}" \
    data.train_files="${TRAIN}" \
    data.val_files="${VAL}" \
    "${start}" \
    lapo.prompt=paper \
    actor_rollout_ref.model.override_config.attn_implementation="${ATTENTION}" \
    trainer.n_gpus_per_node="${GPUS}" \
    trainer.logger='[console,file,wandb]' \
    trainer.default_local_dir="${STAGE_DIR}" \
    ray_kwargs.ray_init.num_cpus="${RAY_CPUS:-64}" \
    "$@"
