use agent_vault_testing::{Home, Upstream};

/// Runs git in `home` against `upstream` and returns whether it succeeded, with what it printed.
async fn git(home: &Home, folder: &str, arguments: &[&str]) -> (bool, String) {
    let output = home
        .async_command("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t.test",
            "-c",
            "http.proxy=",
            "-c",
        ])
        .arg(format!("http.sslCAInfo={}", home.join("ca.pem").display()))
        .args(arguments)
        .current_dir(home.join(folder))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .await
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), text)
}

#[tokio::test]
async fn a_repository_takes_a_push_and_gives_a_clone() {
    let home = Home::new();
    let upstream = Upstream::builder().git("robot", "secret").start();
    home.write("ca.pem", upstream.ca_pem());
    let bare = upstream.git_repository("project");
    let with_password = upstream
        .url("/git/project.git")
        .replace("https://", "https://robot:secret@");

    let (cloned, text) = git(&home, "", &["clone", &with_password, "work"]).await;
    assert!(cloned, "{text}");
    home.write("work/file.txt", "a line\n".repeat(50_000));
    for arguments in [
        &["add", "."][..],
        &["commit", "-q", "-m", "first"],
        &["push", "origin", "HEAD:main"],
    ] {
        let (done, text) = git(&home, "work", arguments).await;
        assert!(done, "{arguments:?}: {text}");
    }
    assert!(bare.join("refs/heads/main").exists());

    let (cloned, text) = git(&home, "", &["clone", &with_password, "again"]).await;
    assert!(cloned, "{text}");
    assert_eq!(
        std::fs::read(home.join("again/file.txt")).unwrap().len(),
        350_000
    );

    let (cloned, text) = git(
        &home,
        "",
        &["clone", &upstream.url("/git/project.git"), "refused"],
    )
    .await;
    assert!(!cloned, "{text}");
}
