# Photographs → weights; or given weights in our format.


rule pack:
    input:
        photographs=lambda wildcards: ancient(photographs(wildcards.part)),
    output:
        "results/work/{part}.pack",
    log:
        "results/logs/pack/{part}.log",
    benchmark:
        "results/benchmarks/pack/{part}.tsv"
    conda:
        "../envs/liif.yaml"
    params:
        version=lambda wildcards: version(wildcards.part),
    shell:
        "liif pack {input.photographs:q} {output:q} > {log} 2>&1"


# The state and finished trainings are no rule's outputs, which Snakemake deletes when a job fails and
# before it starts.
rule train:
    input:
        data="results/work/train.pack",
        valid="results/work/valid.pack",
        weights=training_weights,
    output:
        weights="results/models/{model}.safetensors",
        best="results/models/{model}.best.safetensors",
        history="results/models/{model}.history.csv",
        run="results/models/{model}.run.json",
    log:
        "results/logs/train/{model}.log",
    benchmark:
        "results/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model="|".join(EXPERIMENT.trained) or "(?!)",
    # The longest jobs start first, and short ones fill in.
    priority: 1
    conda:
        "../envs/liif.yaml"
    threads: training_threads
    resources:
        slots=1,
        gpu=training_gpus,
    params:
        settings=settings,
        version=lambda wildcards: version("train"),
    shell:
        "liif train --name {wildcards.model} --settings {params.settings:q} --data {input.data}"
        " --valid {input.valid} --out {output.weights} --state results/state/{wildcards.model}"
        " --store results/trained --threads {threads} --processes {resources.gpu}"
        " > {log} 2>&1"


# Weights to start from or to learn from, as they are.
rule download_weights:
    output:
        "results/work/weights/{sha256}",
    log:
        "results/logs/download/{sha256}.log",
    benchmark:
        "results/benchmarks/download/{sha256}.tsv"
    wildcard_constraints:
        sha256="[0-9a-f]{64}",
    # On a cluster only the login node has internet access.
    localrule: True
    conda:
        "../envs/liif.yaml"
    params:
        url=url,
    shell:
        "liif weights fetch {params.url:q} --sha256 {wildcards.sha256} --out {output}"
        " --partial results/work/download > {log} 2>&1"


rule import_weights:
    input:
        given_file,
    output:
        "results/models/{model}.safetensors",
    log:
        "results/logs/import/{model}.log",
    benchmark:
        "results/benchmarks/import/{model}.tsv"
    wildcard_constraints:
        model="|".join(EXPERIMENT.given) or "(?!)",
    localrule: True
    conda:
        "../envs/liif.yaml"
    params:
        weights=given,
    shell:
        "liif import {params.weights} {output:q} --partial results/work/download > {log} 2>&1"
