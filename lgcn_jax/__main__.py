"""`python -m lgcn_jax COMMAND --flag=value ...`"""

from lgcn_jax.cli import run

if __name__ == "__main__":
    run()
