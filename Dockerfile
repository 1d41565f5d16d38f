# The service as an image: locked, hashed dependencies in one stage, nothing but them and the package in the other.
FROM python:3.13.9-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock pyproject.toml hatch_build.py README.md LICENSE ./
COPY market market
COPY gateway gateway
RUN python -m venv /opt/debt-market \
    && /opt/debt-market/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /opt/debt-market/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13.9-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/debt-market --create-home market
COPY --from=build /opt/debt-market /opt/debt-market
ENV PATH=/opt/debt-market/bin:$PATH PYTHONUNBUFFERED=1
USER market
WORKDIR /var/lib/debt-market
EXPOSE 8080
ENTRYPOINT ["debt-market"]
CMD ["serve"]
