//! Claims about the page in a real browser: Chromium without a window, over its debugging pipe.

use std::io::{BufRead, BufReader, PipeWriter, Write, pipe};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use mainstay_core::event::{Event, Observe};
use mainstay_core::outcome::Reason;
use mainstay_observe::status::BreakerState;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::node::{Node, PATIENT, service};

/// Between two looks at the page.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A browser with one page; ends with this value.
struct Browser {
    process: Child,
    commands: PipeWriter,
    messages: Receiver<Value>,
    session: Value,
    last_id: u64,
    /// What the page said besides answers.
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

/// The browser's program; `None`, with the reason printed, where there is none and that is
/// allowed.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join("chromium"))
        .find(|program| program.is_file());
    if found.is_none() {
        let skip = std::env::var_os("MAINSTAY_TESTS_NO_SKIP").is_none_or(|value| value != "1");
        assert!(
            skip,
            "chromium is not installed, and MAINSTAY_TESTS_NO_SKIP=1 is set"
        );
        // Not by `println!`, which the test runner keeps to itself.
        let reason = "skipped: chromium is not installed (Debian: apt-get install chromium)";
        writeln!(std::io::stderr(), "{reason}").unwrap_or_default();
    }
    found
}

/// What an answer says: a result or an error.
fn outcome(answer: &Value) -> Result<Value, Value> {
    let error = &answer["error"];
    if error.is_null() {
        Ok(answer["result"].clone())
    } else {
        Err(error.clone())
    }
}

impl Browser {
    fn start(program: &PathBuf) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let (from_us, commands) = pipe().expect("a pipe");
        let (answers, from_it) = pipe().expect("a pipe");
        // Chromium takes commands on descriptor 3 and answers on 4.
        let process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .arg(program)
            .args("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run".split(' '))
            .args("--disable-background-networking --disable-component-update".split(' '))
            .args("--disable-sync --remote-debugging-pipe about:blank".split(' '))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::from(from_us))
            .stdout(Stdio::from(from_it))
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts");
        let (sender, messages) = channel();
        // Ends with the browser, which then closes its end of the pipe.
        thread::spawn(move || {
            let messages = BufReader::new(answers).split(0).map_while(Result::ok);
            let parsed = messages.map(|bytes| serde_json::from_slice(&bytes).expect("JSON"));
            // The receiver goes when the test ends.
            parsed
                .map(|message| sender.send(message))
                .take_while(Result::is_ok)
                .count()
        });
        let mut browser = Self {
            process,
            commands,
            messages,
            session: Value::Null,
            last_id: 0,
            events: Vec::new(),
            _profile: profile,
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", &attach);
        self.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
    }

    /// Sends a command that has to work and waits for its answer.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        let answer = self.ask(method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Sends a command and waits for its answer.
    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": params});
        if !self.session.is_null() {
            command["sessionId"] = self.session.clone();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).expect("chromium listens");
        loop {
            let message = self.messages.recv_timeout(PATIENT);
            let message = message.expect("chromium answers");
            if message["id"] == self.last_id {
                return outcome(&message);
            }
            self.events.push(message);
        }
    }

    fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The value of an expression; an error while the page is on its way to another.
    fn try_evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let params = json!({"expression": expression, "returnByValue": true});
        let result = self.ask("Runtime.evaluate", &params)?;
        Ok(result["result"]["value"].clone())
    }

    /// Waits until an expression is true in the page; one that throws is not yet.
    fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.try_evaluate(expression) != Ok(Value::Bool(true)) {
            if start.elapsed() > PATIENT {
                let page = self.evaluate("document.body.innerText");
                panic!("never: {expression}\n{page}");
            }
            if let Ok(event) = self.messages.recv_timeout(LOOK_AGAIN) {
                self.events.push(event);
            }
        }
    }

    /// What the page complained about so far.
    fn complaints(&self) -> Vec<&Value> {
        let bad = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(bad).collect()
    }

    /// Every address that the page asked for so far.
    fn requests(&self) -> Vec<&str> {
        let asked = |event: &&Value| event["method"] == "Network.requestWillBeSent";
        let events = self.events.iter().filter(asked);
        events
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Both fail only when it ended already.
        self.process.kill().unwrap_or_default();
        drop(self.process.wait());
    }
}

const LIVE: &str = "document.getElementById('link').textContent.trim() === '● live'";
const BREAKER: &str = "document.querySelector('.endpoints td[data-name=Breaker]').textContent";

fn open_circuit(endpoint: &str) -> Event {
    Event::CircuitOpen {
        service: "payment".into(),
        reason: Reason::Timeout,
        endpoint: endpoint.into(),
        retry_after_ms: 5_000,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_follows_the_node_and_talks_to_nobody_else() {
    let Some(program) = chromium() else { return };
    let node = Node::start().await;
    let origin = format!("http://{}/", node.address);
    let mut page = Browser::start(&program);
    page.open(&origin);
    page.until(LIVE);
    assert_eq!(page.evaluate(BREAKER), "✓ closed");

    node.source.services.lock().expect("not poisoned")[0].endpoints[0].breaker = BreakerState::Open;
    page.evaluate("window.row = document.querySelector('.endpoints tbody tr')");
    page.until(&format!("{BREAKER} === '✕ open'"));
    page.until("document.querySelector('h1').textContent.includes('1 of 2 endpoints')");
    assert_eq!(
        page.evaluate("document.querySelector('.endpoints tbody tr').className"),
        "bad"
    );

    let same = "window.row === document.querySelector('.endpoints tbody tr')";
    assert_eq!(page.evaluate(same), true, "updated in place");

    let evil = "<img src=x onerror='window.pwned=1'>";
    node.observer.observe(open_circuit(evil));
    page.until("document.querySelectorAll('#rows tr.fresh').length === 1");
    let row = page.evaluate("document.querySelector('#rows tr').textContent");
    let row = row.as_str().expect("text");
    assert!(row.contains("circuit_open"), "{row}");
    assert!(row.contains("timeout · retry_after_ms 5000"), "{row}");
    assert!(row.contains(evil), "{row}");
    assert_eq!(page.evaluate("typeof window.pwned"), "undefined");

    page.evaluate("const q = document.getElementById('q'); q.value = 'nothing like it'; q.dispatchEvent(new Event('input'))");
    assert_eq!(
        page.evaluate("document.querySelector('#rows tr').hidden"),
        true
    );
    assert_eq!(page.evaluate("location.search"), "?q=nothing+like+it");
    node.observer.observe(open_circuit("payment-2"));
    page.until("document.querySelectorAll('#rows tr').length === 2");
    assert_eq!(
        page.evaluate("document.querySelectorAll('#rows tr:not([hidden])').length"),
        0
    );

    let dark = "document.getElementById('theme').click(); document.getElementById('theme').click(); getComputedStyle(document.body).backgroundColor";
    assert_eq!(page.evaluate(dark), "rgb(13, 17, 23)");

    assert_eq!(page.complaints(), [&json!(null); 0]);
    let requests = page.requests();
    assert!(
        requests.len() >= 5,
        "page, style, two scripts, stream: {requests:?}"
    );
    for request in requests {
        assert!(request.starts_with(&origin), "{request}");
    }
    drop(page);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_that_it_is_stale_and_comes_back_with_the_node() {
    let Some(program) = chromium() else { return };
    let node = Node::start().await;
    let address = node.address;
    let mut page = Browser::start(&program);
    page.open(&format!("http://{address}/"));
    page.until(LIVE);
    assert_eq!(
        page.evaluate("document.getElementById('stale').hidden"),
        true
    );
    node.stop().await;
    page.until("/Stale since \\d+ s/.test(document.getElementById('stale').innerText)");
    let name = page.evaluate("document.querySelector('.endpoints tbody th').innerText");
    assert!(
        name.to_string().contains("payment-1"),
        "the last word stays: {name}"
    );

    let node = Node::start_at(address).await;
    page.until(LIVE);
    page.until("document.getElementById('stale').hidden");
    drop(page);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_sticks_out_of_a_narrow_screen_whatever_its_name() {
    let Some(program) = chromium() else { return };
    let node = Node::start().await;
    let mut wide = service(&"long-name-without-end".repeat(10));
    wide.endpoints[0].last_check = "x".repeat(300);
    *node.source.services.lock().expect("not poisoned") = vec![wide];
    node.observer.observe(open_circuit(&"y".repeat(300)));
    let mut page = Browser::start(&program);
    page.open(&format!("http://{}/", node.address));
    page.until(LIVE);
    page.until("document.body.innerText.includes('long-name')");
    for width in [320, 360, 768, 1024, 1280] {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        page.call("Emulation.setDeviceMetricsOverride", &size);
        // Elements that reach over the edge, also where that is clipped.
        let out = "JSON.stringify([...document.querySelectorAll('body *:not(.skip):not(.hidden)')]\
            .filter((e) => !e.closest('.hidden') && e.getBoundingClientRect().right > innerWidth + 1)\
            .map((e) => e.tagName + '.' + e.className))";
        assert_eq!(page.evaluate(out), "[]", "{width} wide");
    }
    drop(page);
    node.stop().await;
}
