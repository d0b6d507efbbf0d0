//! `run` on a terminal: keys, job control, and no query that a person would have to answer.

use agent_vault_testing::Home;

use crate::stage::binary;
use crate::stage::instance::LOCAL;
use crate::stage::process::Run;

/// Drives an interactive shell on a pseudo-terminal: `expect` and `send`, with a deadline.
const DRIVER: &str = r#"
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    # Here and not by the caller: a shell that wraps Python would take it away.
    os.environ["PS1"] = "prompt> "
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def expect(text, patience=20):
    global seen
    end = time.monotonic() + patience
    while text not in seen:
        left = end - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise SystemExit("waited in vain for %r; there is %r" % (text, seen))
        seen += os.read(fd, 65536)
    # Nothing that we start may ask the terminal for anything: colours, cursor position, device.
    for query in (b"\x1b[6n", b"\x1b[c", b"\x1b[>", b"\x1b]10;?", b"\x1b]11;?", b"\x1b[?u"):
        assert query not in seen, (query, seen)
    seen = seen.split(text, 1)[1]
def send(text):
    os.write(fd, text)
def leave():
    send(b"exit\n")
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        pass
    os.waitpid(pid, 0)
av = os.fsencode(sys.argv[1])
expect(b"prompt> ")
"#;

fn drive(script: &str) {
    let home = Home::new();
    let outcome = Run::program(&home, "python3")
        .args(&["-c", &format!("{DRIVER}{script}\nleave()\nprint('done')")])
        .args(&[&binary::agent_vault().to_string_lossy()])
        .envs(&LOCAL)
        .env("TERM", "xterm-256color")
        .env("HISTFILE", "")
        .succeed();
    assert_eq!(outcome.stdout, "done\n", "{outcome:?}");
}

#[test]
fn the_interrupt_key_reaches_the_child_once() {
    drive(
        r#"
send(av + b""" run -- sh -c 'trap "echo inter""rupted" INT; echo re""ady; n=0; while [ $n -lt 1 ]; do read -r line && n=1; done; echo fin""ished'; echo code=$?=\n""")
expect(b"ready")
send(b"\x03")
expect(b"interrupted")
send(b"\n")
expect(b"finished")
assert b"interrupted" not in seen, seen
expect(b"code=0=")
expect(b"prompt> ")
"#,
    );
}

#[test]
fn the_interrupt_key_ends_a_child_without_a_handler() {
    drive(
        r#"
send(av + b""" run -- sh -c 'echo re""ady; exec sleep 60'\n""")
expect(b"ready")
send(b"\x03")
expect(b"prompt> ")
send(b"echo code=$?=\n")
expect(b"code=130=")
"#,
    );
}

#[test]
fn stopping_and_going_on_is_one_job() {
    drive(
        r#"
send(av + b""" run -- sh -c 'echo re""ady; read -r line; echo "got=$line="'\n""")
expect(b"ready")
send(b"\x1a")
expect(b"Stopped")
expect(b"prompt> ")
send(b"jobs | wc -l | sed s/^/jobs=/\n")
expect(b"jobs=1")
send(b"fg\n")
expect(b"read -r line")
send(b"hello\n")
expect(b"got=hello=")
expect(b"prompt> ")
send(b"echo code=$?=\n")
expect(b"code=0=")
"#,
    );
}

#[test]
fn the_child_has_the_terminal() {
    drive(
        r#"
send(av + b""" run -- sh -c '[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all-ter""minals'\n""")
expect(b"all-terminals")
expect(b"prompt> ")
"#,
    );
}

#[test]
fn a_hidden_prompt_shows_nothing_and_leaves_the_terminal_as_it_was() {
    drive(
        r#"
send(av + b" vault credential set TYPED_KEY\n")
expect(b"Value of TYPED_KEY")
send(b"typed-secret-value\n")
expect(b"set TYPED_KEY")
assert b"typed-secret-value" not in seen, seen
expect(b"prompt> ")
send(b"stty -a | grep -o ' echo ' | tr -d ' ' | sed s/^/terminal=/\n")
expect(b"terminal=echo")
send(av + b" vault credential set TYPED_KEY\n")
expect(b"Value of TYPED_KEY")
send(b"\x03")
expect(b"prompt> ")
send(b"echo code=$?=\n")
expect(b"code=130=")
send(b"stty -a | grep -o ' echo ' | tr -d ' ' | sed s/^/terminal=/\n")
expect(b"terminal=echo")
"#,
    );
}
