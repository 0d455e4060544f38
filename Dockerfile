# Enlarges pictures on a CPU: docs/install.md.
FROM python:3.11-slim
# The index of PyTorch's CPU build. Without it, pip takes the CUDA build, which is 2.5 GB larger.
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt ".[app]"
USER 1000:1000
WORKDIR /pictures
ENTRYPOINT ["liif"]
CMD ["--help"]
