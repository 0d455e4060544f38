# Model × set × scale → PSNR and SSIM; then one table.


# On validation photographs the model's output is measured before rounding to grey levels.
rule evaluate_valid:
    input:
        hr=ancient(photographs("valid")),
        manifest="results/manifests/degrade/valid/x{scale}/{bucket}.json",
        weights=weights,
    output:
        "results/work/metrics/{model}/valid/x{scale}/{bucket}.json",
    log:
        "results/logs/evaluate/{model}/valid/x{scale}/{bucket}.log",
    benchmark:
        "results/benchmarks/evaluate/{model}/valid/x{scale}/{bucket}.tsv"
    conda:
        "../envs/liif.yaml"
    threads: heavy_threads
    resources:
        slots=heavy_job,
        gpu=heavy_job,
    params:
        convention=CONVENTION,
        weights=weights_option,
        version=lambda wildcards: version("valid"),
    shell:
        "liif evaluate --hr {input.hr:q} --lr results/lr/valid/x{wildcards.scale}"
        " --weights {params.weights} --scale {wildcards.scale} {params.convention} --set valid"
        " --name {wildcards.model} --only {input.manifest} --json {output} --threads {threads}"
        " > {log} 2>&1"


# On test pictures the upscaled files are measured, as they are in results/sr_800.
rule evaluate_test:
    input:
        truth=f"results/manifests/degrade/test/x{SCALE}/{{bucket}}.json",
        manifest="results/manifests/upscale/{model}/{bucket}.json",
    output:
        f"results/work/metrics/{{model}}/test/x{SCALE}/{{bucket}}.json",
    log:
        "results/logs/evaluate/{model}/test/{bucket}.log",
    benchmark:
        "results/benchmarks/evaluate/{model}/test/{bucket}.tsv"
    conda:
        "../envs/liif.yaml"
    params:
        convention=CONVENTION,
        scale=SCALE,
    shell:
        "liif evaluate --hr results/hr/test/x{params.scale} --sr results/upscaled/{wildcards.model}"
        " --scale {params.scale} {params.convention} --set test --name {wildcards.model}"
        " --only {input.manifest} --json {output} > {log} 2>&1"


# On degraded pictures, too, the model's output is measured, and no upscaled files are kept.
rule evaluate_degraded:
    input:
        truth=truth,
        manifest="results/manifests/degrade/{set}/x{scale}/{bucket}.json",
        weights=weights,
    output:
        "results/work/metrics/{model}/{set}/x{scale}/{bucket}.json",
    log:
        "results/logs/evaluate/{model}/{set}/x{scale}/{bucket}.log",
    benchmark:
        "results/benchmarks/evaluate/{model}/{set}/x{scale}/{bucket}.tsv"
    wildcard_constraints:
        set="|".join(DEGRADED) or "(?!)",
    conda:
        "../envs/liif.yaml"
    threads: heavy_threads
    resources:
        slots=heavy_job,
        gpu=heavy_job,
    params:
        hr=lambda wildcards: (
            photographs("valid")
            if origin(wildcards) == "valid"
            else f"results/hr/test/x{SCALE}"
        ),
        convention=CONVENTION,
        weights=weights_option,
        version=lambda wildcards: version(origin(wildcards)),
    shell:
        "liif evaluate --hr {params.hr:q} --lr results/lr/{wildcards.set}/x{wildcards.scale}"
        " --weights {params.weights} --scale {wildcards.scale} {params.convention}"
        " --set {wildcards.set} --name {wildcards.model} --only {input.manifest} --json {output}"
        " --threads {threads} > {log} 2>&1"


rule table:
    input:
        parts(),
        weights=expand("results/models/{model}.safetensors", model=EXPERIMENT.models),
    output:
        metrics=expand("results/metrics/{model}.json", model=measured()),
        table=report(
            "results/metrics.csv",
            caption="../report/table.rst",
            category="Results",
            labels={"what": "PSNR and SSIM"},
        ),
        summary="results/metrics.json",
    log:
        "results/logs/table.log",
    benchmark:
        "results/benchmarks/table.tsv"
    localrule: True
    conda:
        "../envs/liif.yaml"
    params:
        # Folders, since the names of all buckets' files may exceed the length of a command.
        parts=sorted({os.path.dirname(part) for part in parts()}),
        buckets=EXPERIMENT.buckets,
        # A function, so that other jobs do not read the data for it.
        data=lambda wildcards: sources(*CLEAN),
        note=(
            ""
            if TRUTH_KNOWN
            else "--note 'The test pictures have no truth, so nothing is measured on them.'"
        ),
    shell:
        "liif table {params.parts} --buckets {params.buckets} --metrics results/metrics"
        " --csv {output.table} --summary {output.summary} {params.note} {params.data}"
        " > {log} 2>&1"
