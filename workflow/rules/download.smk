# DIV2K's archives; your own photographs are not downloaded.


# A target without output: snakemake --cores 1 download
rule download:
    input:
        archives(),


# The command itself retries, resumes, and then tries the next mirror.
rule download_archive:
    output:
        "data/{archive}.zip",
    log:
        "results/logs/download/{archive}.log",
    benchmark:
        "results/benchmarks/download/{archive}.tsv"
    wildcard_constraints:
        archive="DIV2K_(train|valid)_HR",
    # On a cluster only the login node has internet access.
    localrule: True
    conda:
        "../envs/liif.yaml"
    shell:
        "liif download {wildcards.archive} --to data --partial results/work/download"
        " > {log} 2>&1"
