//! A registry that asks for a password: `docker login` is all it takes.

use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::engine::{self, NEEDS};
use crate::plugin::Plugin;
use crate::registry::{PASSWORD, Registry, USER};
use crate::tools::{can_run, feed, finish, run, skopeo_copy};

#[test]
fn after_docker_login_get_is_let_in_and_a_wrong_password_is_exit_4() {
    if !can_run("after_docker_login_get_is_let_in_and_a_wrong_password_is_exit_4", &[NEEDS, &["skopeo"]].concat()) {
        return;
    }
    let registry = Registry::with_password();
    let reference = format!("{}/private/image:latest", registry.host);
    let credentials = format!("--dest-creds={USER}:{PASSWORD}");
    skopeo_copy(&[credentials], &format!("docker-daemon:{}", engine::built().tag), &format!("docker://{reference}"));
    let plugin = Plugin::installed();
    let get = || finish(plugin.get(&reference).args(["/srv/kept/chmod", "-o", "-"]));

    let anonymous = get();
    let said = String::from_utf8_lossy(&anonymous.stderr);
    assert_eq!(anonymous.status.code(), Some(4), "{said}");
    assert!(said.contains(&format!("docker login {}", registry.host)), "{said}");

    let login =
        feed(plugin.docker().args(["login", "-u", USER, "--password-stdin", &registry.host]), PASSWORD.as_bytes());
    assert!(login.status.success(), "{}", String::from_utf8_lossy(&login.stderr));
    let let_in = get();
    assert!(let_in.status.success(), "{}", String::from_utf8_lossy(&let_in.stderr));
    assert_eq!(let_in.stdout, b"only its mode changes\n");

    run(plugin.docker().args(["logout", &registry.host]));
    assert_eq!(get().status.code(), Some(4));

    let wrong = BASE64_STANDARD.encode(format!("{USER}:battery staple"));
    fs::write(
        plugin.config().join("config.json"),
        format!(r#"{{"auths":{{"{}":{{"auth":"{wrong}"}}}}}}"#, registry.host),
    )
    .unwrap();
    let refused = get();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(refused.stdout.is_empty());
    assert!(!said.contains(&wrong) && !said.contains("battery staple"), "{said}");
}
