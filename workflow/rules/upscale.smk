# LR test pictures → upscaled ones, by every model and by bicubic; then side by side.


rule upscale:
    input:
        lr=lr_test,
        weights=weights,
    output:
        manifest="results/manifests/upscale/{model}/{bucket}.json",
    log:
        "results/logs/upscale/{model}/{bucket}.log",
    benchmark:
        "results/benchmarks/upscale/{model}/{bucket}.tsv"
    conda:
        "../envs/liif.yaml"
    threads: heavy_threads
    resources:
        slots=heavy_job,
        gpu=heavy_job,
    params:
        pictures=f"results/lr/test/x{SCALE}" if TRUTH_KNOWN else photographs("test"),
        only=lambda wildcards: f"--only {lr_test(wildcards)}" if TRUTH_KNOWN else "",
        weights=weights_option,
        version=lambda wildcards: version("test"),
        bucket=f"{{bucket}}/{EXPERIMENT.buckets}",
        scale=SCALE,
    shell:
        "liif upscale {params.pictures:q} --out results/upscaled/{wildcards.model}"
        " --scale {params.scale} --weights {params.weights} --name '{wildcards.model}: upscaling'"
        " --overwrite {params.only} --bucket {params.bucket} --manifest {output.manifest}"
        " --threads {threads} > {log} 2>&1"


rule sr_800:
    input:
        upscaled=expand(
            "results/manifests/upscale/{model}/{bucket}.json",
            model=EXPERIMENT.models,
            bucket=BUCKETS,
        ),
        table="results/metrics.csv",
        report="results/report.html",
        weights=expand("results/models/{model}.safetensors", model=EXPERIMENT.models),
    output:
        directory("results/sr_800"),
    log:
        "results/logs/sr_800.log",
    benchmark:
        "results/benchmarks/sr_800.tsv"
    localrule: True
    conda:
        "../envs/liif.yaml"
    params:
        manifests=expand("results/manifests/upscale/{model}", model=EXPERIMENT.models),
        buckets=EXPERIMENT.buckets,
    shell:
        "liif gather results/upscaled {params.manifests} --buckets {params.buckets}"
        " --out {output} > {log} 2>&1"
