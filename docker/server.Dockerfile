# API, page and controller. No torch: the common language and the server need none.
FROM node:22-slim AS page
WORKDIR /app/frontend
COPY frontend/package.json frontend/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY frontend ./
RUN npm run build

FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md alembic.ini ./
COPY tunescope tunescope
COPY backend backend
COPY alembic alembic
RUN pip install --no-cache-dir -c constraints.txt -e '.[server]'
COPY --from=page /app/frontend/dist frontend/dist
EXPOSE 8000
CMD ["tunescope", "api", "--host", "0.0.0.0"]
