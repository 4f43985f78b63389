"""The memory of compiled train steps, as XLA counts it, beside what `training.estimate` says of them.

    python experiments/benchmarks/step_memory.py --dataset=synthetic --num_users=20000 --num_items=15000 \\
        --num_interactions=500000 --batch_sizes=2048,8192

For each loss below and each size of a batch, megabytes of the step's temporaries (`memory_analysis()` of the compiled
block), those of the estimate, and the estimate over XLA's figure. Nothing runs; a step compiles in seconds.
"""

import common
from absl import app, flags

from lgcn_jax.training import estimate
from lgcn_jax.training.programs import compile_block
from lgcn_jax.training.setup import build_setup

BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["2048", "8192"], "examples of a step")
LOSSES = {
    "bpr": {"loss": "bpr"},
    "bpr, in-batch": {"loss": "bpr", "negatives": "in-batch"},
    "bpr, dns": {"loss": "bpr", "negatives": "dns"},
    "ssm": {"loss": "ssm"},
    "ssm, shared and in-batch": {"loss": "ssm", "negatives": "shared", "in_batch": True},
    "ssm, 64 drawn": {"loss": "ssm", "negatives": "uniform", "num_negatives": 64},
    "ccl, shared": {"loss": "ccl", "negatives": "shared"},
    "directau": {"loss": "directau"},
    "simgcl": {"loss": "simgcl"},
    "xsimgcl": {"loss": "xsimgcl"},
    "egcf": {"loss": "egcf"},
}
CASES = flags.DEFINE_list("cases", [], "the first words of some of the losses (default: all)")


def main(argv: list[str]) -> None:
    del argv
    interactions, found = common.load(common.config()), {}
    for name, settings in LOSSES.items():
        if CASES.value and name.split(",")[0] not in CASES.value:
            continue
        for batch_size in map(int, BATCH_SIZES.value):
            config = common.config(**settings, batch_size=batch_size, eval_split="none")
            setup = build_setup(config, interactions)
            compiled = compile_block(setup, setup.initial_snapshot()).memory_analysis().temp_size_in_bytes
            terms = estimate.run_memory_bytes(config, interactions)
            expected = sum(terms[term] for term in estimate.WITHIN_STEP)
            found[f"{name}, {batch_size}"] = round(compiled / 1e6, 1), round(expected / 1e6, 1)
            print(f"{name:<26}{batch_size:7,d}{compiled / 1e6:9.1f}{expected / 1e6:9.1f}{expected / compiled:6.2f}")
    common.report("step_memory", interactions, megabytes=found)


if __name__ == "__main__":
    app.run(main)
