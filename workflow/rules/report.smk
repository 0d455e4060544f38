# Pictures, metrics, histories and times → one page.


rule report:
    input:
        upscaled=expand(
            "results/manifests/upscale/{model}/{bucket}.json",
            model=UPSCALED,
            bucket=BUCKETS,
        ),
        table="results/metrics.csv",
        metrics=expand("results/metrics/{model}.json", model=measured()),
        weights=expand("results/models/{model}.safetensors", model=EXPERIMENT.models),
    output:
        page="results/report.html",
        # With the pictures inside, since a copy of the page would lose what it links to.
        embedded=report(
            "results/report-embedded.html",
            caption="../report/report.rst",
            category="Results",
            labels={"what": "pictures, numbers, and how they were made"},
        ),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    localrule: True
    conda:
        "../envs/liif.yaml"
    params:
        settings=EXPERIMENT.model_dump_json(by_alias=True, exclude_unset=True),
        data=lambda wildcards: sources(*shown()),
    shell:
        "liif report results --resolved {params.settings:q} {params.data}"
        ' --embed --snakefile "$SNAKEFILE" > {log} 2>&1'
