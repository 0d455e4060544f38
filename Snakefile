# The whole pipeline: photographs → LR sets → training → evaluation → 8× upscaling.
#   snakemake --cores all results/sr_800
from snakemake.utils import min_version

min_version("9.5")

# --configfile replaces the documented experiment; omitted keys have the same values, which are the
# defaults in liif/config.py and liif/recipe.py.
DOCUMENTED = f"{workflow.current_basedir}/config/config.yaml"
if not workflow.overwrite_configfiles:

    configfile: DOCUMENTED


include: "workflow/rules/common.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/degrade.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/upscale.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        "results/sr_800",
