#!/usr/bin/env bash
# One stage on SmolLM2-135M and GSM8K, on the CPU:
#   run_stage.sh lapo_discovery | lapo_internalization | acc_only [key=value ...]
set -xeuo pipefail

CONFIG=$1
shift

OUTPUT=${OUTPUT:-outputs/smollm2_gsm8k}
MODEL=${MODEL:-${OUTPUT}/model}
DATA=${DATA:-${OUTPUT}/data}
STAGE_DIR=${STAGE_DIR:-${OUTPUT}/${CONFIG}}
STEPS=${STEPS:-2}

if [ "${CONFIG}" = lapo_internalization ]; then
    start="lapo.init_from=${INIT_FROM:-${OUTPUT}/lapo_discovery}"
else
    start="actor_rollout_ref.model.path=${MODEL}"
fi

export VERL_PLATFORM=cpu
export HF_HUB_OFFLINE=1

# The weight-sync bucket has to hold the largest tensor: the embedding has 113 MB.
python3 -m verl.trainer.main_ppo \
    --config-name="${CONFIG}" \
    platform=cpu \
    data.train_files="${DATA}/train.parquet" \
    data.val_files="${DATA}/val.parquet" \
    data.train_batch_size=4 \
    data.val_max_samples=8 \
    data.max_prompt_length=320 \
    data.max_response_length=160 \
    data.seed=1 \
    "${start}" \
    actor_rollout_ref.actor.optim.lr=1e-6 \
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=2048 \
    actor_rollout_ref.rollout.n=4 \
    actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=256 \
    actor_rollout_ref.rollout.val_kwargs.n=1 \
    trainer.total_training_steps="${STEPS}" \
    trainer.save_freq=1 \
    trainer.test_freq="${STEPS}" \
    trainer.val_before_train=false \
    trainer.default_local_dir="${STAGE_DIR}" \
    trainer.rollout_data_dir="${STAGE_DIR}/rollouts" \
    hydra.run.dir="${STAGE_DIR}/hydra" \
    "$@"
