# HR photographs → LR sets by MATLAB's bicubic imresize, clean or degraded, with a manifest.


rule degrade:
    input:
        photographs=lambda wildcards: ancient(photographs(origin(wildcards))),
    output:
        manifest="results/manifests/degrade/{set}/x{scale}/{bucket}.json",
    log:
        "results/logs/degrade/{set}/x{scale}/{bucket}.log",
    benchmark:
        "results/benchmarks/degrade/{set}/x{scale}/{bucket}.tsv"
    conda:
        "../envs/liif.yaml"
    params:
        version=lambda wildcards: version(origin(wildcards)),
        options=degrade_options,
        bucket=f"{{bucket}}/{EXPERIMENT.buckets}",
    shell:
        "liif degrade {input.photographs:q} --out results/lr/{wildcards.set}/x{wildcards.scale}"
        " --scale {wildcards.scale} {params.options} --bucket {params.bucket}"
        " --manifest {output.manifest} > {log} 2>&1"
