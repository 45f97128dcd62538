#!/usr/bin/env bash
# One stage of the demo with verl's own command:
#   run_stage.sh lapo_discovery | lapo_internalization | acc_only [key=value ...]
# What differs between stages and runs comes in by the environment; the defaults are those of `lapo demo`.
set -xeuo pipefail

CONFIG=$1
shift

OUTPUT=${OUTPUT:-outputs/demo}
MODEL=${MODEL:-${OUTPUT}/toy/base_model}
TRAIN=${TRAIN:-${OUTPUT}/train.parquet}
HELDOUT=${HELDOUT:-${OUTPUT}/heldout.parquet}
STAGE_DIR=${STAGE_DIR:-${OUTPUT}/${CONFIG}}
STEPS=${STEPS:-20}
LEARNING_RATE=${LEARNING_RATE:-2e-4}
TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-32}
ROLLOUTS=${ROLLOUTS:-8}
PROMPT_LIMIT=${PROMPT_LIMIT:-80}
RESPONSE_LIMIT=${RESPONSE_LIMIT:-320}
# Tokens: what one check of the toy takes (100 and 120 in the paper, whose responses have thousands of tokens).
DECAY=${DECAY:-10}
SIGMA=${SIGMA:-10}

export VERL_PLATFORM=cpu
export HF_HUB_OFFLINE=1
export VERL_FILE_LOGGER_PATH=${VERL_FILE_LOGGER_PATH:-${STAGE_DIR}/metrics.jsonl}

objective=()
if [ "${CONFIG}" = lapo_discovery ]; then objective=(lapo.objective.decay="${DECAY}"); fi
if [ "${CONFIG}" = lapo_internalization ]; then objective=(lapo.objective.sigma="${SIGMA}"); fi

mkdir -p "${STAGE_DIR}"

${LAPO_WARM_PYTHON:-python3} -m verl.trainer.main_ppo \
    --config-name="${CONFIG}" \
    platform=cpu \
    data.train_files="${TRAIN}" \
    data.val_files="${HELDOUT}" \
    data.train_batch_size="${TRAIN_BATCH_SIZE}" \
    data.max_prompt_length="${PROMPT_LIMIT}" \
    data.max_response_length="${RESPONSE_LIMIT}" \
    data.seed=1 \
    actor_rollout_ref.model.path="${MODEL}" \
    actor_rollout_ref.actor.optim.lr="${LEARNING_RATE}" \
    actor_rollout_ref.actor.use_kl_loss=false \
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=4096 \
    actor_rollout_ref.actor.checkpoint.save_contents='[model,optimizer,extra,hf_model]' \
    actor_rollout_ref.rollout.n="${ROLLOUTS}" \
    actor_rollout_ref.rollout.temperature=1.0 \
    "${objective[@]}" \
    trainer.total_training_steps="${STEPS}" \
    trainer.total_epochs=1000 \
    trainer.save_freq="${STEPS}" \
    trainer.test_freq="${STEPS}" \
    trainer.logger='[console,file]' \
    trainer.default_local_dir="${STAGE_DIR}/checkpoints" \
    trainer.validation_data_dir="${STAGE_DIR}/validation" \
    hydra.run.dir="${STAGE_DIR}/hydra" \
    "$@"
