//! What the manual pages say besides what the definitions of commands and flags do. `docs/usage.md` says the same at length.

/// Something with a name, such as a variable.
pub struct Fact {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one paragraph.
    pub about: &'static str,
    /// The pages that it belongs to, besides the program's own; all of them where it is empty.
    pub pages: &'static [&'static str],
}

const fn fact(name: &'static str, about: &'static str, pages: &'static [&'static str]) -> Fact {
    Fact { name, about, pages }
}

/// What the program is to Docker.
pub const PLUGIN: &str = "As a plugin of Docker it is called docker artifact; all that is said here of docker-artifact holds for \
                          that as well. Docker's global flags (--config, --context, --host and others) stand before the command.";

const GET: &str = "docker-artifact-get";
const LABEL: &str = "docker-artifact-label";
const INDEX: &str = "docker-artifact-index";
const LS: &str = "docker-artifact-ls";
const BUILD: &str = "docker-artifact-build";
const COPY_BINARY: &str = "copy_binary";

/// What reaches a registry.
const REGISTRY: &[&str] = &[GET, LABEL, INDEX, LS, BUILD, COPY_BINARY];

/// What may ask the engine.
const ENGINE: &[&str] = &[GET, LABEL, LS, BUILD];

/// What looks for one platform where none is asked for.
const PLATFORM: &[&str] = &[GET, LS, COPY_BINARY];

/// What uses the cache.
const CACHE: &[&str] = &[
    GET,
    LABEL,
    INDEX,
    LS,
    BUILD,
    "docker-artifact-cache",
    "docker-artifact-cache-ls",
    "docker-artifact-cache-rm",
    "docker-artifact-cache-prune",
];

/// The exit codes.
pub const EXIT_CODES: &[Fact] = &[
    fact("0", "Done.", &[]),
    fact("1", "Failed: the network, the disk, something that is no image, or that cannot be fetched or labelled.", &[]),
    fact("2", "Wrong usage: a command line that makes no sense, or that names several things where one is meant.", &[]),
    fact("3", "Image, platform, artifact or path not found.", &[]),
    fact("4", "Authentication or permission refused, or a broken credential store.", &[]),
    fact("5", "Content did not match its digest; none of it was kept.", &[]),
    fact(
        "128 and more",
        "Stopped by the signal of that number less 128. 141: whoever read standard output went away.",
        &[],
    ),
    fact("any other", "That of the build.", &[BUILD]),
];

/// The variables.
pub const VARIABLES: &[Fact] = &[
    fact("DOCKER_CONFIG", "The folder of Docker's config.json, in place of ~/.docker.", REGISTRY),
    fact("DOCKER_AUTH_CONFIG", "Credentials, as the text of a config.json.", REGISTRY),
    fact("DOCKER_DEFAULT_PLATFORM", "The platform if --platform is not given.", PLATFORM),
    fact("HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "Proxies for registries.", REGISTRY),
    fact("SSL_CERT_FILE, SSL_CERT_DIR", "The system's certificates, if they are elsewhere.", REGISTRY),
    fact(
        "DOCKER_HOST, DOCKER_CONTEXT, DOCKER_TLS, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH",
        "Which engine is asked, and how, as for docker.",
        ENGINE,
    ),
    fact(
        "TMPDIR",
        "Where content is staged for \"-o -\", and where archives and exports are copied to.",
        &[GET, LABEL, LS],
    ),
    fact("DOCKER_ARTIFACT_CACHE", "The folder of the cache of this machine; \"off\" keeps nothing.", CACHE),
    fact("DOCKER_ARTIFACT_CACHE_SIZE", "How much of the cache stays, such as 500MB.", CACHE),
    fact(
        "DOCKER_ARTIFACT_COMPLETION_TIMEOUT",
        "How many seconds a shell may wait for what completes a word (default 2).",
        &["docker-artifact-completion"],
    ),
    fact("BUILDX_BUILDER, BUILDKIT_SYNTAX", "As in buildx.", &[BUILD]),
    fact("LS_COLORS, NO_COLOR", "Colours of names, and none.", &[LS]),
    fact("TERM", "\"dumb\" means no bars.", &[GET, LABEL, INDEX, LS, BUILD]),
];

/// The files.
pub const FILES: &[Fact] = &[
    fact(
        "~/.docker/config.json",
        "Credentials and credential helpers, as docker login writes them; the current context.",
        REGISTRY,
    ),
    fact(
        "~/.docker/certs.d/HOST, /etc/docker/certs.d/HOST",
        "Certificates of a registry, and what is shown to it, as for Docker.",
        REGISTRY,
    ),
    fact("~/.cache/docker-artifact", "The cache of this machine.", CACHE),
];
