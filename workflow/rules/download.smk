# DIV2K's archives; photographs of one's own are not downloaded.


# A target without output: snakemake --cores 1 download
rule download:
    input:
        archives(),


# The command itself tries again, goes on where it stopped, and then takes the next address.
rule download_archive:
    output:
        "data/{archive}.zip",
    log:
        "results/logs/download/{archive}.log",
    benchmark:
        "results/benchmarks/download/{archive}.tsv"
    wildcard_constraints:
        archive="DIV2K_(train|valid)_HR",
    # On a cluster it is the login node that has a network.
    localrule: True
    conda:
        "../envs/liif.yaml"
    shell:
        "liif download {wildcards.archive} --to data --partial results/work/download"
        " 2>&1 | logged {log}"
