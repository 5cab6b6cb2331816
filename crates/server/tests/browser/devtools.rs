//! A Chromium without a window, driven over its debugging protocol (<https://chromedevtools.github.io/devtools-protocol/>).
//!
//! Everything blocks, and everything has a time limit. Hosts under `.test` are this machine, so that a test can have
//! several sites; no other name is resolved.

mod connection;
mod process;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use self::connection::Connection;
use self::process::Chromium;

/// How long a page may take until its load event.
const LOAD_AT_MOST: Duration = Duration::from_secs(30);

/// How often a condition is asked for.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// A running browser with a profile of its own; killed and removed when dropped.
pub(crate) struct Browser {
    chromium: Chromium,
    /// As a browser with a window would name itself.
    user_agent: String,
    major: String,
}

impl Browser {
    /// Starts the browser that `LEADTRAIL_TEST_CHROMIUM` names, or the first one on the search path.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub(crate) fn launch() -> Result<Self> {
        let chromium = Chromium::start()?;
        let version = connection::http(chromium.port(), "GET", "/json/version")?;
        let headless = version["User-Agent"].as_str().context("the browser names no user agent")?;
        let user_agent = headless.replace("HeadlessChrome", "Chrome");
        let product = version["Browser"].as_str().unwrap_or_default();
        let number = product.split_once('/').map_or("", |(_name, number)| number);
        let major = number.split('.').next().unwrap_or_default().to_owned();
        Ok(Self { chromium, user_agent, major })
    }

    /// Opens an empty page. Pages of one browser share cookies and storage.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn page(&self) -> Result<Page> {
        let target = connection::http(self.chromium.port(), "PUT", "/json/new?about:blank")?;
        let url = target["webSocketDebuggerUrl"].as_str().with_context(|| format!("no page in {target}"))?;
        self.attach(url)
    }

    /// Opens a profile of its own beside the others: cookies, storage and caches are nobody else's.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn visitor(&self) -> Result<Visitor<'_>> {
        let version = connection::http(self.chromium.port(), "GET", "/json/version")?;
        let url = version["webSocketDebuggerUrl"].as_str().context("the browser has no address")?;
        let mut connection = Connection::open(url)?;
        let created = connection.call("Target.createBrowserContext", &json!({}))?;
        let context = created["browserContextId"].as_str().context("a context without an id")?.to_owned();
        Ok(Visitor { browser: self, connection, context })
    }

    fn attach(&self, url: &str) -> Result<Page> {
        let mut page = Page { connection: Connection::open(url)? };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.connection.call(&format!("{domain}.enable"), &json!({}))?;
        }
        page.connection.call("Page.setLifecycleEventsEnabled", &json!({"enabled": true}))?;
        // Without it, the header and the client hints say that no person sits there.
        let brands = json!([{"brand": "Chromium", "version": self.major}]);
        let metadata = json!({
            "brands": brands, "platform": "Linux", "platformVersion": "", "architecture": "x86", "model": "",
            "mobile": false,
        });
        let parameters = json!({"userAgent": self.user_agent, "userAgentMetadata": metadata});
        page.connection.call("Emulation.setUserAgentOverride", &parameters)?;
        Ok(page)
    }

    /// The processes of the browser, by id.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        self.chromium.processes()
    }

    /// Where its profile lies.
    pub(crate) fn profile(&self) -> &Path {
        self.chromium.profile()
    }
}

/// Somebody who has visited nothing yet; their pages are closed and their profile removed when dropped.
pub(crate) struct Visitor<'a> {
    browser: &'a Browser,
    connection: Connection,
    context: String,
}

impl Visitor<'_> {
    /// Opens an empty page in a window of its own.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn page(&mut self) -> Result<Page> {
        let target = self.show("about:blank")?;
        self.attach(&target)
    }

    /// Opens a page in a window of its own, and leaves it alone: for one that we are attached to, the browser does not
    /// prerender others. Answers its id.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn show(&mut self, url: &str) -> Result<String> {
        let parameters = json!({"url": url, "browserContextId": self.context, "newWindow": true});
        let created = self.connection.call("Target.createTarget", &parameters)?;
        created["targetId"].as_str().map(str::to_owned).context("a page without an id")
    }

    /// Attaches to what shows `url`, where something does.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn page_at(&mut self, url: &str) -> Result<Option<Page>> {
        self.shown_at(url)?.map(|target| self.attach(&target)).transpose()
    }

    /// The id of what shows `url`, where something does. What is only prerendered is not shown.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn shown_at(&mut self, url: &str) -> Result<Option<String>> {
        let targets = self.connection.call("Target.getTargets", &json!({}))?;
        let is_it = |target: &&Value| {
            target["browserContextId"] == self.context
                && target["type"] == "page"
                && target["subtype"] != "prerender"
                && target["url"] == url
        };
        let found = targets["targetInfos"].as_array().into_iter().flatten().find(is_it);
        Ok(found.and_then(|target| target["targetId"].as_str()).map(str::to_owned))
    }

    /// Every cookie there is, those that scripts do not see too.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn cookies(&mut self) -> Result<Vec<Value>> {
        let mut answer =
            self.connection.call("Storage.getCookies", &json!({"browserContextId": self.context}))?;
        Ok(answer["cookies"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    fn attach(&self, target: &str) -> Result<Page> {
        self.browser
            .attach(&format!("ws://127.0.0.1:{}/devtools/page/{target}", self.browser.chromium.port()))
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        let parameters = json!({"browserContextId": self.context});
        if let Err(error) = self.connection.call("Target.disposeBrowserContext", &parameters) {
            eprintln!("a visitor does not leave: {error:#}");
        }
    }
}

/// One page (a tab).
pub(crate) struct Page {
    connection: Connection,
}

impl Page {
    /// Asks the protocol itself, for what has no word of its own here.
    ///
    /// # Errors
    /// The browser refuses.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.connection.call(method, parameters)
    }

    /// Begins to record what the browser does, with the stacks of scripts; one recording at a time per browser.
    ///
    /// # Errors
    /// Another is under way.
    pub(crate) fn record(&mut self) -> Result<()> {
        let categories = ["devtools.timeline", "v8", "disabled-by-default-devtools.timeline.stack"];
        let parameters = json!({
            "transferMode": "ReportEvents",
            "traceConfig": {"recordMode": "recordAsMuchAsPossible", "includedCategories": categories},
        });
        self.connection.call("Tracing.start", &parameters).map(drop)
    }

    /// Ends the recording and answers its events, as
    /// <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU> describes them.
    ///
    /// # Errors
    /// Nothing is recorded, or the events do not come.
    pub(crate) fn recorded(&mut self, at_most: Duration) -> Result<&[Value]> {
        self.connection.call("Tracing.end", &json!({}))?;
        let deadline = Instant::now() + at_most;
        while !self.connection.seen().is_recorded {
            if Instant::now() > deadline {
                bail!("the recording does not come within {} s", at_most.as_secs());
            }
            self.connection.listen(POLL_EVERY)?;
        }
        Ok(&self.connection.seen().recorded)
    }

    /// What scripts sent so far, whether or not it arrived: the address and the body of each request with a body.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn sent(&mut self) -> Result<&[(String, String)]> {
        self.catch_up()?;
        Ok(&self.connection.seen().sent)
    }

    /// Loads `url` and waits for the load event.
    ///
    /// # Errors
    /// The page cannot be fetched, or takes too long.
    pub(crate) fn goto(&mut self, url: &str) -> Result<()> {
        let answer = self.connection.call("Page.navigate", &json!({"url": url}))?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        // To another place of the same document there is no loader, and nothing to wait for.
        let Some(loader) = answer["loaderId"].as_str() else { return Ok(()) };
        let deadline = Instant::now() + LOAD_AT_MOST;
        while !self.connection.seen().loaded.contains(loader) {
            if Instant::now() > deadline {
                bail!("{url}: no load event within {} s", LOAD_AT_MOST.as_secs());
            }
            self.connection.listen(POLL_EVERY)?;
        }
        Ok(())
    }

    /// The value of a JavaScript expression, of what it promises where that is a promise.
    ///
    /// # Errors
    /// The expression throws, its promise is refused, or its value is no JSON.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut answer = self.connection.call("Runtime.evaluate", &parameters)?;
        if let Some(details) = answer.get("exceptionDetails") {
            bail!("{expression}: {}", connection::exception_text(details));
        }
        Ok(answer["result"]["value"].take())
    }

    /// Clicks on the middle of the first element that `selector` finds, as a mouse does.
    ///
    /// # Errors
    /// There is no such element, or it has no size.
    pub(crate) fn click(&mut self, selector: &str) -> Result<()> {
        let find = format!(
            "(() => {{ const element = document.querySelector({});
                if (!element) return null;
                element.scrollIntoView({{block: 'center', behavior: 'instant'}});
                const box = element.getBoundingClientRect();
                return box.width && box.height ? [box.x + box.width / 2, box.y + box.height / 2] : null; }})()",
            Value::from(selector)
        );
        let middle = self.evaluate(&find)?;
        let (Some(x), Some(y)) = (middle[0].as_f64(), middle[1].as_f64()) else {
            bail!("`{selector}` finds nothing that can be clicked");
        };
        for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let parameters =
                json!({"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1});
            self.connection.call("Input.dispatchMouseEvent", &parameters)?;
        }
        Ok(())
    }

    /// Clicks on the element that `selector` finds and types `text`, key by key.
    ///
    /// # Errors
    /// As [`click`](Self::click).
    pub(crate) fn type_into(&mut self, selector: &str, text: &str) -> Result<()> {
        self.click(selector)?;
        for character in text.chars() {
            let text = character.to_string();
            // Key codes are those of the unshifted key; of other characters browsers report 0.
            let upper = character.to_ascii_uppercase();
            let code = if upper.is_ascii_alphanumeric() { u32::from(upper) } else { 0 };
            self.key(&json!({"key": text, "text": text, "windowsVirtualKeyCode": code}))?;
        }
        Ok(())
    }

    /// Presses Enter where the focus is.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn press_enter(&mut self) -> Result<()> {
        self.key(&json!({"key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}))
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        for kind in ["keyDown", "keyUp"] {
            let mut parameters = key.clone();
            parameters["type"] = Value::from(kind);
            if kind == "keyUp"
                && let Some(fields) = parameters.as_object_mut()
            {
                fields.remove("text");
            }
            self.connection.call("Input.dispatchKeyEvent", &parameters)?;
        }
        Ok(())
    }

    /// Waits until a JavaScript expression is truthy, across navigations.
    ///
    /// # Errors
    /// It is not within `at_most`; the message has what it threw last.
    pub(crate) fn wait_until(&mut self, condition: &str, at_most: Duration) -> Result<()> {
        let deadline = Instant::now() + at_most;
        let truthy = format!("Promise.resolve({condition}).then(Boolean)");
        loop {
            // Between two documents there is nothing to ask: an error then is a "not yet".
            let last = match self.evaluate(&truthy) {
                Ok(Value::Bool(true)) => return Ok(()),
                Ok(other) => other.to_string(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                bail!("`{condition}` does not hold within {} ms: {last}", at_most.as_millis());
            }
            self.connection.listen(POLL_EVERY)?;
        }
    }

    /// What was written to the console so far, by scripts and (refused requests, violated policies) by the browser;
    /// each as `level: text`.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn console_messages(&mut self) -> Result<&[String]> {
        self.catch_up()?;
        Ok(&self.connection.seen().console)
    }

    /// What was thrown and not caught so far.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn exceptions(&mut self) -> Result<&[String]> {
        self.catch_up()?;
        Ok(&self.connection.seen().exceptions)
    }

    /// The texts of dialogs (`alert`, `confirm`, `prompt`) so far; each was accepted.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn dialogs(&mut self) -> Result<&[String]> {
        self.catch_up()?;
        Ok(&self.connection.seen().dialogs)
    }

    /// Events come in order, in between answers: whatever came before a question is here with its answer.
    fn catch_up(&mut self) -> Result<()> {
        self.connection.call("Runtime.evaluate", &json!({"expression": "0"})).map(drop)
    }

    /// Makes the page as large as a phone's, in CSS pixels, one device pixel each.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true});
        self.connection.call("Emulation.setDeviceMetricsOverride", &metrics).map(drop)
    }

    /// Writes what is to be seen to a PNG file.
    ///
    /// # Errors
    /// The browser does not answer, or the file cannot be written.
    pub(crate) fn screenshot(&mut self, path: &Path) -> Result<()> {
        let answer = self.connection.call("Page.captureScreenshot", &json!({"format": "png"}))?;
        let encoded = answer["data"].as_str().context("a screenshot without data")?;
        let bytes = decode_base64(encoded).context("a screenshot that is no base64")?;
        std::fs::write(path, bytes).with_context(|| path.display().to_string())
    }
}

/// RFC 4648, padded.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut pending, mut bits) = (0_u32, 0_u32);
    for character in text.trim_end_matches('=').chars() {
        let value = u32::try_from(ALPHABET.find(character)?).ok()?;
        pending = (pending << 6) | value;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((pending >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}
