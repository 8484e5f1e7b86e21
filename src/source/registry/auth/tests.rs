//! Logging in, against a registry and a token server on loopback.

use super::super::loopback::*;
use super::*;
use crate::image::digest::Digest;
use crate::progress::Silent;
use crate::source::Store;

const CHALLENGE: &str = "WWW-Authenticate";

fn is_token_request(request: &Received) -> bool {
    request.target.starts_with("/token")
}

/// Challenges by a token server at the same address, and gives `content` for the token that `accepted` takes.
fn guarded(
    token: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    accepted: impl Fn(&str, usize) -> bool + Send + Sync + 'static,
) -> Server {
    Server::start(move |request, before| {
        if is_token_request(request) {
            return token(request, before);
        }
        if accepted(request.header("authorization"), before) {
            return Reply::ok("{}");
        }
        let realm = format!("http://{}/token?fixed=1", request.header("host"));
        let challenge = format!(r#"Bearer realm="{realm}",service="s p",scope="repository:app:pull""#);
        Reply::new(401, &[(CHALLENGE, &challenge)], r#"{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}"#)
    })
}

fn config_for(server: &Server, entry: &str) -> Setup {
    let setup = Setup::default();
    setup.write("config.json", &format!(r#"{{"auths":{{"{}":{entry}}}}}"#, server.address));
    setup
}

async fn denied(setup: &Setup, server: &Server) -> String {
    match setup.open(server).manifest(None).await {
        Err(SourceError::Denied { message }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_and_kept() {
    for key in ["token", "access_token"] {
        let server = guarded(
            move |_, _| Reply::ok(format!(r#"{{"{key}":"t1","expires_in":300}}"#)),
            |authorization, _| authorization == "Bearer t1",
        );
        let registry = Setup::default().open(&server);
        registry.manifest(None).await.unwrap();
        read(registry.blob(&descriptor(b"{}")).await.unwrap()).await.unwrap();
        let manifest = "GET /v2/app/manifests/1".to_owned();
        let blob = format!("GET /v2/app/blobs/{}", Digest::of(b"{}"));
        assert_eq!(server.paths(), [manifest.clone(), "GET /token".to_owned(), manifest, blob]);
        let token_request = &server.received()[1];
        assert_eq!(token_request.target, "/token?fixed=1&service=s+p&scope=repository%3Aapp%3Apull");
        assert_eq!(token_request.header("authorization"), "");
    }
}

#[tokio::test]
async fn a_token_answer_may_hold_both_keys() {
    let server = guarded(
        |_, _| Reply::ok(r#"{"access_token":"t1","token":"t1"}"#),
        |authorization, _| authorization == "Bearer t1",
    );
    Setup::default().open(&server).manifest(None).await.unwrap();
}

#[tokio::test]
async fn a_password_goes_to_the_token_server_and_to_nobody_else() {
    let server = guarded(
        |request, _| match request.header("authorization") {
            "Basic dXNlcjpw" => Reply::ok(r#"{"token":"t1"}"#),
            _ => Reply::status(401),
        },
        |authorization, _| authorization == "Bearer t1",
    );
    let setup = config_for(&server, r#"{"auth":"dXNlcjpw"}"#);
    setup.open(&server).manifest(None).await.unwrap();
    assert!(server.received()[1].target.ends_with("&account=user"));
    let shown = |request: &Received| request.header("authorization").contains("dXNlcjpw");
    assert_eq!(server.received().iter().filter(|request| shown(request)).count(), 1);
}

#[tokio::test]
async fn a_token_that_expires_is_renewed_once_in_the_middle_of_the_work() {
    let blob = content(1000);
    let descriptor = descriptor(&blob);
    let server = Server::start(move |request, before| match before {
        0 | 4 => {
            let realm = format!("http://{}/token", request.header("host"));
            Reply::new(401, &[(CHALLENGE, &format!(r#"Bearer realm="{realm}""#))], "")
        }
        1 | 5 => Reply::ok(format!(r#"{{"token":"t{before}"}}"#)),
        2 => Reply::ok("{}"),
        3 => Reply::promising(1000, 200, &[], &blob[..400]),
        _ => Reply::new(206, &[("Content-Range", "bytes 400-999/1000")], &blob[400..]),
    });
    let registry = Setup::default().open(&server);
    registry.manifest(None).await.unwrap();
    assert_eq!(read(registry.blob(&descriptor).await.unwrap()).await.unwrap(), content(1000));
    let authorizations: Vec<_> =
        server.received().iter().map(|request| request.header("authorization").to_owned()).collect();
    assert_eq!(authorizations, ["", "", "Bearer t1", "Bearer t1", "Bearer t1", "", "Bearer t5"]);
    // Without a scope in the challenge, the repository's own.
    assert_eq!(server.received()[1].target, "/token?scope=repository%3Aapp%3Apull");
}

#[tokio::test]
async fn requests_side_by_side_share_one_token() {
    let server = guarded(|_, _| Reply::ok(r#"{"token":"t1"}"#), |authorization, _| authorization == "Bearer t1");
    let registry = Setup::default().open(&server);
    let (a, b, c) = tokio::join!(registry.manifest(None), registry.manifest(None), registry.manifest(None));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(server.received().iter().filter(|request| is_token_request(request)).count(), 1);
}

#[tokio::test]
async fn basic_is_shown_to_a_registry_that_asks_for_it() {
    let server = Server::start(|request, _| match request.header("authorization") {
        "Basic dXNlcjpw" => Reply::ok("{}"),
        _ => Reply::new(401, &[(CHALLENGE, r#"Basic realm="x""#)], ""),
    });
    config_for(&server, r#"{"auth":"dXNlcjpw"}"#).open(&server).manifest(None).await.unwrap();
    let text = denied(&config_for(&server, r#"{"auth":"dXNlcjp4"}"#), &server).await;
    assert!(text.contains("config.json are wrong"), "{text}");
    let text = denied(&Setup::default(), &server).await;
    assert!(text.contains("does not exist or needs credentials"), "{text}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let server = guarded(
        |request, _| match request.method.as_str() {
            "POST" => Reply::ok(r#"{"access_token":"t1","refresh_token":"next"}"#),
            _ => Reply::status(405),
        },
        |authorization, _| authorization == "Bearer t1",
    );
    config_for(&server, r#"{"identitytoken":"id"}"#).open(&server).manifest(None).await.unwrap();
    let expected = "grant_type=refresh_token&service=s+p&client_id=docker-artifact&scope=repository%3Aapp%3Apull&\
                    refresh_token=id";
    assert_eq!(server.received()[1].text(), expected);
}

#[tokio::test]
async fn an_identity_token_does_not_follow_a_redirect() {
    let thief = Server::start(|_, _| Reply::ok(r#"{"token":"t1"}"#));
    let away = thief.url("/token");
    let server = guarded(move |_, _| Reply::new(307, &[("Location", &away)], ""), |_, _| false);
    let setup = config_for(&server, r#"{"identitytoken":"id"}"#);
    let error = setup.open(&server).manifest(None).await.unwrap_err();
    assert!(matches!(error, SourceError::Protocol { .. }), "{error}");
    assert!(thief.received().is_empty());
}

#[tokio::test]
async fn a_registry_token_needs_no_token_server() {
    let server = guarded(|_, _| Reply::status(500), |authorization, _| authorization == "Bearer reg");
    config_for(&server, r#"{"registrytoken":"reg"}"#).open(&server).manifest(None).await.unwrap();
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn wrong_credentials_say_whose_they_are_and_what_to_type() {
    let server = guarded(|_, _| Reply::new(401, &[], r#"{"details":"wrong"}"#), |_, _| false);
    let setup = config_for(&server, r#"{"auth":"dXNlcjpzZWNyZXQ="}"#);
    let text = denied(&setup, &server).await;
    let file = setup.folder.path().join("config.json").display().to_string();
    assert!(text.contains(&file), "{text}");
    assert!(text.ends_with(&format!("run: docker login {}", server.address)), "{text}");
    assert_eq!(server.received().len(), 2, "wrong credentials are not tried again");
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_ends_the_work() {
    let server = guarded(|_, _| Reply::ok(r#"{"token":"t1"}"#), |_, _| false);
    let text = denied(&Setup::default(), &server).await;
    assert!(text.contains("does not exist or needs credentials (log in)"), "{text}");
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn forbidden_is_denied_without_a_word_about_logging_in_again_and_again() {
    let server = Server::start(|_, _| {
        Reply::new(403, &[], r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#)
    });
    let text = denied(&Setup::default(), &server).await;
    assert!(text.contains("refuses access to app (requested access is denied)"), "{text}");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_busy_token_server_is_tried_again() {
    let server = guarded(
        |_, before| if before < 3 { Reply::status(503) } else { Reply::ok(r#"{"token":"t1"}"#) },
        |authorization, _| authorization == "Bearer t1",
    );
    let setup = Setup::default();
    setup.open(&server).manifest(None).await.unwrap();
    assert!(setup.lines()[0].contains("503"), "{:?}", setup.lines());
}

#[tokio::test]
async fn a_token_answer_without_a_token_is_nonsense() {
    for answer in ["", "{}", r#"{"token":1}"#, r#"{"token":"a\nb"}"#] {
        let server = guarded(move |_, _| Reply::ok(answer), |_, _| false);
        let error = Setup::default().open(&server).manifest(None).await.unwrap_err();
        assert!(matches!(error, SourceError::Protocol { .. }), "{error}");
    }
}

#[tokio::test]
async fn credentials_are_not_looked_up_before_they_are_asked_for() {
    let broken = r#"{"auths":{"127.0.0.1":1}}"#;
    let open = Server::start(|_, _| Reply::ok("{}"));
    Setup::with_config(&broken.replace("127.0.0.1", &open.address.to_string()))
        .open(&open)
        .manifest(None)
        .await
        .unwrap();
    let closed = guarded(|_, _| Reply::ok(r#"{"token":"t1"}"#), |_, _| false);
    let setup = Setup::with_config(&broken.replace("127.0.0.1", &closed.address.to_string()));
    let error = setup.open(&closed).manifest(None).await.unwrap_err();
    assert!(matches!(error, SourceError::Credentials { .. }), "{error}");
}

#[tokio::test]
async fn a_helper_that_is_not_installed_means_anonymous_and_is_named_if_that_is_refused() {
    let missing = r#"{"credsStore":"no-such-helper"}"#;
    let public = guarded(|_, _| Reply::ok(r#"{"token":"t1"}"#), |authorization, _| authorization == "Bearer t1");
    let setup = Setup::with_config(missing);
    let registry = setup.open(&public);
    registry.manifest(None).await.unwrap();
    registry.manifest(None).await.unwrap();
    let lines = setup.lines();
    assert!(lines.len() == 1 && lines[0].starts_with("docker-credential-no-such-helper (named in /"), "{lines:?}");
    for (status, accepted) in [(200, "Bearer other"), (401, "")] {
        let token = move |_: &Received, _| match status {
            200 => Reply::ok(r#"{"token":"t1"}"#),
            status => Reply::status(status),
        };
        let private = guarded(token, move |authorization, _| authorization == accepted && !accepted.is_empty());
        let text = denied(&Setup::with_config(missing), &private).await;
        assert!(text.contains("docker-credential-no-such-helper") && text.contains("is not installed"), "{text}");
    }
    let basic = Server::start(|_, _| Reply::new(401, &[(CHALLENGE, r#"Basic realm="x""#)], ""));
    let text = denied(&Setup::with_config(missing), &basic).await;
    assert!(text.contains("docker-credential-no-such-helper"), "{text}");
}

#[test]
fn a_token_server_without_tls_gets_nothing_from_a_registry_with_tls() {
    let config = DockerConfig::load(Some(std::path::Path::new("/nonexistent")), &|_| None).unwrap();
    let authenticator = Authenticator::new("r.test".to_owned(), "app".to_owned(), config, Arc::new(Silent));
    let (https, http) = (Url::parse("https://r.test/v2/").unwrap(), Url::parse("http://r.test/v2/").unwrap());
    assert!(authenticator.token_server("http://auth.test/token", &https).is_err());
    assert!(authenticator.token_server("http://127.0.0.1:5001/token", &https).is_ok());
    assert!(authenticator.token_server("http://auth.test/token", &http).is_ok());
    assert!(authenticator.token_server("https://auth.test/token", &http).is_ok());
    for nonsense in ["", "/token", "file:///etc/passwd", "https://"] {
        assert!(authenticator.token_server(nonsense, &https).is_err(), "{nonsense}");
    }
}
