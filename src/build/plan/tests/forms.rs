//! `COPY --from` as it is written in the world: the patterns that the documentation of well-known images shows, and common ones of
//! multi-stage builds, each with what is planned of it.

use super::{check, check_with, for_platforms, refuses, request, with};

#[test]
fn uv_two_programs_of_a_distroless_image() {
    check(
        r#"# syntax=docker/dockerfile:1
FROM python:3.12-slim-bookworm
COPY --from=ghcr.io/astral-sh/uv:0.5.5 /uv /uvx /bin/
WORKDIR /app
RUN --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,source=uv.lock,target=uv.lock \
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \
    uv sync --frozen --no-install-project
COPY . /app
ENV PATH="/app/.venv/bin:$PATH"
"#,
        &["ghcr.io/astral-sh/uv:0.5.5 (ghcr.io/astral-sh/uv:0.5.5) for linux/amd64: \
           3 COPY --from=ghcr.io/astral-sh/uv:0.5.5 /uv /uvx"],
    );
}

#[test]
fn uv_pinned_by_digest_and_mounted() {
    let digest = "sha256:2381d6aa60c326b71fd40023f921a0a3b8f91b14d5db6b90402e65a635053709";
    check(
        &format!(
            "FROM debian:bookworm-slim\nRUN --mount=from=ghcr.io/astral-sh/uv:latest@{digest},source=/uv,target=/bin/uv \\\n    uv pip install --system ruff\n"
        ),
        &[&format!(
            "ghcr.io/astral-sh/uv:latest@{digest} (ghcr.io/astral-sh/uv:latest@{digest}) for linux/amd64: \
             2 RUN --mount=from=ghcr.io/astral-sh/uv:latest@{digest} /uv"
        )],
    );
}

#[test]
fn golangci_lint_as_a_stage_with_a_version() {
    check(
        r#"ARG GO_VERSION=1.23
ARG GOLANGCI_LINT_VERSION=v1.61.0

FROM golangci/golangci-lint:${GOLANGCI_LINT_VERSION}-alpine AS golangci-lint

FROM golang:${GO_VERSION}-alpine AS lint
COPY --from=golangci-lint /usr/bin/golangci-lint /usr/bin/golangci-lint
WORKDIR /src
RUN --mount=type=bind,target=. \
    --mount=type=cache,target=/var/cache \
    golangci-lint run ./...
"#,
        &["golangci-lint (golangci/golangci-lint:v1.61.0-alpine) for linux/amd64: \
           7 COPY --from=golangci-lint /usr/bin/golangci-lint"],
    );
}

#[test]
fn tini_and_a_server_of_the_build() {
    check(
        r#"FROM rust:1.82 AS build
WORKDIR /src
COPY . .
RUN cargo build --release

FROM krallin/ubuntu-tini:latest AS tini
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=tini --chmod=0755 /usr/local/bin/tini /tini
COPY --from=build --chown=nonroot:nonroot /src/target/release/server /server
ENTRYPOINT ["/tini", "--", "/server"]
"#,
        &["tini (krallin/ubuntu-tini:latest) for linux/amd64: 8 COPY --from=tini /usr/local/bin/tini"],
    );
}

#[test]
fn cosign_by_an_argument_in_a_stage() {
    check_with(
        &with(|request| request.arguments = [("COSIGN_VERSION".to_owned(), "v2.4.1".to_owned())].into()),
        r#"ARG COSIGN_VERSION
FROM ghcr.io/sigstore/cosign/cosign:${COSIGN_VERSION:-v2.0.0} AS cosign-bin
FROM cgr.dev/chainguard/wolfi-base
COPY --from=cosign-bin /ko-app/cosign /usr/local/bin/cosign
"#,
        &[
            "cosign-bin (ghcr.io/sigstore/cosign/cosign:v2.4.1) for linux/amd64: 4 COPY --from=cosign-bin /ko-app/cosign",
        ],
    );
}

#[test]
fn kubectl_helm_and_kustomize_side_by_side() {
    check(
        r#"FROM alpine:3.20
COPY --from=docker.io/bitnami/kubectl:1.31 /opt/bitnami/kubectl/bin/kubectl /usr/local/bin/
COPY --from=alpine/helm:3.16.2 /usr/bin/helm /usr/local/bin/
COPY --from=registry.k8s.io/kustomize/kustomize:v5.4.2 /app/kustomize /usr/local/bin/kustomize
"#,
        &[
            "bitnami/kubectl:1.31 (docker.io/bitnami/kubectl:1.31) for linux/amd64: \
             2 COPY --from=docker.io/bitnami/kubectl:1.31 /opt/bitnami/kubectl/bin/kubectl",
            "alpine/helm:3.16.2 (alpine/helm:3.16.2) for linux/amd64: 3 COPY --from=alpine/helm:3.16.2 /usr/bin/helm",
            "registry.k8s.io/kustomize/kustomize:v5.4.2 (registry.k8s.io/kustomize/kustomize:v5.4.2) for linux/amd64: \
             4 COPY --from=registry.k8s.io/kustomize/kustomize:v5.4.2 /app/kustomize",
        ],
    );
}

#[test]
fn node_for_an_image_of_another_language() {
    check(
        r#"FROM ruby:3.3-slim AS base
COPY --from=node:22-slim /usr/local/bin/node /usr/local/bin/
COPY --from=node:22-slim /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
FROM base AS final
COPY . /rails
"#,
        &["node:22-slim (node:22-slim) for linux/amd64: 2 COPY --from=node:22-slim /usr/local/bin/node \
           3 COPY --from=node:22-slim /usr/local/lib/node_modules"],
    );
}

#[test]
fn distroless_base_with_libraries_by_patterns() {
    check(
        r#"FROM debian:12-slim AS deps
FROM gcr.io/distroless/base-debian12
COPY --from=deps /lib/*-linux-gnu/libz.so.1* /lib/
COPY --from=deps ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/"]
"#,
        &["deps (debian:12-slim) for linux/amd64: 3 COPY --from=deps ~/lib/*-linux-gnu/libz.so.1* \
           4 COPY --from=deps /etc/ssl/certs/ca-certificates.crt"],
    );
}

#[test]
fn certificates_of_the_image_that_the_build_runs_in() {
    check(
        r#"FROM golang:1.23-alpine AS build
RUN apk add --no-cache ca-certificates
COPY . .
RUN go build -o /app .
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /app /app
COPY --from=golang:1.23-alpine /usr/local/go/lib/time/zoneinfo.zip /
"#,
        &["golang:1.23-alpine: line 1 is the base of a stage that adds files"],
    );
}

#[test]
fn cross_compiling_with_xx_on_the_builders_platform() {
    let text = r#"# syntax=docker/dockerfile:1
ARG XX_VERSION=1.5.0
FROM --platform=$BUILDPLATFORM tonistiigi/xx:${XX_VERSION} AS xx
FROM --platform=$BUILDPLATFORM golang:1.23-alpine AS build
COPY --from=xx / /
ARG TARGETPLATFORM
RUN --mount=target=. xx-go build -o /out/app . && xx-verify /out/app
FROM --platform=${BUILDPLATFORM} moby/buildkit:v0.17 AS buildkit
FROM alpine
COPY --from=build /out/app /usr/bin/
COPY --from=buildkit /usr/bin/buildctl /usr/bin/host-buildctl
COPY --from=tonistiigi/binfmt:latest /usr/bin/binfmt /usr/bin/
"#;
    check_with(
        &for_platforms(&["linux/amd64", "linux/arm64", "linux/arm/v7"]),
        text,
        &[
            "buildkit (moby/buildkit:v0.17) for linux/amd64: 11 COPY --from=buildkit /usr/bin/buildctl",
            "tonistiigi/binfmt (tonistiigi/binfmt:latest) for linux/amd64, linux/arm64, linux/arm/v7: \
         12 COPY --from=tonistiigi/binfmt:latest /usr/bin/binfmt",
            "xx: line 5 is copied as a whole",
        ],
    );
}

#[test]
fn composer_in_a_php_image() {
    check(
        r#"FROM php:8.3-fpm-alpine
COPY --from=composer:2 /usr/bin/composer /usr/bin/composer
COPY --from=mlocati/php-extension-installer /usr/bin/install-php-extensions /usr/local/bin/
COPY --chown=www-data:www-data . .
RUN install-php-extensions intl && composer install
"#,
        &[
            "composer:2 (composer:2) for linux/amd64: 2 COPY --from=composer:2 /usr/bin/composer",
            "mlocati/php-extension-installer (mlocati/php-extension-installer) for linux/amd64: \
             3 COPY --from=mlocati/php-extension-installer /usr/bin/install-php-extensions",
        ],
    );
}

#[test]
fn a_static_busybox_for_a_distroless_image() {
    check(
        "FROM gcr.io/distroless/static\nCOPY --from=busybox:1.37-uclibc /bin/sh /bin/sh\nCOPY --from=busybox:1.37-uclibc /bin/ /busybox/\n",
        &["busybox:1.37-uclibc (busybox:1.37-uclibc) for linux/amd64: \
           2 COPY --from=busybox:1.37-uclibc /bin/sh 3 COPY --from=busybox:1.37-uclibc /bin"],
    );
}

#[test]
fn the_lambda_web_adapter_and_insights() {
    check(
        r#"FROM public.ecr.aws/docker/library/python:3.12-slim
COPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:0.8.4 /lambda-adapter /opt/extensions/lambda-adapter
COPY --from=public.ecr.aws/datadog/lambda-extension:latest /opt/. /opt/
ENV PORT=8000
CMD exec uvicorn main:app
"#,
        &[
            "public.ecr.aws/awsguru/aws-lambda-adapter:0.8.4 (public.ecr.aws/awsguru/aws-lambda-adapter:0.8.4) for linux/amd64: \
             2 COPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:0.8.4 /lambda-adapter",
            "public.ecr.aws/datadog/lambda-extension (public.ecr.aws/datadog/lambda-extension:latest) for linux/amd64: \
             3 COPY --from=public.ecr.aws/datadog/lambda-extension:latest /opt",
        ],
    );
}

#[test]
fn the_docker_cli_and_its_plugins() {
    check(
        r#"FROM jenkins/agent:jdk17
USER root
COPY --from=docker:27-cli /usr/local/bin/docker /usr/local/bin/
COPY --from=docker/buildx-bin:latest /buildx /usr/libexec/docker/cli-plugins/docker-buildx
COPY --from=docker/compose-bin:v2.30.0 /docker-compose /usr/libexec/docker/cli-plugins/docker-compose
USER jenkins
"#,
        &[
            "docker:27-cli (docker:27-cli) for linux/amd64: 3 COPY --from=docker:27-cli /usr/local/bin/docker",
            "docker/buildx-bin (docker/buildx-bin:latest) for linux/amd64: 4 COPY --from=docker/buildx-bin:latest /buildx",
            "docker/compose-bin:v2.30.0 (docker/compose-bin:v2.30.0) for linux/amd64: \
             5 COPY --from=docker/compose-bin:v2.30.0 /docker-compose",
        ],
    );
}

#[test]
fn trivy_scanning_what_was_built() {
    check(
        r#"FROM alpine:3.20 AS app
RUN apk add --no-cache curl
FROM app AS scan
COPY --from=aquasec/trivy:0.57.0 /usr/local/bin/trivy /usr/local/bin/trivy
COPY --from=aquasec/trivy:0.57.0 /contrib/*.tpl /contrib/
RUN trivy rootfs --exit-code 1 /
FROM app
"#,
        &[],
    );
}

#[test]
fn hadolint_and_shellcheck_for_a_linting_target() {
    let text = r#"FROM hadolint/hadolint:v2.12.0 AS hadolint
FROM koalaman/shellcheck:stable AS shellcheck
FROM python:3.12 AS lint
COPY --from=hadolint /bin/hadolint /bin/shellcheck-is-not-here* /usr/bin/
COPY --link --from=shellcheck /bin/shellcheck /usr/bin/
RUN <<EOF
set -e
hadolint Dockerfile
EOF
FROM python:3.12-slim
COPY . .
"#;
    check(text, &[]);
    check_with(
        &with(|request| request.target = Some("lint".to_owned())),
        text,
        &[
            "hadolint (hadolint/hadolint:v2.12.0) for linux/amd64: 4 COPY --from=hadolint /bin/hadolint ~/bin/shellcheck-is-not-here*",
            "shellcheck (koalaman/shellcheck:stable) for linux/amd64: 5 COPY --from=shellcheck /bin/shellcheck",
        ],
    );
}

#[test]
fn jq_and_yq_in_one_instruction_over_many_lines() {
    check(
        r#"FROM debian:stable-slim
# Tools for scripts.
COPY --from=ghcr.io/jqlang/jq:1.7.1 \
     # the program alone
     /jq \
     /usr/local/bin/
COPY --from=mikefarah/yq:4 \
     \
     usr/bin/yq /usr/local/bin/yq
RUN jq --version && cat > /x <<'EOF' && yq --version
COPY --from=nowhere / /
EOF
"#,
        &[
            "ghcr.io/jqlang/jq:1.7.1 (ghcr.io/jqlang/jq:1.7.1) for linux/amd64: 3 COPY --from=ghcr.io/jqlang/jq:1.7.1 /jq",
            "mikefarah/yq:4 (mikefarah/yq:4) for linux/amd64: 7 COPY --from=mikefarah/yq:4 /usr/bin/yq",
        ],
    );
}

#[test]
fn the_caddy_builder_is_built() {
    check(
        r#"FROM caddy:2.8-builder AS builder
RUN xcaddy build --with github.com/caddy-dns/cloudflare
FROM caddy:2.8
COPY --from=builder /usr/bin/caddy /usr/bin/caddy
"#,
        &[],
    );
}

#[test]
fn cargo_chef_and_a_tool_for_it() {
    check(
        r#"FROM lukemathwalker/cargo-chef:latest-rust-1 AS chef
WORKDIR /app
FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json
FROM chef AS builder
COPY --from=ghcr.io/rui314/mold:2 /usr/local/bin/mold /usr/bin/mold
COPY --from=planner /app/recipe.json recipe.json
RUN cargo chef cook --release --recipe-path recipe.json
COPY . .
RUN cargo build --release --bin app
FROM debian:bookworm-slim AS runtime
WORKDIR /app
COPY --from=builder /app/target/release/app /usr/local/bin
ENTRYPOINT ["/usr/local/bin/app"]
"#,
        &["ghcr.io/rui314/mold:2 (ghcr.io/rui314/mold:2) for linux/amd64: \
           7 COPY --from=ghcr.io/rui314/mold:2 /usr/local/bin/mold"],
    );
}

#[test]
fn bun_and_deno_as_stages_of_their_own() {
    check(
        r#"FROM oven/bun:1-distroless AS bun
FROM denoland/deno:bin-2.0.6 AS deno
FROM node:22-bookworm-slim AS dev
COPY --from=bun --link /usr/local/bin/bun /usr/local/bin/
COPY --from=deno --link /deno /usr/local/bin/
"#,
        &[
            "bun (oven/bun:1-distroless) for linux/amd64: 4 COPY --from=bun /usr/local/bin/bun",
            "deno (denoland/deno:bin-2.0.6) for linux/amd64: 5 COPY --from=deno /deno",
        ],
    );
}

#[test]
fn the_otel_collector_and_its_config() {
    check(
        r#"ARG OTEL=0.112.0
FROM otel/opentelemetry-collector-contrib:$OTEL AS otel
USER 10001
FROM alpine:3
ARG USER_UID=10001
USER ${USER_UID}
COPY --from=otel --chown=${USER_UID} /otelcol-contrib /
COPY --from=otel /etc/otelcol-contrib/config.yaml /etc/otelcol/
"#,
        &["otel (otel/opentelemetry-collector-contrib:0.112.0) for linux/amd64: \
           7 COPY --from=otel /otelcol-contrib with an owner 8 COPY --from=otel /etc/otelcol-contrib/config.yaml"],
    );
}

#[test]
fn grpc_health_probe_in_a_scratch_image_by_number() {
    check(
        r#"from ghcr.io/grpc-ecosystem/grpc-health-probe:v0.4.35
FROM golang:1.23 as build
run go build -o /server ./cmd/server
from scratch
copy --from=0 /ko-app/grpc-health-probe /bin/grpc_health_probe
copy --from=1 /server /server
"#,
        &[
            "ghcr.io/grpc-ecosystem/grpc-health-probe:v0.4.35 (ghcr.io/grpc-ecosystem/grpc-health-probe:v0.4.35) for linux/amd64: \
           5 COPY --from=0 /ko-app/grpc-health-probe",
        ],
    );
}

#[test]
fn a_java_runtime_by_a_variable_of_its_image() {
    // What JAVA_HOME is only the image says, unless the Dockerfile does.
    let text = r#"FROM eclipse-temurin:21-jre AS jre
FROM debian:bookworm-slim
COPY --from=jre $JAVA_HOME /opt/java
"#;
    check(
        text,
        &["jre: line 3 is copied from by a path with the variable JAVA_HOME, whose value is not in the Dockerfile"],
    );
    check(
        &text.replace("slim\n", "slim\nENV JAVA_HOME=/opt/java/openjdk\n"),
        &["jre (eclipse-temurin:21-jre) for linux/amd64: 4 COPY --from=jre /opt/java/openjdk"],
    );
}

#[test]
fn a_program_for_each_architecture_by_a_variable() {
    check_with(
        &for_platforms(&["linux/arm64"]),
        "FROM restic/restic:0.17.3 AS restic\nFROM alpine\nARG TARGETOS TARGETARCH\nCOPY --from=restic /bin/$TARGETOS-$TARGETARCH/restic /bin/\n",
        &["restic (restic/restic:0.17.3) for linux/arm64: 4 COPY --from=restic /bin/linux-arm64/restic"],
    );
}

#[test]
fn a_variable_for_the_image_is_refused_as_buildkit_does() {
    refuses(
        &request(),
        "FROM alpine\nARG S6=v3.2\nCOPY --from=ghcr.io/just-containers/s6-overlay:${S6} /x /x\n",
        "line 3 of the Dockerfile copies from an image that a variable names",
    );
}

#[test]
fn a_dockerfile_with_a_backquote_and_line_ends_of_windows() {
    check(
        "# escape=`\nFROM mcr.microsoft.com/dotnet/aspnet:8.0\r\nCOPY --from=mcr.microsoft.com/dotnet/monitor:8 `\r\n  /app/ `\r\n  /monitor/\r\nRUN echo C:\\\r\n",
        &["mcr.microsoft.com/dotnet/monitor:8 (mcr.microsoft.com/dotnet/monitor:8) for linux/amd64: \
           3 COPY --from=mcr.microsoft.com/dotnet/monitor:8 /app"],
    );
}
