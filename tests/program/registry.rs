//! Registries as they are: references, platforms, credentials, certificates, redirects and proxies.

use crate::support::registry::Logged;
use crate::support::*;
use base64::Engine as _;
use serde_json::json;

fn tool(content: &str) -> Image {
    Image::new().layer([file("bin/tool", content)])
}

fn basic(user: &str, password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

/// What `get` writes to standard output for `/bin/tool` of `reference`.
#[track_caller]
fn content(dir: &WorkDir, reference: &str) -> String {
    artifact(&["get", reference, "/bin/tool", "-o", "-"]).run_in(dir).exits(0).out()
}

// References

#[test]
fn a_tag_a_digest_and_both_name_an_image() {
    let registry = Registry::start();
    let dir = WorkDir::new();
    let host = registry.host();
    let old = tool("old").pack();
    registry.push("team/app:latest", &old);
    registry.push("team/app:2", &tool("new"));
    assert_eq!(content(&dir, &format!("{host}/team/app")), "old");
    assert_eq!(content(&dir, &format!("{host}/team/app:2")), "new");
    assert_eq!(content(&dir, &format!("{host}/team/app@{}", old.digest())), "old");
    // As in docker pull, the digest decides.
    assert_eq!(content(&dir, &format!("{host}/team/app:2@{}", old.digest())), "old");
    assert_eq!(content(&dir, &format!("registry://{host}/team/app:2")), "new");
}

#[test]
fn an_image_that_is_not_there_is_exit_code_3_and_names_it() {
    let registry = Registry::start();
    registry.push("team/app:1", &tool("x"));
    for name in ["team/app:9", "team/none:1"] {
        let reference = format!("{}/{name}", registry.host());
        artifact(&["get", &reference, "/bin/tool"]).run().exits(3).says(&reference);
    }
}

#[test]
fn what_is_no_reference_is_wrong_usage() {
    for text in ["", "team/UPPER", "a b", "https://registry.example/app", "app@sha256:123", "app:"] {
        let run = artifact(&["get", text, "/bin/tool"]).run().exits(2);
        assert!(run.stderr.contains(text), "{text:?}: {}", run.stderr);
    }
}

#[test]
fn a_digest_that_was_not_copied_whole_is_told_from_a_wrong_reference() {
    for (digest, expected) in
        [("sha256:abc", "has 64 hexadecimal digits"), ("sha512:abc", "has 128 hexadecimal digits")]
    {
        artifact(&["get", &format!("team/app@{digest}"), "/bin/tool"]).run().exits(2).says(expected);
    }
}

// Manifests and platforms

#[test]
fn docker_schema_2_and_manifest_lists_are_read() {
    let registry = Registry::start();
    let image = tool("docker").docker();
    let dir = WorkDir::new();
    assert_eq!(content(&dir, &registry.push("team/app:1", &image)), "docker");
    assert_eq!(content(&dir, &registry.push("team/app:2", &Index::new().docker().image(&image))), "docker");
}

#[test]
fn the_platform_option_chooses_from_an_index() {
    let registry = Registry::start();
    let index = Index::new()
        .image(&tool("intel").platform("linux/amd64"))
        .attestation()
        .image(&tool("arm").platform("linux/arm64"))
        .image(&tool("v6").platform("linux/arm/v6"))
        .image(&tool("v7").platform("linux/arm/v7"));
    let reference = registry.push("team/app:1", &index);
    for (platform, expected) in
        [("linux/amd64", "intel"), ("linux/arm64", "arm"), ("linux/arm/v6", "v6"), ("linux/arm/v7", "v7")]
    {
        let run = artifact(&["get", "--platform", platform, &reference, "/bin/tool", "-o", "-"]).run().exits(0);
        assert_eq!(run.out(), expected);
    }
    let run = artifact(&["get", "--platform", "windows/amd64", &reference, "/bin/tool"]).run().exits(3);
    let run = ["linux/amd64", "linux/arm64", "linux/arm/v6"].iter().fold(run, |run, platform| run.says(platform));
    run.never_says("unknown");
}

#[test]
fn without_the_option_it_is_this_machines_platform() {
    let registry = Registry::start();
    let reference =
        registry.push("team/app:1", &Index::new().image(&tool("other").platform("plan9/mips")).image(&tool("ours")));
    assert_eq!(content(&WorkDir::new(), &reference), "ours");
}

#[test]
fn an_index_may_lie_in_an_index() {
    let registry = Registry::start();
    let inner = Index::new().image(&tool("inner"));
    let reference = registry.push("team/app:1", &Index::new().unspecified(&inner));
    assert_eq!(content(&WorkDir::new(), &reference), "inner");
    let other = Index::new().image(&tool("other").platform("plan9/mips"));
    let reference = registry.push("team/app:2", &Index::new().unspecified(&other).unspecified(&inner));
    assert_eq!(content(&WorkDir::new(), &reference), "inner");
}

#[test]
fn an_image_that_an_index_lists_without_a_platform_is_known_by_its_config() {
    let registry = Registry::start();
    let index = Index::new().unspecified(&tool("v6").platform("linux/arm/v6")).unspecified(&tool("ours"));
    let reference = registry.push("team/app:1", &index);
    assert_eq!(content(&WorkDir::new(), &reference), "ours");
    let run = artifact(&["get", "--platform", "linux/arm/v6", &reference, "/bin/tool", "-o", "-"]).run().exits(0);
    assert_eq!(run.out(), "v6");
}

#[test]
fn indexes_without_end_are_given_up() {
    let registry = Registry::start();
    let mut index = Index::new().image(&tool("deep"));
    for _ in 0..10 {
        index = Index::new().unspecified(&index);
    }
    let reference = registry.push("team/app:1", &index);
    artifact(&["get", &reference, "/bin/tool"]).run().exits(1).says("deep");
}

#[test]
fn what_is_no_image_is_named_for_what_it_is() {
    let registry = Registry::start();
    let chart = Image::new().config_media_type("application/vnd.cncf.helm.config.v1+json");
    let reference = registry.push("charts/app:1", &chart);
    artifact(&["get", &reference, "/bin/tool"]).run().exits(1).says("Helm chart");
    let schema1 = r#"{"schemaVersion":1,"name":"a","tag":"1","fsLayers":[],"history":[],"signatures":[]}"#;
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let reference = registry.push("old/app:1", &OtherManifest(media_type, schema1));
    artifact(&["get", &reference, "/bin/tool"]).run().exits(1).says("schema 1");
}

#[test]
fn other_layers_than_foreign_ones_come_from_the_registry_alone() {
    let elsewhere = Registry::start();
    let layer = Layer::new([file("bin/tool", "planted")]).media_type("application/vnd.oci.image.layer.v1.tar+gzip");
    let stored = Image::new().layer(layer.clone()).pack();
    elsewhere.push("planted/layers:1", &stored);
    let digest = stored.layers[0].digest();
    let url = format!("http://{}/v2/planted/layers/blobs/{digest}", elsewhere.host());
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer(layer.foreign(&url)));
    registry.lose(&digest);
    artifact(&["get", &reference, "/bin/tool"]).run().exits(3).says(&digest);
    assert!(elsewhere.log().is_empty());
}

#[test]
fn a_foreign_layer_comes_from_its_url() {
    let elsewhere = Registry::start();
    let layer = Layer::new([file("bin/tool", "foreign")]);
    let stored = Image::new().layer(layer.clone()).pack();
    elsewhere.push("foreign/layers:1", &stored);
    let digest = stored.layers[0].digest();
    let url = format!("http://{}/v2/foreign/layers/blobs/{digest}", elsewhere.host());
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &Image::new().layer(layer.foreign(&url)));
    registry.lose(&digest);
    assert_eq!(content(&WorkDir::new(), &reference), "foreign");
    assert_eq!(elsewhere.count("GET", &digest), 1);
}

// Plain HTTP and TLS

#[test]
fn a_registry_with_an_unknown_certificate_is_refused() {
    let registry = Registry::options().tls().start();
    let reference = registry.push("team/app:1", &tool("x"));
    let dir = WorkDir::new();
    let run = artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(1).says("certificate");
    let folder = format!("certs.d/{}/ca.crt", registry.host());
    run.says(&format!("{}/{folder} or /etc/docker/{folder}", dir.home(".docker").display()));
    assert!(registry.log().is_empty());
}

#[test]
fn insecure_takes_any_certificate() {
    let registry = Registry::options().tls().start();
    let reference = registry.push("team/app:1", &tool("x"));
    artifact(&["get", "--insecure", &reference, "/bin/tool"]).run().exits(0);
}

#[test]
fn a_private_authority_is_trusted_where_docker_looks_for_it() {
    let registry = Registry::options().tls().start();
    let reference = registry.push("team/app:1", &tool("private"));
    let dir = WorkDir::new();
    let folder = format!(".docker/certs.d/{}", registry.host());
    dir.write_home(&format!("{folder}/ca.crt"), &registry.certificates.authority);
    assert_eq!(content(&dir, &reference), "private");
}

#[test]
fn a_client_certificate_is_shown_to_the_registry_that_asks_for_it() {
    let registry = Registry::options().client_certificate().start();
    let reference = registry.push("team/app:1", &tool("mutual"));
    let dir = WorkDir::new();
    let folder = format!(".docker/certs.d/{}", registry.host());
    dir.write_home(&format!("{folder}/ca.crt"), &registry.certificates.authority);
    artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(1).says("it asks for a client certificate");
    dir.write_home(&format!("{folder}/client.cert"), &registry.certificates.client);
    dir.write_home(&format!("{folder}/client.key"), &registry.certificates.client_key);
    assert_eq!(content(&dir, &reference), "mutual");
}

// Credentials

/// A registry that takes `ann` with `Ann's password`, by tokens or by Basic, and an image in it.
fn guarded(by_tokens: bool) -> (Registry, String) {
    let options = Registry::options();
    let registry = if by_tokens { options.account("ann", SECRET) } else { options.basic("ann", SECRET) }.start();
    let reference = registry.push("team/app:1", &tool("guarded"));
    (registry, reference)
}

const SECRET: &str = "s3cret:with/odd#letters";

#[test]
fn a_login_of_the_docker_config_opens_registries_of_either_kind() {
    for by_tokens in [true, false] {
        let (registry, reference) = guarded(by_tokens);
        let host = registry.host();
        let entry = json!({"auth": basic("ann", SECRET)});
        let fields = json!({"username": "ann", "password": SECRET});
        for auths in [
            json!({&host: entry}),
            json!({&host: fields}),
            json!({format!("https://{host}"): entry}),
            json!({format!("http://{host}/v2/"): entry}),
        ] {
            let dir = WorkDir::new();
            dir.docker_config(&json!({"auths": auths}));
            assert_eq!(content(&dir, &reference), "guarded", "{auths}");
        }
    }
}

#[test]
fn the_config_is_found_where_the_docker_cli_finds_it() {
    let (registry, reference) = guarded(true);
    let config = json!({"auths": {registry.host(): {"auth": basic("ann", SECRET)}}}).to_string();
    let dir = WorkDir::new();
    dir.write_home("elsewhere/config.json", &config);
    let elsewhere = dir.home("elsewhere");
    let get = ["get", reference.as_str(), "/bin/tool"];
    artifact(&get).env("DOCKER_CONFIG", &elsewhere).run_in(&dir).exits(0);
    artifact(&["--config", elsewhere.to_str().unwrap()]).args(&get).run_in(&dir).exits(0);
    artifact(&get).env("DOCKER_AUTH_CONFIG", &config).run_in(&dir).exits(0);
    artifact(&get).run_in(&dir).exits(4);
}

#[test]
fn credential_helpers_are_asked_for_their_registries() {
    let (registry, reference) = guarded(true);
    let host = registry.host();
    for config in [json!({"credHelpers": {&host: "vault"}}), json!({"credsStore": "vault"})] {
        let dir = WorkDir::new();
        let answer = json!({"ServerURL": host, "Username": "ann", "Secret": SECRET});
        let script = format!("#!/bin/sh\nread server\necho \"$1 $server\" >> \"$HOME/asked\"\necho '{answer}'\n");
        dir.script("docker-credential-vault", &script);
        dir.docker_config(&config);
        assert_eq!(content(&dir, &reference), "guarded", "{config}");
        let asked = std::fs::read_to_string(dir.home("asked")).unwrap();
        assert!(asked.lines().any(|line| line == format!("get {host}")), "{asked}");
    }
}

#[test]
fn a_helper_that_knows_nothing_means_no_credentials() {
    let registry = Registry::options().public().start();
    let reference = registry.push("team/app:1", &tool("public"));
    let dir = WorkDir::new();
    dir.script("docker-credential-empty", "#!/bin/sh\necho 'credentials not found in native keychain'\nexit 1\n");
    dir.docker_config(&json!({"credsStore": "empty"}));
    assert_eq!(content(&dir, &reference), "public");
}

#[test]
fn a_broken_helper_is_an_error_that_names_it() {
    let (_registry, reference) = guarded(true);
    for script in ["#!/bin/sh\necho 'the vault is locked' >&2\nexit 7\n", "#!/bin/sh\necho 'no JSON'\n"] {
        let dir = WorkDir::new();
        dir.script("docker-credential-broken", script);
        dir.docker_config(&json!({"credsStore": "broken"}));
        artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(4).says("docker-credential-broken");
    }
}

#[test]
fn a_helper_that_is_not_installed_is_no_obstacle_to_a_public_image() {
    let registry = Registry::options().public().start();
    let reference = registry.push("team/app:1", &tool("public"));
    let dir = WorkDir::new();
    dir.docker_config(&json!({"credsStore": "nowhere"}));
    let run = artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(0);
    let run = run.says("docker-credential-nowhere (named in").says("asking 127.0.0.1");
    assert_eq!(run.stderr.matches("nowhere").count(), 1, "{}", run.stderr);
    let (_private, reference) = guarded(true);
    let run = artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(4);
    run.says("the helper that keeps them, docker-credential-nowhere");
}

#[test]
fn a_broken_config_is_an_error_that_names_the_file() {
    let (_registry, reference) = guarded(true);
    let dir = WorkDir::new();
    dir.write_home(".docker/config.json", "{ this is no JSON");
    artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(4).says(".docker/config.json");
}

#[test]
fn an_identity_token_is_exchanged_for_a_token_of_the_registry() {
    let registry = Registry::options().identity_token("refresh-me").start();
    let reference = registry.push("team/app:1", &tool("identity"));
    let host = registry.host();
    let dir = WorkDir::new();
    dir.docker_config(&json!({"auths": {&host: {"auth": basic("<token>", ""), "identitytoken": "refresh-me"}}}));
    assert_eq!(content(&dir, &reference), "identity");
    assert_eq!(registry.count("POST", "/token"), 1);

    let dir = WorkDir::new();
    let answer = json!({"ServerURL": host, "Username": "<token>", "Secret": "refresh-me"});
    dir.script("docker-credential-vault", &format!("#!/bin/sh\ncat >/dev/null\necho '{answer}'\n"));
    dir.docker_config(&json!({"credsStore": "vault"}));
    assert_eq!(content(&dir, &reference), "identity");
}

#[test]
fn a_registry_token_is_sent_as_it_is() {
    let registry = Registry::options().registry_token("ready-made").start();
    let reference = registry.push("team/app:1", &tool("token"));
    let dir = WorkDir::new();
    dir.docker_config(&json!({"auths": {registry.host(): {"registrytoken": "ready-made"}}}));
    assert_eq!(content(&dir, &reference), "token");
    assert_eq!(registry.count("GET", "/token"), 0);
}

#[test]
fn a_public_image_needs_no_login_and_one_token() {
    let registry = Registry::options().public().start();
    let reference = registry.push("team/app:1", &tool("public"));
    assert_eq!(content(&WorkDir::new(), &reference), "public");
    assert_eq!(registry.count("GET", "/token"), 1);
}

#[test]
fn wrong_credentials_say_which_registry_which_config_and_what_to_type() {
    for by_tokens in [true, false] {
        let (registry, reference) = guarded(by_tokens);
        let host = registry.host();
        let dir = WorkDir::new();
        dir.docker_config(&json!({"auths": {&host: {"auth": basic("ann", "wrong-password")}}}));
        let run = artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(4);
        run.says(&host).says("config.json").says(&format!("docker login {host}")).never_says("wrong-password");
        assert!(registry.log().len() < 10, "credentials that are refused are not tried again and again");
    }
}

#[test]
fn missing_credentials_say_what_to_type() {
    for by_tokens in [true, false] {
        let (registry, reference) = guarded(by_tokens);
        let login = format!("docker login {}", registry.host());
        artifact(&["get", &reference, "/bin/tool"]).run().exits(4).says(&login);
    }
}

#[test]
fn no_secret_is_ever_logged() {
    let secrets = |run: Run| {
        let run = run.exits(0).never_says(SECRET).never_says("issued-token-1").never_says("refresh-me");
        run.never_says("once-only").never_says(&basic("ann", SECRET)).never_says("ready-made")
    };
    for (config, options) in [
        (json!({"auth": basic("ann", SECRET)}), Registry::options().account("ann", SECRET).redirect_blobs()),
        (json!({"auth": basic("ann", SECRET)}), Registry::options().basic("ann", SECRET).redirect_blobs()),
        (json!({"identitytoken": "refresh-me"}), Registry::options().identity_token("refresh-me")),
        (json!({"registrytoken": "ready-made"}), Registry::options().registry_token("ready-made")),
    ] {
        let registry = options.start();
        let reference = registry.push("team/app:1", &tool("x"));
        let dir = WorkDir::new();
        dir.docker_config(&json!({"auths": {registry.host(): config}}));
        let run = secrets(artifact(&["--debug", "get", &reference, "/bin/tool"]).run_in(&dir));
        assert!(run.stderr.lines().count() > 1, "--debug says what goes on: {}", run.stderr);
    }
}

// Redirects

/// The requests that came to the storage.
fn at_storage(registry: &Registry) -> Vec<Logged> {
    registry.log().into_iter().filter(|request| request.place == Place::Storage).collect()
}

#[test]
fn a_redirect_takes_no_credentials_along() {
    for options in [Registry::options().account("ann", SECRET), Registry::options().basic("ann", SECRET)] {
        let registry = options.redirect_blobs().start();
        let reference = registry.push("team/app:1", &tool("redirected"));
        let dir = WorkDir::new();
        dir.docker_config(&json!({"auths": {registry.host(): {"auth": basic("ann", SECRET)}}}));
        assert_eq!(content(&dir, &reference), "redirected");
        let requests = at_storage(&registry);
        assert!(!requests.is_empty() && requests.iter().all(|request| request.header("authorization").is_empty()));
    }
}

#[test]
fn a_redirected_blob_that_breaks_off_is_resumed_by_a_fresh_redirect() {
    let registry = Registry::options().redirect_blobs().start();
    let image = Image::new().layer(Layer::new([file("bin/tool", "x".repeat(500_000))]).plain()).pack();
    let reference = registry.push("team/app:1", &image);
    registry.requests_for(&format!("/storage/{}", image.layers[0].digest())).first(1).fail(Fault::CutAfter(200_000));
    assert_eq!(content(&WorkDir::new(), &reference).len(), 500_000);
}

#[test]
fn a_redirect_from_https_to_plain_http_is_refused() {
    let registry = Registry::options().tls().redirect_blobs_to_plain_http().start();
    let reference = registry.push("team/app:1", &tool("downgraded"));
    let dir = WorkDir::new();
    dir.write_home(&format!(".docker/certs.d/{}/ca.crt", registry.host()), &registry.certificates.authority);
    artifact(&["get", &reference, "/bin/tool"]).run_in(&dir).exits(1);
    assert!(at_storage(&registry).is_empty());
}

// Proxies

#[test]
fn plain_http_goes_through_http_proxy() {
    let registry = Registry::options().proxy().start();
    registry.push("team/app:1", &tool("proxied"));
    let reference = "registry.test:5000/team/app:1";
    for name in ["HTTP_PROXY", "http_proxy"] {
        let run =
            artifact(&["get", "--plain-http", reference, "/bin/tool", "-o", "-"]).env(name, registry.proxy()).run();
        assert_eq!(run.exits(0).out(), "proxied");
    }
    assert!(registry.log().iter().all(|request| request.target.starts_with("http://registry.test:5000/")));
}

#[test]
fn https_goes_through_a_tunnel_of_https_proxy() {
    let registry = Registry::options().tls().named("registry.test").proxy().start();
    registry.push("team/app:1", &tool("tunnelled"));
    let dir = WorkDir::new();
    dir.write_home(".docker/certs.d/registry.test/ca.crt", &registry.certificates.authority);
    let run =
        artifact(&["get", "registry.test/team/app:1", "/bin/tool", "-o", "-"]).env("HTTPS_PROXY", registry.proxy());
    assert_eq!(run.run_in(&dir).exits(0).out(), "tunnelled");
    assert!(registry.logged("CONNECT", "registry.test:443").iter().any(|request| request.place == Place::Proxy));
}

#[test]
fn a_proxy_that_is_not_there_is_named_and_given_up_after_a_second_try() {
    let proxy = format!("127.0.0.1:{}", unused_port());
    let run = artifact(&["get", "registry.test/team/app:1", "/bin/tool"]);
    let run = run.env("HTTPS_PROXY", format!("http://ann:s3cret@{proxy}")).run().exits(1);
    let run = run.says(&format!("the proxy {proxy} (from HTTPS_PROXY)")).says("NO_PROXY").never_says("s3cret");
    assert_eq!(run.stderr.matches("trying again").count(), 1, "{}", run.stderr);
}

#[test]
fn no_proxy_names_the_hosts_that_are_reached_directly() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &tool("direct"));
    let nowhere = format!("http://127.0.0.1:{}", unused_port());
    let run = artifact(&["get", &reference, "/bin/tool"]);
    run.env("HTTP_PROXY", &nowhere).env("HTTPS_PROXY", &nowhere).env("NO_PROXY", "127.0.0.1").run().exits(0);
}
