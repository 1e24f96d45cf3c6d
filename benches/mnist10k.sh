#!/bin/sh
# Trains SqueezeNet 0.25 on 10,000 MNIST digits with every method and three seeds, and prints test accuracies.
#   sh benches/mnist10k.sh DATA_DIR OUT_DIR [SEEDS]
# DATA_DIR holds the IDX files; OUT_DIR gets a JSON record per run. A run whose record is there already is not repeated.
set -eu
data=$1
out=$2
seeds=${3:-"0 1 2"}
mkdir -p "$out"
run() { # name, seed, options
  name=$1 seed=$2
  shift 2
  record="$out/$name-$seed.json"
  [ -s "$record" ] || cargo run --release --quiet -- train models/squeezenet-0.25.onnx --data "mnist:$data" \
    --batch 64 --epochs 5 --lr 0.05 --lr-schedule cosine --seed "$seed" --quiet --json "$record" "$@"
  accuracy=$(sed -n 's/.*"test_accuracy": \([0-9.]*\).*/\1/p' "$record")
  promotions=$(grep -c '"tensor"' "$record" || true)
  echo "$name seed $seed: accuracy $accuracy, $promotions promotions"
}
for seed in $seeds; do
  run fp32 "$seed" --method fp32
  run demote-0.5 "$seed" --method demote --low-ratio 0.5
  run demote-1.0 "$seed" --method demote --low-ratio 1.0
  run operator "$seed" --method operator --promotion off
  run amp "$seed" --method amp --promotion off
  run uniform-low "$seed" --method uniform-low --promotion off
done
